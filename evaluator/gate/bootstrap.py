"""Confidence intervals by resampling whole groups of examples.

Pure arithmetic around scipy's bootstrap (BCa: Efron 1987); knows nothing of what is measured. A group is a set
of dependent rows, such as all lists of one shopper. Champion and challenger are measured on the same groups. Where rows
are grouped in two ways, by shopper and by query, variances add up (Cameron, Gelbach and Miller 2011).
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import bootstrap

Numbers = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

Groupings = Sequence[Sequence[str]]
"""The name of each row's group, by one grouping or by two. Counts of groups are those of the first grouping."""

Bounds = tuple[float, float]

AT_ONCE = 2_000_000
"""Numbers resampled in one step, which bounds memory."""


class Estimate(NamedTuple):
    """A figure, the bounds of its interval, and how many groups it is from."""

    value: float
    low: float
    high: float
    groups: int


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Resampling with a seed: the same input gives the same interval.

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
        self, sums: Sequence[float] | Numbers, weights: Sequence[float] | Numbers, *groupings: Sequence[str]
    ) -> Estimate | None:
        """A weighted mean, from sums and weights of rows; None with fewer than two groups of positive weight."""
        weighted = np.asarray(weights, np.float64) > 0
        sums, weights = np.asarray(sums, np.float64)[weighted], np.asarray(weights, np.float64)[weighted]
        groupings = tuple([name for name, kept in zip(names, weighted, strict=True) if kept] for names in groupings)
        if any(len(set(names)) < 2 for names in groupings):
            return None
        value = float(sums.sum() / weights.sum())

        def bounds(place: Rows) -> Bounds:
            totals, masses = np.bincount(place, sums), np.bincount(place, weights)
            if np.allclose(
                totals, value * masses, rtol=0, atol=1e-12 * masses.mean()
            ):  # no variation, as between two equal scorers
                return value, value
            return self.interval(lambda rows: totals[rows].sum(-1) / masses[rows].sum(-1), len(masses), "BCa")

        return Estimate(value, *combined(value, bounds, groupings), len(set(groupings[0])))

    def interval(
        self, statistic: Callable[[Rows], Numbers], count: int, method: Literal["BCa", "percentile"], width: int = 1
    ) -> Bounds:
        """Bounds of a statistic. It takes rows [..., n]; each row holds the numbers of the groups drawn.

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


def combined(value: float, bounds: Callable[[Rows], Bounds], groupings: Groupings) -> Bounds:
    """Bounds of a figure whose rows have one grouping or two.

    With two, the squared distance of a bound is the sum of the squares by each grouping, less the square by pairs of
    both, which each of them contains. It is never less than the distance by one grouping alone.

    Parameters
    ----------
    bounds
        Gives the bounds by one grouping, from each row's group number, counted from 0.

    Examples
    --------
    >>> found = {2: (-3.0, 5.0), 3: (-4.0, 4.0), 4: (-1.0, 2.0)}
    >>> low, high = combined(0.0, lambda place: found[place.max() + 1], ["aabb", "xyzy"])
    >>> round(low**2), round(high**2)
    (24, 37)
    """
    first, *others = (numbered(names) for names in groupings)
    if not others:
        return bounds(first)
    [second] = others
    pairs = numbered(list(zip(first.tolist(), second.tolist(), strict=True)))
    if np.array_equal(second, pairs):  # as when each query is of one shopper only
        return bounds(first)
    if np.array_equal(first, pairs):
        return bounds(second)
    ends = [bounds(place) for place in (first, second, pairs)]
    one, other, both = np.array([(value - low, high - value) for low, high in ends]).clip(0) ** 2
    below, above = np.sqrt(np.maximum(one + other - both, np.maximum(one, other)))
    return value - float(below), value + float(above)


def numbered(names: Sequence[Hashable]) -> Rows:
    """Each name's number, by first appearance.

    Examples
    --------
    >>> numbered(["b", "a", "b"]).tolist()
    [0, 1, 0]
    """
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.intp)
