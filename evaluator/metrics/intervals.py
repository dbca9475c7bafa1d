"""Confidence intervals of a proportion from counts.

Pure arithmetic; knows nothing of what is counted.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from scipy.special import stdtrit

Z95 = 1.959963984540054
"""Standard normal quantile of a two-sided 95 % interval."""


class Interval(NamedTuple):
    """A share and the bounds of its interval, all in 0..1."""

    rate: float
    low: float
    high: float


def wilson(successes: float, trials: float, z: float = Z95) -> Interval:
    """Wilson's score interval (1927): its mean coverage is right also for few trials and rates near zero, unlike
    Wald's.

    Parameters
    ----------
    successes, trials
        Counts; without trials the rate is NaN and the bounds are 0 and 1.
    z
        Standard normal quantile of the interval; one of 95 % by default.

    Raises
    ------
    ValueError
        When there are more successes than trials, or fewer than none.

    Examples
    --------
    >>> rate, low, high = wilson(5, 100)
    >>> f"{rate:.3f} in {low:.3f} … {high:.3f}"
    '0.050 in 0.022 … 0.112'
    >>> wilson(0, 0)
    Interval(rate=nan, low=0.0, high=1.0)
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes:g} successes in {trials:g} trials")
    if not trials:
        return Interval(math.nan, 0.0, 1.0)
    rate = successes / trials
    spread = z * z / trials
    centre = (rate + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(rate * (1 - rate) / trials + spread / (4 * trials))
    return Interval(rate, min(rate, max(0.0, centre - half)), max(rate, min(1.0, centre + half)))


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Interval:
    """The ratio of two sums with its 95 % interval: linearised variance (Cochran 1977, section 6.3), Student's t.

    Parameters
    ----------
    numerators, denominators
        Of independent groups, in the same order.

    Returns
    -------
    Interval
        The ratio is NaN where the denominators are zero, the bounds with fewer than two groups; bounds may be outside
        0..1.

    Examples
    --------
    >>> share, low, high = ratio([1, 2, 3, 2], [2, 4, 5, 5])
    >>> f"{share:.2f} in {low:.2f} … {high:.2f}"
    '0.50 in 0.34 … 0.66'
    """
    n, whole = len(denominators), sum(denominators)
    if not whole:
        return Interval(math.nan, math.nan, math.nan)
    found = sum(numerators) / whole
    if n < 2:
        return Interval(found, math.nan, math.nan)
    off = sum((one - found * of) ** 2 for one, of in zip(numerators, denominators, strict=True))
    half = float(stdtrit(n - 1, 0.975)) * math.sqrt(off * n / (n - 1)) / whole
    return Interval(found, found - half, found + half)
