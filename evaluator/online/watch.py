"""Click rates under watch: a reference is learned, a fall below it raises an alert, and a recovery takes it back.

Pure: takes closed impressions in the order in which they close. Which slices are watched is the caller's business.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evaluator.drift.detector import Reading
from evaluator.drift.shiryaev_roberts import ShiryaevRoberts, reference
from evaluator.intervals import wilson


@dataclass(frozen=True, slots=True)
class WatchRules:
    """How a click rate is watched.

    Attributes
    ----------
    learn
        Impressions that the reference is learned from: a lower bound that is too high once in a thousand times.
    run_length
        Impressions between false alarms, at least, on average.
    recover
        Impressions after an alarm over which the rate must be back at the reference.
    """

    learn: int = 20_000
    run_length: float = 100_000
    recover: int = 5_000


class ClickWatch:
    """One slice's click rate.

    Examples
    --------
    >>> watch = ClickWatch(WatchRules(learn=2_000, run_length=10_000, recover=1_000))
    >>> for place in range(3_000): watch.update(place % 10 == 0)
    >>> watch.get().drifted
    False
    >>> for place in range(2_000): watch.update(place % 40 == 0)
    >>> watch.get().drifted
    True
    >>> for place in range(3_000): watch.update(place % 10 == 0)
    >>> watch.get().drifted
    False
    """

    def __init__(self, rules: WatchRules) -> None:
        self.rules = rules
        self.seen = self.hits = 0
        self._detector: ShiryaevRoberts | None = None
        self._after: tuple[int, int] | None = None

    def update(self, clicked: bool) -> None:
        """Take one closed impression in."""
        if self._detector is None:
            self.seen, self.hits = self.seen + 1, self.hits + bool(clicked)
            if self.seen >= self.rules.learn and self.hits:
                self._detector = ShiryaevRoberts(reference(self.hits, self.seen), self.rules.run_length)
            return
        if self._after is None:
            self._detector.update(clicked)
            if self._detector.drifted:
                self._after = 0, 0
            return
        seen, hits = self._after[0] + 1, self._after[1] + bool(clicked)
        self._after = seen, hits
        if seen >= self.rules.recover:
            self._after = 0, 0
            if hits / seen >= self._detector.rate:
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
            "rate": detector.rate if detector else None,
            "detector": detector.save() if detector else None,
            "after": self._after,
        }

    @classmethod
    def load(cls, rules: WatchRules, saved: Mapping[str, Any]) -> "ClickWatch":
        """Go on from what :meth:`save` gave."""
        watch = cls(rules)
        watch.seen, watch.hits = int(saved["seen"]), int(saved["hits"])
        if saved["rate"] is not None:
            watch._detector = ShiryaevRoberts(float(saved["rate"]), rules.run_length)
            watch._detector.load(saved["detector"])
        watch._after = tuple(saved["after"]) if saved["after"] else None
        return watch
