"""A rate that has fallen (or risen): a Shiryaev-Roberts e-detector over zeros and ones.

Knows a reference rate and outcomes; nothing of where they come from. Shin, Ramdas and Rinaldo 2023, "E-detectors: a
nonparametric framework for sequential change detection".
"""

from collections.abc import Sequence

from evaluator.metrics.intervals import wilson
from evaluator.monitoring.detectors.detector import Reading

HUGE = 1e300
DROPS = (0.8, 0.6)
"""Rates tested for, as shares of the reference: a loss of a fifth, and of two fifths."""

Z999 = 3.090232306167813
"""Standard normal quantile of a one-sided 99.9 % bound."""


def reference(successes: int, trials: int, *, above: bool = False, z: float = Z999) -> float:
    """The reference for later outcomes: the lower bound of a past rate, or with ``above`` the upper one, for a rise.

    The detector's false-alarm bound holds for any true rate on the right side of the reference. With a bound at 99.9 %
    it fails once in a thousand references.

    Examples
    --------
    >>> round(reference(500, 10_000), 4), round(reference(500, 10_000, above=True), 4)
    (0.0437, 0.0572)
    """
    bounds = wilson(successes, trials, z)
    return bounds.high if above else bounds.low


class ShiryaevRoberts:
    """Alarms when outcomes show that the rate is below the reference (above it, with ``shifts`` above one).

    For each rate tested for, the likelihood ratio to the reference multiplies a running sum to which one is added at
    each outcome: the sum over all moments at which the change may have come. While the rate is on the reference's right
    side each ratio's mean is at most one, so the sum less the number of outcomes is a supermartingale, and the mean
    time to a false alarm is at least ``run_length`` outcomes, whatever the rates tested for; at the reference itself
    it is hardly longer. With one rate tested for, no detector of the same run length detects a change to it sooner on
    average, if the change comes late (Pollak and Tartakovsky 2009). With two rates each delay is 5 % longer, by
    ``benchmarks.drift``.

    Parameters
    ----------
    rate
        The reference, in 0..1, exclusive.
    run_length
        Least mean number of outcomes between false alarms.
    shifts
        Rates tested for, as multiples of the reference, all below one or all above; equal weights.
    dispersion
        Variance of the outcomes over that of independent ones; it is above one since outcomes of one shopper are
        correlated. The ratios are raised to the power of one over it. With a true dispersion of 1.6, ignoring it gives
        four times the bound of false alarms; using it makes delays 1.3 to 1.6 times as long.

    Examples
    --------
    >>> detector = ShiryaevRoberts(0.05)
    >>> for place in range(6_000):
    ...     detector.update(place % 20 == 0 if place < 3_000 else place % 50 == 0)
    >>> detector.get().drifted, 2_900 < detector.get().evidence["outcomes since"] < 3_100
    (True, True)
    """

    _sums: list[float]
    _likelihoods: list[float]
    _since: list[tuple[int, int]]
    drifted: bool

    def __init__(
        self, rate: float, run_length: float = 100_000, shifts: Sequence[float] = DROPS, dispersion: float = 1.0
    ) -> None:
        if not 0 < rate < 1:
            raise ValueError(f"the reference rate is {rate}; it must lie between 0 and 1")
        if not shifts or not (all(0 < shift < 1 for shift in shifts) or all(1 < shift < 1 / rate for shift in shifts)):
            raise ValueError(f"the rates must all be below or all above the reference {rate}, within 0 and 1")
        if dispersion < 1:
            raise ValueError(f"a dispersion of {dispersion} is below that of independent outcomes, one")
        self.rate, self.run_length, self.shifts = rate, run_length, tuple(shifts)
        self._hit = tuple(shift ** (1 / dispersion) for shift in shifts)
        self._miss = tuple(((1 - shift * rate) / (1 - rate)) ** (1 / dispersion) for shift in shifts)
        self.dispersion, self._share = dispersion, 1 / len(shifts)
        self.reset()

    def update(self, value: bool | int) -> None:
        """Take one outcome in."""
        self._seen += 1
        if value:
            self._hits += 1
        sums, likelihoods, share, total = self._sums, self._likelihoods, self._share, 0.0
        for place, factor in enumerate(self._hit if value else self._miss):
            sums[place] = found = (sums[place] + share) * factor
            total += found
            likelihoods[place] = likelihood = likelihoods[place] * factor
            if likelihood <= 1:  # Page's CUSUM: a change, if there is one, came later
                likelihoods[place], self._since[place] = 1.0, (self._seen, self._hits)
        if total >= self.run_length:
            self.drifted = True
            if total > HUGE:
                self._sums, self._likelihoods = ([min(one, HUGE) for one in some] for some in (sums, likelihoods))

    def get(self) -> Reading:
        """The sum over the rates tested for, against ``run_length``; the evidence has the rate since the most likely
        moment of the change."""
        _, (seen, hits) = max(zip(self._likelihoods, self._after(), strict=True), key=lambda one: one[0])
        rate, low, high = wilson(hits, seen)
        evidence = {"reference": self.rate, "rate": rate, "low": low, "high": high, "outcomes since": seen}
        spread = {"dispersion": self.dispersion} if self.dispersion > 1 else {}
        return Reading(self.drifted, sum(self._sums), self.run_length, {**evidence, **spread})

    def save(self) -> list[float]:
        """The state as plain numbers; :meth:`load` goes on from them."""
        after = zip(self._likelihoods, self._after(), strict=True)
        onsets = (number for likelihood, (seen, hits) in after for number in (likelihood, seen, hits))
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
        self.reset()
        self.drifted, self._sums = bool(numbers[0]), [float(one) for one in numbers[1 : 1 + count]]
        onsets = numbers[1 + count :]
        self._likelihoods = [float(one) for one in onsets[::3]]
        self._since = [(-int(seen), -int(hits)) for seen, hits in zip(onsets[1::3], onsets[2::3], strict=True)]

    def reset(self) -> None:
        """Start again with the same reference."""
        count = len(self.shifts)
        self._sums, self._likelihoods, self._since = [0.0] * count, [1.0] * count, [(0, 0)] * count
        self._seen = self._hits = 0
        self.drifted = False

    def _after(self) -> list[tuple[int, int]]:
        """For each rate tested for, outcomes and hits since the most likely moment of a change to it."""
        return [(self._seen - seen, self._hits - hits) for seen, hits in self._since]
