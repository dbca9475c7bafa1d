"""nDCG of ranked lists, with linear gain.

Knows gains and scores only; the formula is ir-measures'.
"""

from collections.abc import Sequence

import ir_measures
import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.floating]
Gains = npt.NDArray[np.integer]


def ndcgs(gains: Sequence[Gains], scores: Sequence[Numbers | Gains], at: int = 10) -> npt.NDArray[np.float64]:
    """nDCG of each list. Ties are broken against the model: among equal scores the smaller gain ranks first.

    Examples
    --------
    >>> ndcgs([np.array([0, 1]), np.array([0, 1])], [np.array([0.2, 0.1]), np.array([0.1, 0.2])]).round(3).tolist()
    [0.631, 1.0]
    """
    qrels: list[ir_measures.Qrel] = []
    run: list[ir_measures.ScoredDoc] = []
    for number, (gain, score) in enumerate(zip(gains, scores, strict=True)):
        for rank, place in enumerate(np.lexsort((gain, -score))):
            # Strictly decreasing scores keep this order.
            qrels.append(ir_measures.Qrel(str(number), str(place), int(gain[place])))
            run.append(ir_measures.ScoredDoc(str(number), str(place), float(-rank)))
    values = np.full(len(gains), np.nan)
    for metric in ir_measures.iter_calc([ir_measures.nDCG @ at], qrels, run):
        values[int(metric.query_id)] = metric.value
    return values


def ndcgs_of_levels(levels: Sequence[Numbers], scores: Sequence[Numbers], at: int = 10) -> npt.NDArray[np.float64]:
    """nDCG of each list with levels in 0..1, to three decimals, as gains; NaN where all are equal.

    Examples
    --------
    >>> ndcgs_of_levels([np.array([1.0, 0.0]), np.array([0.5, 0.5])], [np.zeros(2)] * 2).round(3).tolist()
    [0.631, nan]
    """
    gains = [np.rint(1_000 * np.asarray(level, np.float64)).astype(int) for level in levels]  # integers only
    varied = [number for number, gain in enumerate(gains) if np.ptp(gain)]
    values = np.full(len(gains), np.nan)
    values[varied] = ndcgs([gains[number] for number in varied], [scores[number] for number in varied], at)
    return values
