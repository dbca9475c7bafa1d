"""A click rate under watch against that of an arm held back, which shares its season and its shoppers' moods.

Pure: impressions of both arms in their order, and event time.
"""

from collections.abc import Mapping
from typing import Any

from evaluator.experiments.dispersion import Dispersion, hashed, of_ratio
from evaluator.monitoring.detectors.detector import Reading
from evaluator.monitoring.detectors.holdback import BelowHoldback
from evaluator.monitoring.monitor import Monitor, MonitorRules

BLOCK_MS = 60_000
NEAR = 0.9
"""The alarm ends when the rate is back at this multiple of the holdback's."""


class HoldbackMonitor(Monitor):
    """One arm's click rate, minute by minute of event time, against the holdback's.

    Shoppers who differ and stay in their arm make both rates vary more than independent impressions do; how much is
    learned all along.

    Examples
    --------
    >>> watch = HoldbackMonitor(MonitorRules(recover=500, minutes=200))
    >>> for place in range(60_000):
    ...     watch.update(place % 20 == 0, f"u{place}", place * 100, held_back=True)
    ...     watch.update(place % (20 if place < 30_000 else 60) == 0, f"v{place}", place * 100, held_back=False)
    >>> watch.drifted, watch.get().evidence["holdback rate"] > 0.04
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
        """Where it stands, up to the last whole minute."""
        return self._detector.get()

    def save(self) -> dict[str, Any]:
        """Its state as plain values."""
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
        """Close the minute that is open."""
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
