"""A rate under watch, such as clicks: it must not fall, or must not rise.

Pure: impressions in their order.
"""

from collections.abc import Mapping
from typing import Any

from evaluator.experiments.dispersion import Dispersion, hashed
from evaluator.metrics.intervals import wilson
from evaluator.monitoring.detectors.detector import Reading
from evaluator.monitoring.detectors.shiryaev_roberts import DROPS, ShiryaevRoberts, reference
from evaluator.monitoring.monitor import Monitor, MonitorRules

RISES = (1.5, 3.0)
"""Rates watched for where a rise is the trouble, as multiples of the reference."""


class RateMonitor(Monitor):
    """A rate that must not fall, or must not rise.

    The reference is a bound, learned anew each time that twice as much has been seen without an alarm, so that it comes
    closer to the rate itself. How much more the rate varies than that of independent impressions, since shoppers
    differ, is learned along with it, and makes the detector slower by as much.

    Examples
    --------
    >>> watch = RateMonitor(MonitorRules(learn=2_000, run_length=10_000, recover=1_000))
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

    def __init__(self, rules: MonitorRules, *, rise: bool = False) -> None:
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
        self._spread.update(hashed(shopper), hit)
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
