"""A monitored rate, such as clicks: it must not fall, or must not rise, by itself or compared with a holdback arm.

Pure: takes impressions in their order. A holdback arm has the same season and the same demand, so a difference between
the two comes from the model.
"""

from collections.abc import Mapping
from typing import Any

from evaluator.experiments.dispersion import Dispersion, hashed, of_ratio
from evaluator.metrics.intervals import wilson
from evaluator.monitoring.detectors.detector import Reading
from evaluator.monitoring.detectors.holdback import BelowHoldback
from evaluator.monitoring.detectors.shiryaev_roberts import DROPS, ShiryaevRoberts, reference
from evaluator.monitoring.monitor import Monitor, MonitorRules

RISES = (1.5, 3.0)
"""Rates tested for where a rise is the alarm, as multiples of the reference."""


class RateMonitor(Monitor):
    """A rate that must not fall, or must not rise.

    The reference is a bound. It is learned again each time that twice as many impressions have passed without an alarm,
    so that it comes closer to the rate itself. The dispersion of the rate, which is above that of independent
    impressions because shoppers differ, is learned with it; a larger dispersion makes the detector slower.

    Examples
    --------
    >>> monitor = RateMonitor(MonitorRules(learn=2_000, run_length=10_000, recover=1_000))
    >>> for place in range(3_000): monitor.update(place % 10 == 0, f"u{place}")
    >>> monitor.get().drifted
    False
    >>> for place in range(2_000): monitor.update(place % 40 == 0, f"u{place}")
    >>> monitor.get().drifted
    True
    >>> for place in range(3_000): monitor.update(place % 10 == 0, f"u{place}")
    >>> monitor.get().drifted
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
            self._detector = self._new_detector(rate, max(1.0, self._spread.get()))
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
        """The current reading; no drift while it learns."""
        if self._detector is None:
            rate, low, high = wilson(self.hits, self.seen)
            return Reading(False, 0.0, self.rules.run_length, {"rate": rate, "low": low, "high": high})
        return self._detector.get()

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
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
            self._detector = self._new_detector(float(saved["rate"]), float(saved["dispersion"]))
            self._detector.load(saved["detector"])
        self._after = tuple(saved["after"]) if saved["after"] else None

    def _new_detector(self, rate: float, dispersion: float) -> ShiryaevRoberts:
        shifts = [shift for shift in RISES if shift * rate < 1] or [(1 + 1 / rate) / 2]
        return ShiryaevRoberts(rate, self.rules.run_length, shifts if self.rise else DROPS, dispersion)


BLOCK_MS = 60_000

NEAR = 0.9
"""The alarm ends when the rate is back at this multiple of the holdback's."""


class HoldbackMonitor(Monitor):
    """One arm's click rate compared with the holdback's, by minute of event time.

    Shoppers differ and stay in their arm, so both rates vary more than those of independent impressions. This
    dispersion is learned continuously.

    Examples
    --------
    >>> monitor = HoldbackMonitor(MonitorRules(recover=500, minutes=200))
    >>> for place in range(60_000):
    ...     monitor.update(place % 20 == 0, f"u{place}", place * 100, held_back=True)
    ...     monitor.update(place % (20 if place < 30_000 else 60) == 0, f"v{place}", place * 100, held_back=False)
    >>> monitor.drifted, monitor.get().evidence["holdback rate"] > 0.04
    (True, True)
    """

    def __init__(self, rules: MonitorRules) -> None:
        self.rules = rules
        self._detector = BelowHoldback(rules.minutes)
        self._spreads = {False: Dispersion(), True: Dispersion()}
        self._block = [0, 0, 0, 0]
        self._after: list[int] | None = None
        self._minute = 0

    def update(self, hit: bool, shopper: str, ts: int, *, held_back: bool) -> None:
        """Take one impression of either arm, seen at ``ts`` (ms), in."""
        if ts // BLOCK_MS > self._minute:
            self._end()
            self._minute = ts // BLOCK_MS
        self._block[2 * held_back] += 1
        self._block[2 * held_back + 1] += hit
        self._spreads[held_back].update(hashed(shopper), hit)

    @property
    def drifted(self) -> bool:
        """Whether the alarm is on."""
        return self._detector.drifted

    def get(self) -> Reading:
        """The current reading, up to the last whole minute."""
        return self._detector.get()

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return {
            "detector": self._detector.save(),
            "spreads": [self._spreads[held_back].save() for held_back in (False, True)],
            "block": list(self._block),
            "after": self._after,
            "minute": self._minute,
        }

    def load(self, saved: Mapping[str, Any]) -> None:
        """Go on from what :meth:`save` gave."""
        self._detector.load(saved["detector"])
        self._spreads = dict(zip((False, True), map(Dispersion.load, saved["spreads"]), strict=True))
        self._block, self._minute = list(saved["block"]), int(saved["minute"])
        self._after = list(saved["after"]) if saved["after"] is not None else None

    def _end(self) -> None:
        """End the open minute."""
        block, self._block = self._block, [0, 0, 0, 0]
        if self._after is not None:
            self._recover(block)
            return
        clicks, other_clicks = self._detector.clicks
        self._detector.dispersion = of_ratio(self._spreads[False], clicks, self._spreads[True], other_clicks)
        self._detector.update((block[0], block[1], block[2], block[3]))
        if self._detector.drifted:
            self._after = [0, 0, 0, 0]

    def _recover(self, block: list[int]) -> None:
        assert self._after is not None
        self._after = [old + new for old, new in zip(self._after, block, strict=True)]
        shown, clicks, others, other_clicks = self._after
        if min(shown, others) >= self.rules.recover:
            self._after = [0, 0, 0, 0]
            if clicks / shown >= NEAR * other_clicks / others:
                self._detector.reset()
                self._after = None
