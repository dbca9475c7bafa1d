"""Paired bootstrap over groups of cases, and Holm's correction of many comparisons.

All contenders are resampled by the same draws, so the difference of two contenders' replicates is the replicate of
their difference. Pure; knows nothing of what is measured. Unlike the gate's BCa intervals these keep their replicates,
so that any two contenders can be compared later.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

Numbers = npt.NDArray[np.float64]

TINY = 1e-12

DETECTABLE = float(ndtri(0.975) + ndtri(0.8))
"""Standard errors that a true difference needs to be found in four of five data sets of this size."""


class Interval(NamedTuple):
    """A figure and the bounds of its 95 % interval; NaN where it is undefined."""

    value: float
    low: float
    high: float


class Comparison(NamedTuple):
    """A difference of two contenders: its interval, its two-sided p-value, and the smallest true difference that data
    of this size shows in four of five cases."""

    value: float
    low: float
    high: float
    p: float
    detectable: float


@dataclass(frozen=True, slots=True, eq=False)
class Resampling:
    """Draws of groups with replacement.

    Attributes
    ----------
    weights
        float64 [draws + 1, cases]: how often each case is in each draw; the first row is the data itself.
    """

    weights: Numbers

    @classmethod
    def of(cls, groups: Sequence[str], draws: int = 1_000, seed: int = 0) -> "Resampling":
        """Draws of whole groups; the same groups and seed give the same draws.

        Examples
        --------
        >>> found = Resampling.of(["a", "a", "b"], draws=50)
        >>> found.weights.shape, bool((found.weights[:, 0] == found.weights[:, 1]).all())
        ((51, 3), True)
        """
        names = {name: number for number, name in enumerate(dict.fromkeys(groups))}
        place = np.array([names[name] for name in groups], np.intp)
        count = len(names)
        chance, shares = np.random.default_rng(seed), np.full(count, 1 / count)
        weights = np.ones((draws + 1, len(place)))
        for row in weights[1:]:
            row[:] = chance.multinomial(count, shares)[place]
        return cls(weights)

    def mean(self, values: Sequence[float] | Numbers, masses: Numbers | None = None) -> Numbers:
        """Replicates of a mean over the cases where it is defined (not NaN): float64 [draws + 1].

        Parameters
        ----------
        masses
            float64 [cases]: how much each case counts; one each where None.

        Examples
        --------
        >>> Resampling.of(["a", "b", "c"], draws=9).mean([1.0, 3.0, np.nan])[0].item()
        2.0
        """
        values = np.asarray(values, np.float64)
        known = ~np.isnan(values)
        mass = known.astype(np.float64) if masses is None else np.where(known, masses, 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Numbers = (self.weights @ np.where(known, values * mass, 0.0)) / (self.weights @ mass)
        return found

    def of_statistic(self, statistic: Callable[[Numbers], float]) -> Numbers:
        """Replicates of any statistic of the cases' weights, such as an area under a curve."""
        return np.array([statistic(row) for row in self.weights], np.float64)


def interval(replicates: Numbers) -> Interval:
    """The figure and its percentile interval (95 %).

    Parameters
    ----------
    replicates
        The data's own value first.

    Examples
    --------
    >>> interval(np.array([0.5, 0.4, 0.6, 0.5]))
    Interval(value=0.5, low=0.405, high=0.595)
    """
    value, drawn = float(replicates[0]), replicates[1:][~np.isnan(replicates[1:])]
    if math.isnan(value) or not len(drawn):
        return Interval(value, math.nan, math.nan)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Interval(value, float(low), float(high))


def compare(one: Numbers, other: Numbers) -> Comparison:
    """One contender's figure less another's, from their replicates of the same draws.

    The p-value takes the difference as normal with the replicates' standard error.

    Examples
    --------
    >>> base = np.random.default_rng(0).normal(0.5, 0.01, 1_001)
    >>> compare(base + 0.1, base)[0] > 0.09, compare(base, base).p
    (True, 1.0)
    """
    differences = one - other
    value, low, high = interval(differences)
    drawn = differences[1:][~np.isnan(differences[1:])]
    error = float(drawn.std(ddof=1)) if len(drawn) > 1 else math.nan
    if math.isnan(value) or math.isnan(error):
        return Comparison(value, low, high, math.nan, math.nan)
    if error < TINY:  # the two never differ, or always by the same
        return Comparison(value, low, high, float(abs(value) < TINY), 0.0)
    p = float(2 * ndtr(-abs(value) / error))
    return Comparison(value, low, high, p, DETECTABLE * error)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for many comparisons (Holm 1979): all below 0.05 are significant together. NaN stays NaN.

    Examples
    --------
    >>> holm([0.01, 0.04, float("nan"), 0.03])
    [0.03, 0.06, nan, 0.06]
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    found, least = [math.nan] * len(p_values), 0.0
    for rank, (p, place) in enumerate(known):
        least = max(least, min(1.0, p * (len(known) - rank)))
        found[place] = least
    return found
