"""All that is under watch, by surface and arm, and the alerts that it raises and takes back.

Pure: takes closed views, shelves as they are made, what shoppers touch, and a clock.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar
from zlib import crc32

import msgspec
import numpy as np
import numpy.typing as npt

from evaluator.experiments.dispersion import hashed
from evaluator.metrics.cardinality import OURS
from evaluator.metrics.impression import View
from evaluator.monitoring.alerts.alert import ActiveAlerts, Alert
from evaluator.monitoring.detectors.calibration import CalibrationShift
from evaluator.monitoring.detectors.detector import Reading
from evaluator.monitoring.detectors.distribution import KolmogorovSmirnov, Psi
from evaluator.monitoring.detectors.domain import DomainClassifier
from evaluator.monitoring.monitor import Monitor, MonitorRules
from evaluator.monitoring.rate_monitor import HoldbackMonitor, RateMonitor
from evaluator.monitoring.window_monitor import NewItemsMonitor, WindowMonitor
from streams.events.shelf import ShelfRecord, restored
from streams.ranking.assignment import CANARY, SHARED
from streams.telemetry.meter import Series

MOST = 200
"""Things under watch at most on surfaces that are not ours; of more, those go that were seen longest ago."""

INPUTS_EVERY_MS = 60_000
"""The test of inputs takes a third of a second, so it is made once a minute at most."""


W = TypeVar("W", bound=Monitor)


class Key(NamedTuple):
    """What is watched where."""

    watch: str
    surface: str = ""
    arm: str = ""

    @property
    def name(self) -> str:
        """As one string, whatever shops call their surfaces."""
        return msgspec.json.encode(self).decode()


class Kind(NamedTuple):
    """How a watch is made, its alert's name, and what that says of it."""

    make: Callable[[MonitorRules], Monitor]
    alert: str
    summary: str


KINDS = {
    "click_rate": Kind(RateMonitor, "click_rate_drop", "fewer clicks than before"),
    "holdback": Kind(HoldbackMonitor, "click_rate_below_holdback", "fewer clicks than the arm held back"),
    "unseen_items": Kind(NewItemsMonitor, "unseen_items_rise", "more items that were not shown before"),
    "score_psi": Kind(lambda rules: WindowMonitor(Psi(rules.scores)), "score_psi_drift", "scores are spread otherwise"),
    "score_ks": Kind(
        lambda rules: WindowMonitor(KolmogorovSmirnov(rules.scores)), "score_ks_drift", "scores are spread otherwise"
    ),
    "calibration_look": Kind(
        lambda rules: WindowMonitor(CalibrationShift(rules.predictions)),
        "calibration_look_drift",
        "predicted clicks are off by more than before",
    ),
    "calibration_buy": Kind(
        lambda rules: WindowMonitor(CalibrationShift(rules.predictions)),
        "calibration_buy_drift",
        "predicted purchases are off by more than before",
    ),
    "queries": Kind(
        lambda rules: WindowMonitor(DomainClassifier(rules.inputs), INPUTS_EVERY_MS),
        "query_drift",
        "shoppers search for other things",
    ),
    "items": Kind(
        lambda rules: WindowMonitor(DomainClassifier(rules.inputs), INPUTS_EVERY_MS),
        "item_drift",
        "shoppers turn to other items",
    ),
}


class MonitorRegistry:
    """Everything under watch.

    What depends on a model or an encoder is compared within its version; with the next one a reference is learned anew.
    So is all of a canary: each challenger is another.

    Examples
    --------
    >>> from evaluator.metrics.impression import AttributedImpression
    >>> watches = MonitorRegistry(MonitorRules(learn=100, run_length=1_000, recover=50))
    >>> watches.update(View((AttributedImpression("u", "i", "s", "feed", 0, 0),), arm="champion"))
    >>> [(one.labels["watch"], one.labels["arm"], one.value) for one in watches.get() if one.name == "drift_alarm"]
    [('click_rate', 'champion', 0.0), ('unseen_items', '', 0.0)]
    """

    def __init__(self, rules: MonitorRules) -> None:
        self.rules = rules
        self.book = ActiveAlerts()
        self._watches: dict[Key, Monitor] = {}
        self._versions: dict[Key, str] = {}
        self._drifting: set[Key] = set()
        self._changes: list[tuple[Key, Reading]] = []
        self._saved: set[Key] = set()

    def update(self, view: View) -> None:
        """Take a closed view in."""
        key = Key("click_rate", view.surface, view.arm)
        clicks = self._of(RateMonitor, key, _challenger(view))
        for one in view.closed:
            clicks.update(bool(one.outcomes), one.shopper)
            self._note(key, clicks)
        self._against_holdback(view)
        unseen = self._of(NewItemsMonitor, Key("unseen_items"))
        for one in view.closed:
            unseen.update(one.item_id, one.shopper)
        self._note(Key("unseen_items"), unseen)
        # One of the view's impressions: those of one view are not independent.
        one = view.closed[crc32(view.closed[0].shelf_id.encode("utf-8", "replace")) % len(view.closed)]
        if (chances := view.chances.get(one.item_id)) is not None:
            for intent in ("look", "buy"):
                predicted = getattr(chances, intent), one.intent == intent, hashed(view.shopper)
                key = Key(f"calibration_{intent}", view.surface, view.arm)
                self._window(key, view.model, view.shopper, view.ts, predicted)

    def made(self, record: ShelfRecord) -> None:
        """Take a shelf in that was made for a shopper: its best score, and its query."""
        shelf, shopper = record.shelf, record.shopper
        if shopper is None or not shelf.items:
            return
        for name in ("score_psi", "score_ks"):
            key = Key(name, shelf.surface, shelf.arm)
            self._window(key, shelf.model, shopper, shelf.event_ts, shelf.items[0].score)
        if record.query and record.vector is not None:
            asked = record.query, restored(record.vector)
            self._window(Key("queries"), record.vector.encoder, shopper, shelf.event_ts, asked)

    def touched(self, shopper: str, ts: int, text: str, vector: npt.NDArray[np.float32], encoder: str) -> None:
        """Take an item in that a shopper turned to."""
        self._window(Key("items"), encoder, shopper, ts, (text, vector))

    def tell(self, now: int) -> list[Alert]:
        """Alerts that began or ended since the last call, in their order, and those to be told again."""
        changes, self._changes = self._changes, []
        lasting = [_alert(key, watch.get(), now) for key, watch in self._watches.items() if watch.drifted]
        told: list[Alert] = []
        for key, reading in changes:
            alert = _alert(key, reading, now)
            told += self.book.fire(alert, now) if reading.drifted else self.book.resolve(alert.key, now)
        for alert in lasting:
            told += self.book.fire(alert, now)
        # A watch that could not be restored drifts no more, and never said so.
        over = {alert.key for alert in self.book.get()} - {alert.key for alert in lasting}
        return told + [alert for key in sorted(over) for alert in self.book.resolve(key, now)]

    def get(self) -> Iterator[Series]:
        """Where everything stands."""
        for key, watch in self._watches.items():
            reading, labels = watch.get(), key._asdict()
            yield Series("drift_statistic", labels, reading.statistic)
            yield Series("drift_limit", labels, reading.limit)
            yield Series("drift_alarm", labels, float(watch.drifted))

    def save(self) -> dict[str, Any]:
        """States and alerts that fire as plain values, without references."""
        states = {key.name: [self._versions[key], watch.save()] for key, watch in self._watches.items()}
        return {"states": states, "firing": self.book.save()}

    def references(self) -> dict[str, list[Any]]:
        """What was learned since the last call, as plain values by name."""
        found = {}
        for key, watch in self._watches.items():
            if key not in self._saved and (reference := watch.reference()) is not None:
                self._saved.add(key)
                found[key.name] = [self._versions[key], reference]
        return found

    def forgotten(self) -> None:
        """Give all that was learned once more: what was kept of it is lost."""
        self._saved.clear()

    @classmethod
    def load(cls, rules: MonitorRules, saved: Mapping[str, Any], references: Mapping[str, Any]) -> "MonitorRegistry":
        """Go on from what :meth:`save` and all of :meth:`references` gave; what does not fit is learned anew."""
        watches = cls(rules)
        watches.book.load(saved.get("firing", ()))
        for name, (version, state) in saved.get("states", {}).items():
            key = Key(*msgspec.json.decode(name))
            if key.watch not in KINDS:
                continue
            watch = KINDS[key.watch].make(rules)
            try:
                kept, reference = references.get(name, ("", None))
                if reference is not None and kept == version:
                    watch.restore(reference)
                    watches._saved.add(key)
                watch.load(state)
            except (ValueError, KeyError, TypeError):
                continue
            watches._watches[key], watches._versions[key] = watch, version
            if watch.drifted:
                watches._drifting.add(key)
        return watches

    def _against_holdback(self, view: View) -> None:
        """Impressions of an arm are its own watch's, those of the holdback are all watches' of the surface."""
        holdback = self.rules.holdback
        if not holdback or view.arm in {"", SHARED}:  # what all shoppers see is no other arm's equal
            return
        if view.arm != holdback:
            key = Key("holdback", view.surface, view.arm)
            versions = {key: _challenger(view)}
        else:
            versions = {key: self._versions[key] for key in self._watches if key[:2] == ("holdback", view.surface)}
        for key, version in versions.items():
            watch = self._of(HoldbackMonitor, key, version)
            for one in view.closed:
                hit = bool(one.outcomes)
                watch.update(hit, one.shopper, view.ts, held_back=view.arm == holdback)
            self._note(key, watch)

    def _window(self, key: Key, version: str, shopper: str, ts: int, value: Any) -> None:
        watch = self._of(WindowMonitor, key, version)
        watch.update(shopper, ts, value)
        self._note(key, watch)

    def _of(self, kind: type[W], key: Key, version: str = "") -> W:
        """A watch, made where it is new or of another version; it is the one seen last now."""
        known = watch = self._watches.pop(key, None)
        if watch is None or self._versions[key] != version:
            watch = KINDS[key.watch].make(self.rules)
            self._versions[key] = version
            self._saved.discard(key)
        self._watches[key] = watch
        if known is None:
            self._forget()
        assert isinstance(watch, kind)
        return watch

    def _forget(self) -> None:
        """Let go what was seen longest ago, where surfaces that are not ours have too many watches."""
        foreign = [key for key in self._watches if key.surface not in OURS["surface"]]
        for key in foreign[: max(0, len(foreign) - MOST)]:
            del self._watches[key], self._versions[key]
            self._saved.discard(key)
            self._drifting.discard(key)  # its alert is over when it is told of next: no watch drifts any more

    def _note(self, key: Key, watch: Monitor) -> None:
        """Remember that an alarm began or ended."""
        if watch.drifted != (key in self._drifting):
            self._drifting ^= {key}
            self._changes.append((key, watch.get()))


def _challenger(view: View) -> str:
    """The version of the challenger that made it, if one did."""
    return view.model if view.arm == CANARY else ""


def _alert(key: Key, reading: Reading, now: int) -> Alert:
    kind = KINDS[key.watch]
    where = f"{key.surface} shelves of {key.arm or 'no'} arm: " if key.surface else ""
    return Alert(
        name=kind.alert,
        labels={name: value for name, value in (("surface", key.surface), ("arm", key.arm)) if key.surface},
        state="firing",
        summary=f"{where}{kind.summary}",
        evidence=reading.evidence | {"statistic": reading.statistic, "limit": reading.limit},
        since=now,
    )
