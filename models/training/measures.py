"""Measures of predicted levels against true ones: Spearman, RMSE, nDCG.

Knows numbers only; the formulas are scipy's, and :mod:`models.training.ndcg`'s.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from models.training.ndcg import ndcgs_of_levels

Numbers = npt.NDArray[np.floating]


def spearman(predicted: Numbers, actual: Numbers) -> float:
    """Rank correlation; 0 where either side is constant.

    Examples
    --------
    >>> spearman(np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 3.0]))
    1.0
    """
    if np.ptp(predicted) == 0 or np.ptp(actual) == 0:
        return 0.0
    return float(spearmanr(predicted, actual).statistic)


def rmse(predicted: Numbers, actual: Numbers) -> float:
    """Root of the mean squared difference, in the values' own unit."""
    return float(np.sqrt(np.mean(np.square(predicted - actual))))


def ndcg(predicted: Numbers, actual: Numbers, group: npt.NDArray[np.integer], at: int = 10) -> float:
    """Mean nDCG over groups, with linear gain; groups whose true values are all equal are skipped.

    Ties are broken against the model: among equal predictions the worse item ranks first.

    Examples
    --------
    >>> ndcg(np.array([0.2, 0.1]), np.array([1.0, 0.0]), np.array([0, 0]))
    1.0
    """
    lists = list(_groups(group))
    values = ndcgs_of_levels([actual[places] for places in lists], [predicted[places] for places in lists], at)
    return 0.0 if np.isnan(values).all() else float(np.nanmean(values))


def _groups(group: npt.NDArray[np.integer]) -> Iterator[npt.NDArray[np.intp]]:
    """The places of each group."""
    order = np.argsort(group, kind="stable")
    bounds = np.flatnonzero(np.diff(group[order])) + 1
    for places in np.split(order, bounds):
        if len(places):
            yield places
