"""How sure a figure is, by resampling whole groups of examples, and how many groups it takes to be sure.

Pure arithmetic around scipy's bootstrap (BCa: Efron 1987); knows nothing of what is measured. A group is what belongs
together, such as all lists of one query; champion and challenger are measured on the same groups.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import bootstrap, norm

Numbers = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

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
        self, sums: Sequence[float] | Numbers, weights: Sequence[float] | Numbers, groups: Sequence[str]
    ) -> Estimate | None:
        """A weighted mean, from sums and weights in groups; None with fewer than two groups that weigh anything."""
        numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
        place = np.array([numbers[group] for group in groups], np.intp)
        totals, masses = np.bincount(place, sums), np.bincount(place, weights)
        totals, masses = totals[masses > 0], masses[masses > 0]
        if len(masses) < 2:
            return None
        value = float(totals.sum() / masses.sum())
        if np.allclose(
            totals, value * masses, rtol=0, atol=1e-12 * masses.mean()
        ):  # nothing varies, such as two that are the same
            return Estimate(value, value, value, len(masses))
        low, high = self.interval(lambda rows: totals[rows].sum(-1) / masses[rows].sum(-1), len(masses), "BCa")
        return Estimate(value, low, high, len(masses))

    def interval(
        self, statistic: Callable[[Rows], Numbers], count: int, method: Literal["BCa", "percentile"], width: int = 1
    ) -> tuple[float, float]:
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
