"""A click rate that has fallen below another arm's: Shiryaev-Roberts over blocks of both.

Knows counts of an arm and of the holdback arm; nothing of where they come from. A change of both, such as a season,
raises no alarm.
"""

import math
from collections.abc import Sequence

from evaluator.metrics.intervals import wilson
from evaluator.monitoring.detectors.detector import Reading
from evaluator.monitoring.detectors.shiryaev_roberts import DROPS, HUGE

Block = tuple[int, int, int, int]
"""Impressions and clicks of the arm, and of the holdback arm."""


class BelowHoldback:
    """Alarms when the arm's click rate is below the holdback's.

    Given a block's clicks, the arm's clicks are hypergeometric if rates are equal, and the binomial likelihood ratio
    of a rate ratio to one has a mean of at most one, as :class:`~evaluator.experiments.click_test.ClickTest` argues.
    So the sum over all onsets, less the number of blocks, is a supermartingale: the mean time to a false alarm is at
    least ``run_length`` blocks, whatever the rates and shares of the traffic do (Shin, Ramdas and Rinaldo 2023).

    Parameters
    ----------
    run_length
        Least mean number of blocks between false alarms.
    shifts
        Rate ratios tested for, below one; equal weights.

    Examples
    --------
    >>> detector = BelowHoldback(run_length=10_000)
    >>> for _ in range(200): detector.update((100, 5, 900, 45))
    >>> detector.drifted
    False
    >>> for _ in range(200): detector.update((100, 3, 900, 45))
    >>> detector.drifted, detector.get().evidence["blocks since"]
    (True, 200)
    """

    _sums: list[float]
    _since: list[int]
    _likelihoods: list[float]
    _counts: list[int]
    _blocks: int
    drifted: bool

    def __init__(self, run_length: float = 10_000, shifts: Sequence[float] = DROPS) -> None:
        if not shifts or not all(0 < shift < 1 for shift in shifts):
            raise ValueError(f"the rate ratios must be within 0 and 1, not {tuple(shifts)}")
        self.run_length, self.shifts = run_length, tuple(shifts)
        self.dispersion = 1.0
        self.reset()

    def update(self, value: Block) -> None:
        """Take one block in; its end must not depend on its clicks."""
        shown, clicks, others, other_clicks = value
        if not (shown and others):
            return
        before = shown / (shown + others)
        share, self._blocks = 1 / len(self.shifts), self._blocks + 1
        for place, shift in enumerate(self.shifts):
            after = shift * shown / (shift * shown + others)
            log = clicks * math.log(after / before) + other_clicks * math.log((1 - after) / (1 - before))
            factor = math.exp(min(log / self.dispersion, 600.0))
            self._sums[place] = min((self._sums[place] + share) * factor, HUGE)
            self._likelihoods[place] = min(self._likelihoods[place] * factor, HUGE)
            if self._likelihoods[place] <= 1:
                self._likelihoods[place], self._since[place] = 1.0, self._blocks
        self._counts = [old + new for old, new in zip(self._counts, value, strict=True)]
        self.drifted = self.drifted or sum(self._sums) >= self.run_length

    def get(self) -> Reading:
        """The sum over the ratios tested for, against ``run_length``; the evidence has both rates since a reset."""
        shown, clicks, others, other_clicks = self._counts
        likeliest = max(range(len(self.shifts)), key=self._likelihoods.__getitem__)
        evidence = {
            "rate": wilson(clicks, shown).rate if shown else 0.0,
            "holdback rate": wilson(other_clicks, others).rate if others else 0.0,
            "blocks since": self._blocks - self._since[likeliest],
        }
        return Reading(self.drifted, sum(self._sums), self.run_length, dict(evidence))

    @property
    def clicks(self) -> tuple[int, int]:
        """Clicks of the arm and of the holdback since the last reset."""
        return self._counts[1], self._counts[3]

    def save(self) -> list[float]:
        """The state as plain numbers; :meth:`load` goes on from them."""
        numbers = [float(self.drifted), self.dispersion, float(self._blocks), *map(float, self._counts)]
        return [*numbers, *self._sums, *self._likelihoods, *map(float, self._since)]

    def load(self, numbers: Sequence[float]) -> None:
        """Go on from where :meth:`save` left off, with the same shifts.

        Raises
        ------
        ValueError
            When the numbers are another detector's.
        """
        count = len(self.shifts)
        if len(numbers) != 7 + 3 * count:
            raise ValueError(f"{len(numbers)} numbers are no state of a detector of {count} rate ratios")
        self.drifted, self.dispersion, self._blocks = bool(numbers[0]), float(numbers[1]), int(numbers[2])
        self._counts = [int(one) for one in numbers[3:7]]
        self._sums = [float(one) for one in numbers[7 : 7 + count]]
        self._likelihoods = [float(one) for one in numbers[7 + count : 7 + 2 * count]]
        self._since = [int(one) for one in numbers[7 + 2 * count :]]

    def reset(self) -> None:
        """Start again."""
        count = len(self.shifts)
        self._sums, self._likelihoods, self._since = [0.0] * count, [1.0] * count, [0] * count
        self._blocks, self._counts = 0, [0, 0, 0, 0]
        self.drifted = False
