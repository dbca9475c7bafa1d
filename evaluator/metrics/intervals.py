"""Confidence intervals of a proportion from counts.

Pure arithmetic; knows nothing of what is counted.
"""

import math
from typing import NamedTuple

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
