"""How good predicted levels are against true ones: Spearman, RMSE, nDCG.

Knows numbers only; the formulas are scipy's and ir-measures'.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

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

    Ties are broken against the model: of equal predictions the worse item comes first.

    Examples
    --------
    >>> ndcg(np.array([0.2, 0.1]), np.array([1.0, 0.0]), np.array([0, 0]))
    1.0
    """
    import ir_measures
    from ir_measures import nDCG

    judged: list[ir_measures.Qrel] = []
    run: list[ir_measures.ScoredDoc] = []
    gains = np.rint(1000 * np.asarray(actual, np.float64)).astype(int)  # whole ones only: grades to three decimals
    for number, places in _groups(group):
        if np.ptp(gains[places]) == 0:
            continue
        order = places[np.lexsort((gains[places], -predicted[places]))]
        for rank, place in enumerate(order):
            # Strictly falling scores keep the order as it is here.
            judged.append(ir_measures.Qrel(str(number), str(place), int(gains[place])))
            run.append(ir_measures.ScoredDoc(str(number), str(place), float(len(order) - rank)))
    if not run:
        return 0.0
    return float(ir_measures.calc_aggregate([nDCG @ at], judged, run)[nDCG @ at])


def _groups(group: npt.NDArray[np.integer]) -> Iterator[tuple[int, npt.NDArray[np.intp]]]:
    order = np.argsort(group, kind="stable")
    bounds = np.flatnonzero(np.diff(group[order])) + 1
    for places in np.split(order, bounds):
        if len(places):
            yield int(group[places[0]]), places
