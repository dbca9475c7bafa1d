"""One thing under watch: a reference is learned, a change raises an alarm, and a recovery takes it back.

Pure: values in their order, and event time. What is watched, and who is told, is the caller's business.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from zlib import crc32

from evaluator.drift.detector import Reading
from evaluator.drift.shiryaev_roberts import DROPS, ShiryaevRoberts, reference
from evaluator.drift.window import WindowTest
from evaluator.experiments.dispersion import Dispersion
from evaluator.intervals import wilson

T = TypeVar("T")

RISES = (1.5, 3.0)
"""Rates watched for where a rise is the trouble, as multiples of the reference."""

SPACING_MS = 600_000
"""A shopper's values count at most so often in a window: what one does is no sample of what all do."""

SHOPPERS = 50_000
CALM = 2


@dataclass(frozen=True, slots=True)
class WatchRules:
    """How closely things are watched.

    Attributes
    ----------
    learn
        Impressions that a rate's reference is first learned from: its bound is on the wrong side once in a thousand
        times.
    run_length
        Impressions between false alarms of a rate, at least, on average.
    recover
        Impressions after an alarm over which a rate must be back at the reference.
    scores, predictions, inputs
        Values in a window of scores, of predictions with their outcomes, and of queries or items.
    """

    learn: int = 20_000
    run_length: float = 10_000_000
    recover: int = 5_000
    scores: int = 1_000
    predictions: int = 5_000
    inputs: int = 500


class Watch(ABC):
    """What all have in common. A state is saved often and small; a reference once, when it is learned."""

    @property
    @abstractmethod
    def drifted(self) -> bool:
        """Whether the alarm is on."""

    @abstractmethod
    def get(self) -> Reading:
        """Where it stands; while it learns, nothing drifts."""

    @abstractmethod
    def save(self) -> dict[str, Any]:
        """Its state as plain values, without the reference."""

    @abstractmethod
    def load(self, saved: Mapping[str, Any]) -> None:
        """Go on from what :meth:`save` gave."""

    def reference(self) -> list[Any] | None:
        """What it compares with as plain values, once learned; None where :meth:`save` has it."""
        return None

    def restore(self, reference: list[Any]) -> None:
        """Compare with what :meth:`reference` gave."""
        raise ValueError(f"{type(self).__name__} takes no reference of {len(reference)} values")


class RateWatch(Watch):
    """A rate that must not fall, or must not rise.

    The reference is a bound, learned anew each time that twice as much has been seen without an alarm, so that it comes
    closer to the rate itself. How much more the rate varies than that of independent impressions, since shoppers
    differ, is learned along with it, and makes the detector slower by as much.

    Examples
    --------
    >>> watch = RateWatch(WatchRules(learn=2_000, run_length=10_000, recover=1_000))
    >>> for place in range(3_000): watch.update(place % 10 == 0, f"u{place}")
    >>> watch.get().drifted
    False
    >>> for place in range(2_000): watch.update(place % 40 == 0, f"u{place}")
    >>> watch.get().drifted
    True
    >>> for place in range(3_000): watch.update(place % 10 == 0, f"u{place}")
    >>> watch.get().drifted
    False
    """

    def __init__(self, rules: WatchRules, *, rise: bool = False) -> None:
        self.rules, self.rise = rules, rise
        self.seen = self.hits = 0
        self._learn_until = rules.learn
        self._spread = Dispersion()
        self._detector: ShiryaevRoberts | None = None
        self._after: tuple[int, int] | None = None

    def update(self, hit: bool, shopper: str) -> None:
        """Take one impression in."""
        if self._detector is not None and self._after is None:
            self._detector.update(hit)
            if self._detector.drifted:
                self._after = 0, 0
        if self._after is None:
            self._learn(hit, shopper)
        else:
            self._recover(*self._after, hit)

    def _learn(self, hit: bool, shopper: str) -> None:
        self.seen, self.hits = self.seen + 1, self.hits + hit
        self._spread.update(crc32(shopper.encode("utf-8", "surrogatepass")), hit)
        if self.seen >= self._learn_until and (self.hits or self.rise):
            rate = reference(self.hits, self.seen, above=self.rise)
            self._detector = self._made(rate, max(1.0, self._spread.get()))
            self._learn_until = 2 * self.seen

    def _recover(self, seen: int, hits: int, hit: bool) -> None:
        assert self._detector is not None
        seen, hits = seen + 1, hits + hit
        self._after = seen, hits
        if seen >= self.rules.recover:
            self._after = 0, 0
            if (hits / seen >= self._detector.rate) != self.rise:
                self._detector.reset()
                self._after = None

    @property
    def drifted(self) -> bool:
        """Whether the alarm is on."""
        return self._detector is not None and self._detector.drifted

    def get(self) -> Reading:
        """Where it stands; while it learns, nothing drifts."""
        if self._detector is None:
            rate, low, high = wilson(self.hits, self.seen)
            return Reading(False, 0.0, self.rules.run_length, {"rate": rate, "low": low, "high": high})
        return self._detector.get()

    def save(self) -> dict[str, Any]:
        """Its state as plain values."""
        detector = self._detector
        return {
            "seen": self.seen,
            "hits": self.hits,
            "learn_until": self._learn_until,
            "spread": self._spread.save(),
            "rate": detector.rate if detector else None,
            "dispersion": detector.dispersion if detector else None,
            "detector": detector.save() if detector else None,
            "after": self._after,
        }

    def load(self, saved: Mapping[str, Any]) -> None:
        """Go on from what :meth:`save` gave."""
        self.seen, self.hits = int(saved["seen"]), int(saved["hits"])
        self._learn_until, self._spread = int(saved["learn_until"]), Dispersion.load(saved["spread"])
        if saved["rate"] is not None:
            self._detector = self._made(float(saved["rate"]), float(saved["dispersion"]))
            self._detector.load(saved["detector"])
        self._after = tuple(saved["after"]) if saved["after"] else None

    def _made(self, rate: float, dispersion: float) -> ShiryaevRoberts:
        shifts = [shift for shift in RISES if shift * rate < 1] or [(1 + 1 / rate) / 2]
        return ShiryaevRoberts(rate, self.rules.run_length, shifts if self.rise else DROPS, dispersion)


class UnseenWatch(Watch):
    """The share of items that were not there before, which must not rise: a catalogue that the model has not seen.

    The first ``learn`` impressions say which items there are, the next ones how large a share is new all the same.

    Examples
    --------
    >>> watch = UnseenWatch(WatchRules(learn=500, run_length=10_000, recover=500))
    >>> for place in range(3_000): watch.update(f"i{place % 50}", f"u{place}")
    >>> watch.drifted
    False
    >>> for place in range(500): watch.update(f"i{place % 60}", f"u{place}")
    >>> watch.drifted
    True
    """

    def __init__(self, rules: WatchRules) -> None:
        self.rules = rules
        self._known: set[str] = set()
        self._learned = 0
        self._rate = RateWatch(rules, rise=True)

    def update(self, item_id: str, shopper: str) -> None:
        """Take one impression in."""
        if self._learned < self.rules.learn:
            self._known.add(item_id)
            self._learned += 1
        else:
            self._rate.update(item_id not in self._known, shopper)

    @property
    def drifted(self) -> bool:
        """Whether the alarm is on."""
        return self._rate.drifted

    def get(self) -> Reading:
        """Where the share stands; while it learns, nothing drifts."""
        return self._rate.get()

    def save(self) -> dict[str, Any]:
        """The share's state."""
        return self._rate.save()

    def load(self, saved: Mapping[str, Any]) -> None:
        """Go on from what :meth:`save` gave."""
        self._rate.load(saved)

    def reference(self) -> list[Any] | None:
        """The items there were, once they are learned."""
        return sorted(self._known) if self._learned >= self.rules.learn else None

    def restore(self, reference: Iterable[Any]) -> None:
        """Know these items."""
        self._known, self._learned = set(reference), self.rules.learn


class WindowWatch(Watch, Generic[T]):
    """Values that must stay distributed as they were; the alarm ends after two windows in a row that do.

    Parameters
    ----------
    test
        Compares windows with the first one.
    every_ms
        Time between a window's end and the next one's begin.
    """

    def __init__(self, test: WindowTest[T], every_ms: int = 0) -> None:
        self.test, self.every_ms = test, every_ms
        self._alarm: Reading | None = None
        self._calm = 0
        self._from = 0
        self._counted: dict[str, int] = {}

    def update(self, shopper: str, ts: int, value: T) -> None:
        """Take one shopper's value at a time (ms) in."""
        if ts < self._from or ts - self._counted.get(shopper, -SPACING_MS) < SPACING_MS:
            return
        self._counted[shopper] = ts
        if len(self._counted) > SHOPPERS:
            self._counted = {one: when for one, when in self._counted.items() if ts - when < SPACING_MS}
        windows = self.test.windows
        self.test.update(value)
        if self.test.windows == windows:
            return
        self._from = ts + self.every_ms
        if self.test.drifted:
            self._alarm, self._calm = self.test.get(), 0
            self.test.reset()
        else:
            self._calm += 1
            if self._calm >= CALM:
                self._alarm = None

    @property
    def drifted(self) -> bool:
        """Whether the alarm is on."""
        return self._alarm is not None

    def get(self) -> Reading:
        """The p-value that raised the alarm, else that of the last window."""
        return self._alarm or self.test.get()

    def save(self) -> dict[str, Any]:
        """The alarm that is on."""
        alarm = self._alarm
        return {"alarm": [alarm.statistic, alarm.evidence] if alarm else None}

    def load(self, saved: Mapping[str, Any]) -> None:
        """Go on from what :meth:`save` gave."""
        if saved["alarm"] is not None:
            statistic, evidence = saved["alarm"]
            self._alarm = Reading(True, statistic, self.test.significance, dict(evidence))

    def reference(self) -> list[Any] | None:
        """The window that is compared with, once it is whole."""
        return self.test.save()

    def restore(self, reference: list[Any]) -> None:
        """Compare with it."""
        self.test.load(reference)
