"""A rate that has fallen (or risen): a Shiryaev-Roberts e-detector over zeros and ones.

Knows a reference rate and outcomes; nothing of where they come from. Shin, Ramdas and Rinaldo 2023, "E-detectors: a
nonparametric framework for sequential change detection".
"""

from collections.abc import Sequence
from dataclasses import dataclass

from evaluator.drift.detector import Reading
from evaluator.intervals import wilson

HUGE = 1e300
DROPS = (0.8, 0.6)
"""Rates watched for, as shares of the reference: a loss of a fifth, and of two fifths."""

Z999 = 3.090232306167813
"""Standard normal quantile of a one-sided 99.9 % bound."""


def reference(successes: int, trials: int, *, above: bool = False, z: float = Z999) -> float:
    """What to hold later outcomes against: the lower bound of a past rate, or the ``above`` one for a rise.

    The detector's promise holds for any true rate on the right side of it, so with a bound at 99.9 % it fails once in a
    thousand references.

    Examples
    --------
    >>> round(reference(500, 10_000), 4), round(reference(500, 10_000, above=True), 4)
    (0.0437, 0.0572)
    """
    bounds = wilson(successes, trials, z)
    return bounds.high if above else bounds.low


class ShiryaevRoberts:
    """Alarms when outcomes say that the rate is below the reference (above it, with ``shifts`` above one).

    For each rate watched for, the likelihood ratio to the reference multiplies a running sum to which one is added at
    each outcome: the sum over all moments at which the change may have come. While the rate is on the reference's right
    side each ratio's mean is at most one, so the sum less the number of outcomes is a supermartingale, and the mean
    time to a false alarm is at least ``run_length`` outcomes, whatever the rates watched for.

    Parameters
    ----------
    rate
        The reference, in 0..1, exclusive.
    run_length
        Outcomes between false alarms, at least, on average.
    shifts
        Rates watched for, as multiples of the reference, all below one or all above; equal weights.

    Examples
    --------
    >>> detector = ShiryaevRoberts(0.05)
    >>> for place in range(6_000):
    ...     detector.update(place % 20 == 0 if place < 3_000 else place % 50 == 0)
    >>> detector.get().drifted, 2_900 < detector.get().evidence["outcomes since"] < 3_100
    (True, True)
    """

    _sums: list[float]
    _onsets: "list[_Onset]"
    drifted: bool

    def __init__(self, rate: float, run_length: float = 100_000, shifts: Sequence[float] = DROPS) -> None:
        if not 0 < rate < 1:
            raise ValueError(f"the reference rate is {rate}; it must lie between 0 and 1")
        if not shifts or not (all(0 < shift < 1 for shift in shifts) or all(1 < shift < 1 / rate for shift in shifts)):
            raise ValueError(f"watch for rates all below or all above the reference {rate}, within 0 and 1")
        self.rate, self.run_length, self.shifts = rate, run_length, tuple(shifts)
        self._hit = tuple(shifts)
        self._miss = tuple((1 - shift * rate) / (1 - rate) for shift in shifts)
        self.reset()

    def update(self, value: bool | int) -> None:
        """Take one outcome in."""
        factors = self._hit if value else self._miss
        share = 1 / len(factors)
        self._sums = [min((found + share) * factor, HUGE) for found, factor in zip(self._sums, factors, strict=True)]
        self.drifted = self.drifted or sum(self._sums) >= self.run_length
        for onset, factor in zip(self._onsets, factors, strict=True):
            onset.update(bool(value), factor)

    def get(self) -> Reading:
        """The sum over the rates watched for, against ``run_length``; evidence is the rate since the likeliest moment
        of the change."""
        onset = max(self._onsets, key=lambda one: one.likelihood)
        rate, low, high = wilson(onset.hits, onset.seen)
        evidence = {"reference": self.rate, "rate": rate, "low": low, "high": high, "outcomes since": onset.seen}
        return Reading(self.drifted, sum(self._sums), self.run_length, dict(evidence))

    def save(self) -> list[float]:
        """Its state as plain numbers; :meth:`load` goes on from them."""
        onsets = (number for one in self._onsets for number in (one.likelihood, one.seen, one.hits))
        return [float(self.drifted), *self._sums, *onsets]

    def load(self, numbers: Sequence[float]) -> None:
        """Go on from where :meth:`save` left off, with the same reference and shifts.

        Raises
        ------
        ValueError
            When the numbers are another detector's.
        """
        count = len(self.shifts)
        if len(numbers) != 1 + 4 * count:
            raise ValueError(f"{len(numbers)} numbers are no state of a detector of {count} shifts")
        self.drifted, self._sums = bool(numbers[0]), [float(one) for one in numbers[1 : 1 + count]]
        rest = numbers[1 + count :]
        self._onsets = [_Onset(rest[at], int(rest[at + 1]), int(rest[at + 2])) for at in range(0, 3 * count, 3)]

    def reset(self) -> None:
        """Start anew with the same reference."""
        self._sums = [0.0] * len(self.shifts)
        self._onsets = [_Onset() for _ in self.shifts]
        self.drifted = False


@dataclass(slots=True)
class _Onset:
    """Since when one of the rates watched for is the likelier: Page's CUSUM, and what came since it was last one."""

    likelihood: float = 1.0
    seen: int = 0
    hits: int = 0

    def update(self, value: bool, factor: float) -> None:
        self.likelihood = min(self.likelihood * factor, HUGE)
        self.seen += 1
        self.hits += value
        if self.likelihood <= 1:
            self.likelihood, self.seen, self.hits = 1.0, 0, 0
