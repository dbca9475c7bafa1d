"""nDCG, MRR, MAP, recall and precision: how good the order is of the items that were judged.

Knows one judged case. nDCG, reciprocal rank and what is relevant are :mod:`models.measures.ranking`'s.
"""

import math

import numpy as np

from evaluator.offline.measures.measure import Judged, Measure
from models.measures.names import MRR, NDCG
from models.measures.ranking import ndcg, reciprocal_rank, relevant


def average_precision(one: Judged) -> float:
    """The mean of the precisions at the relevant items' ranks."""
    hits = np.flatnonzero(relevant(one.gains))
    if not one.case.decided or not len(hits):
        return math.nan
    return float(np.mean(np.arange(1, len(hits) + 1) / (hits + 1)))


def recall(one: Judged, at: int) -> float:
    """The share of the relevant items that are among the first."""
    hits = relevant(one.gains)
    return float(hits[:at].sum() / hits.sum()) if one.case.decided and hits.any() else math.nan


def pairwise(one: Judged) -> float:
    """The share of pairs of unequal gain that are in the right order: the area under the ROC curve, of one case."""
    if not one.case.decided:
        return math.nan
    right = total = 0
    for level in np.unique(one.gains)[1:]:
        better, worse = one.gains == level, one.gains < level
        right += int((worse.sum() - worse.cumsum())[better].sum())
        total += int(better.sum() * worse.sum())
    return right / total


def new_items(one: Judged, at: int = 20) -> float:
    """nDCG of the items that are not in the case's history; NaN without a history, and where none of them is relevant.

    Examples
    --------
    >>> from evaluator.offline.data import Case
    >>> case = Case("c", ("a", "b", "c"), np.array([1.0, 0.0, 1.0]), history=("a",))
    >>> round(new_items(Judged(case, np.array([1.0, 0.0, 1.0]), ("a", "b", "c"))), 3)
    0.631
    """
    if not one.case.history:
        return math.nan
    past = set(one.case.history)
    return ndcg(one.gains[[item not in past for item in one.items]], at)


MEASURES = (
    Measure(NDCG, lambda one: ndcg(one.gains), "nDCG of the first ten, linear gain (Järvelin, Kekäläinen 2002)."),
    Measure(
        MRR, lambda one: reciprocal_rank(one.gains), "One over the rank of the first relevant item (Voorhees 1999)."
    ),
    Measure("map", average_precision, "Mean of the precisions at the relevant items' ranks."),
    Measure("recall@5", lambda one: recall(one, 5), "Share of the relevant items that are among the first five."),
    Measure("ndcg@20", lambda one: ndcg(one.gains, 20), "nDCG of the first twenty, linear gain."),
    Measure("recall@20", lambda one: recall(one, 20), "Share of the relevant items that are among the first twenty."),
    Measure("auc", pairwise, "Share of unequal pairs in the right order, mean over cases."),
    Measure("ndcg@20 new items", new_items, "nDCG of the first twenty of what the shopper has not acted on before."),
)
