"""All monitors, by surface and arm, and the alerts that they raise and end.

Pure: takes attributed views, shelves as they are made, items that shoppers act on, and a clock.
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
"""Most monitors of surfaces that are not ours; beyond that, the least recently updated are dropped."""

INPUTS_EVERY_MS = 60_000
"""The test of inputs takes a third of a second, so it runs at most once a minute."""


W = TypeVar("W", bound=Monitor)


class Key(NamedTuple):
    """What is monitored, and where."""

    watch: str
    surface: str = ""
    arm: str = ""

    @property
    def name(self) -> str:
        """The key as one string, whatever shops call their surfaces."""
        return msgspec.json.encode(self).decode()


class Kind(NamedTuple):
    """How to create a monitor, and the name and the summary of its alert."""

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
    """All monitors of an evaluator.

    Values that depend on a model or an encoder are compared within one version; the next version gets a new reference.
    So does each challenger of a canary.

    Examples
    --------
    >>> from evaluator.metrics.impression import AttributedImpression
    >>> monitors = MonitorRegistry(MonitorRules(learn=100, run_length=1_000, recover=50))
    >>> monitors.update(View((AttributedImpression("u", "i", "s", "feed", 0, 0),), arm="champion"))
    >>> [(one.labels["watch"], one.labels["arm"], one.value) for one in monitors.get() if one.name == "drift_alarm"]
    [('click_rate', 'champion', 0.0), ('unseen_items', '', 0.0)]
    """

    def __init__(self, rules: MonitorRules) -> None:
        self.rules = rules
        self.active = ActiveAlerts()
        self._monitors: dict[Key, Monitor] = {}
        self._versions: dict[Key, str] = {}
        self._drifting: set[Key] = set()
        self._changes: list[tuple[Key, Reading]] = []
        self._saved: set[Key] = set()

    def update(self, view: View) -> None:
        """Take an attributed view in."""
        key = Key("click_rate", view.surface, view.arm)
        clicks = self._of(RateMonitor, key, _challenger(view))
        for one in view.impressions:
            clicks.update(bool(one.outcomes), one.shopper)
            self._track(key, clicks)
        self._against_holdback(view)
        unseen = self._of(NewItemsMonitor, Key("unseen_items"))
        for one in view.impressions:
            unseen.update(one.item_id, one.shopper)
        self._track(Key("unseen_items"), unseen)
        # One of the view's impressions: those of one view are not independent.
        one = view.impressions[crc32(view.impressions[0].shelf_id.encode("utf-8", "replace")) % len(view.impressions)]
        if (chances := view.chances.get(one.item_id)) is not None:
            for intent in ("look", "buy"):
                predicted = getattr(chances, intent), one.intent == intent, hashed(view.shopper)
                key = Key(f"calibration_{intent}", view.surface, view.arm)
                self._window(key, view.model, view.shopper, view.ts, predicted)

    def update_shelf(self, record: ShelfRecord) -> None:
        """Take in a shelf that was made for a shopper's event: its best score, and its query."""
        shelf, shopper = record.shelf, record.shopper
        if shopper is None or not shelf.items or record.renewed:
            return
        for name in ("score_psi", "score_ks"):
            key = Key(name, shelf.surface, shelf.arm)
            self._window(key, shelf.model, shopper, shelf.event_ts, shelf.items[0].score)
        if record.query and record.vector is not None:
            query = record.query, restored(record.vector)
            self._window(Key("queries"), record.vector.encoder, shopper, shelf.event_ts, query)

    def update_item(self, shopper: str, ts: int, text: str, vector: npt.NDArray[np.float32], encoder: str) -> None:
        """Take in an item that a shopper acted on."""
        self._window(Key("items"), encoder, shopper, ts, (text, vector))

    def alerts(self, now: int) -> list[Alert]:
        """Alerts that began or ended since the last call, in their order, and those to be repeated."""
        changes, self._changes = self._changes, []
        lasting = [_alert(key, monitor.get(), now) for key, monitor in self._monitors.items() if monitor.drifted]
        alerts: list[Alert] = []
        for key, reading in changes:
            alert = _alert(key, reading, now)
            alerts += self.active.fire(alert, now) if reading.drifted else self.active.resolve(alert.key, now)
        for alert in lasting:
            alerts += self.active.fire(alert, now)
        # A monitor that could not be restored no longer drifts, and has not reported that.
        over = {alert.key for alert in self.active.get()} - {alert.key for alert in lasting}
        return alerts + [alert for key in sorted(over) for alert in self.active.resolve(key, now)]

    def get(self) -> Iterator[Series]:
        """The current reading of every monitor."""
        for key, monitor in self._monitors.items():
            reading, labels = monitor.get(), key._asdict()
            yield Series("drift_statistic", labels, reading.statistic)
            yield Series("drift_limit", labels, reading.limit)
            yield Series("drift_alarm", labels, float(monitor.drifted))

    def save(self) -> dict[str, Any]:
        """States and firing alerts as plain values, without references."""
        states = {key.name: [self._versions[key], monitor.save()] for key, monitor in self._monitors.items()}
        return {"states": states, "firing": self.active.save()}

    def references(self) -> dict[str, list[Any]]:
        """References learned since the last call, as plain values by name."""
        found = {}
        for key, monitor in self._monitors.items():
            if key not in self._saved and (reference := monitor.reference()) is not None:
                self._saved.add(key)
                found[key.name] = [self._versions[key], reference]
        return found

    def references_lost(self) -> None:
        """Give all references once more, because the stored ones are lost."""
        self._saved.clear()

    @classmethod
    def load(cls, rules: MonitorRules, saved: Mapping[str, Any], references: Mapping[str, Any]) -> "MonitorRegistry":
        """Go on from what :meth:`save` and all of :meth:`references` gave; what does not fit is learned again."""
        monitors = cls(rules)
        monitors.active.load(saved.get("firing", ()))
        for name, (version, state) in saved.get("states", {}).items():
            key = Key(*msgspec.json.decode(name))
            if key.watch not in KINDS:
                continue
            monitor = KINDS[key.watch].make(rules)
            try:
                kept, reference = references.get(name, ("", None))
                if reference is not None and kept == version:
                    monitor.restore(reference)
                    monitors._saved.add(key)
                monitor.load(state)
            except (ValueError, KeyError, TypeError):
                continue
            monitors._monitors[key], monitors._versions[key] = monitor, version
            if monitor.drifted:
                monitors._drifting.add(key)
        return monitors

    def _against_holdback(self, view: View) -> None:
        """Impressions of an arm go to its own monitor, those of the holdback to all such monitors of the surface."""
        holdback = self.rules.holdback
        if not holdback or view.arm in {"", SHARED}:  # shelves that all shoppers share are not comparable with an arm's
            return
        if view.arm != holdback:
            key = Key("holdback", view.surface, view.arm)
            versions = {key: _challenger(view)}
        else:
            versions = {key: self._versions[key] for key in self._monitors if key[:2] == ("holdback", view.surface)}
        for key, version in versions.items():
            monitor = self._of(HoldbackMonitor, key, version)
            for one in view.impressions:
                hit = bool(one.outcomes)
                monitor.update(hit, one.shopper, view.ts, held_back=view.arm == holdback)
            self._track(key, monitor)

    def _window(self, key: Key, version: str, shopper: str, ts: int, value: Any) -> None:
        monitor = self._of(WindowMonitor, key, version)
        monitor.update(shopper, ts, value)
        self._track(key, monitor)

    def _of(self, kind: type[W], key: Key, version: str = "") -> W:
        """A monitor, created where it is new or of another version; it becomes the most recently updated one."""
        known = monitor = self._monitors.pop(key, None)
        if monitor is None or self._versions[key] != version:
            monitor = KINDS[key.watch].make(self.rules)
            self._versions[key] = version
            self._saved.discard(key)
        self._monitors[key] = monitor
        if known is None:
            self._forget()
        assert isinstance(monitor, kind)
        return monitor

    def _forget(self) -> None:
        """Drop the least recently updated monitors, where surfaces that are not ours have too many."""
        foreign = [key for key in self._monitors if key.surface not in OURS["surface"]]
        for key in foreign[: max(0, len(foreign) - MOST)]:
            del self._monitors[key], self._versions[key]
            self._saved.discard(key)
            self._drifting.discard(key)  # the next call of ``alerts`` resolves its alert, since no monitor drifts

    def _track(self, key: Key, monitor: Monitor) -> None:
        """Record that an alarm began or ended."""
        if monitor.drifted != (key in self._drifting):
            self._drifting ^= {key}
            self._changes.append((key, monitor.get()))


def _challenger(view: View) -> str:
    """The version of the challenger that made the view's shelf; empty for other arms."""
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
