"""How sure a figure is, by resampling whole groups of examples, and how many groups it takes to be sure.

Pure arithmetic around scipy's bootstrap (BCa: Efron 1987); knows nothing of what is measured. A group is what belongs
together, such as all lists of one shopper; champion and challenger are measured on the same groups. Where rows belong
together in two ways, by shopper and by query, variances add up (Cameron, Gelbach and Miller 2011).
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import bootstrap, norm

Numbers = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

Ways = Sequence[Sequence[str]]
"""Each row's group, by its name, in one way of grouping or in two; figures count groups of the first."""

Bounds = tuple[float, float]

POWER = 0.8
"""Chance with which a slice that is large enough shows the effect that is looked for."""

AT_ONCE = 2_000_000
"""Numbers resampled at once, which bounds memory."""


class Estimate(NamedTuple):
    """A figure, the bounds of its interval, and how many groups it is from."""

    value: float
    low: float
    high: float
    groups: int


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Resampling with a seed: the same figures give the same interval.

    Examples
    --------
    >>> chance = np.random.default_rng(0)
    >>> found = Bootstrap(draws=500).ratio(chance.normal(0.2, 1, 400), np.ones(400), [str(i) for i in range(400)])
    >>> found.low < 0.2 < found.high, 0.09 < found.high - found.value < 0.11
    (True, True)
    """

    confidence: float = 0.95
    draws: int = 2_000
    seed: int = 0

    def ratio(
        self, sums: Sequence[float] | Numbers, weights: Sequence[float] | Numbers, *ways: Sequence[str]
    ) -> Estimate | None:
        """A weighted mean, from sums and weights of rows; None with fewer than two groups that weigh anything."""
        told = np.asarray(weights, np.float64) > 0
        sums, weights = np.asarray(sums, np.float64)[told], np.asarray(weights, np.float64)[told]
        ways = tuple([name for name, kept in zip(names, told, strict=True) if kept] for names in ways)
        if any(len(set(names)) < 2 for names in ways):
            return None
        value = float(sums.sum() / weights.sum())

        def bounds(place: Rows) -> Bounds:
            totals, masses = np.bincount(place, sums), np.bincount(place, weights)
            if np.allclose(
                totals, value * masses, rtol=0, atol=1e-12 * masses.mean()
            ):  # nothing varies, such as two that are the same
                return value, value
            return self.interval(lambda rows: totals[rows].sum(-1) / masses[rows].sum(-1), len(masses), "BCa")

        return Estimate(value, *combined(value, bounds, ways), len(set(ways[0])))

    def interval(
        self, statistic: Callable[[Rows], Numbers], count: int, method: Literal["BCa", "percentile"], width: int = 1
    ) -> Bounds:
        """Bounds of a statistic of rows [..., n], each row the numbers of the groups drawn.

        ``width`` is how many numbers the statistic takes for each group.
        """

        def of(rows: Any, axis: int = -1) -> Numbers:  # noqa: ARG001
            return statistic(np.asarray(rows, np.intp))

        found = bootstrap(
            (np.arange(count),),
            of,
            vectorized=True,
            method=method,
            n_resamples=self.draws,
            confidence_level=self.confidence,
            batch=max(1, AT_ONCE // (count * width)),
            rng=np.random.default_rng(self.seed),
        ).confidence_interval
        return float(found.low), float(found.high)

    def needed(self, found: Estimate, distance: float) -> int:
        """How many groups it takes for an interval to lie on one side of a bound so far away from the truth, with
        probability :data:`POWER`.

        Examples
        --------
        >>> Bootstrap().needed(Estimate(0.0, -0.0196, 0.0196, 100), 0.028)
        101
        """
        z = float(norm.ppf((1 + self.confidence) / 2))
        error = (found.high - found.low) / (2 * z)
        return math.ceil(found.groups * (error * (z + float(norm.ppf(POWER))) / distance) ** 2)


def combined(value: float, bounds: Callable[[Rows], Bounds], ways: Ways) -> Bounds:
    """Bounds of a figure whose rows belong together in one way or in two.

    Of two, the squares of a bound's distances by either add up, less the square by pairs of both, which is in each of
    them; it is never nearer than by one alone.

    Parameters
    ----------
    bounds
        Those by one way, from each row's group, numbered from 0 on.

    Examples
    --------
    >>> found = {2: (-3.0, 5.0), 3: (-4.0, 4.0), 4: (-1.0, 2.0)}
    >>> low, high = combined(0.0, lambda place: found[place.max() + 1], ["aabb", "xyzy"])
    >>> round(low**2), round(high**2)
    (24, 37)
    """
    first, *others = (numbered(names) for names in ways)
    if not others:
        return bounds(first)
    [second] = others
    pairs = numbered(list(zip(first.tolist(), second.tolist(), strict=True)))
    if np.array_equal(second, pairs):  # such as queries that only one shopper has asked
        return bounds(first)
    if np.array_equal(first, pairs):
        return bounds(second)
    ends = [bounds(place) for place in (first, second, pairs)]
    one, other, both = np.array([(value - low, high - value) for low, high in ends]).clip(0) ** 2
    below, above = np.sqrt(np.maximum(one + other - both, np.maximum(one, other)))
    return value - float(below), value + float(above)


def numbered(names: Sequence[Hashable]) -> Rows:
    """Each name's number, in the order in which they first come.

    Examples
    --------
    >>> numbered(["b", "a", "b"]).tolist()
    [0, 1, 0]
    """
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.intp)
