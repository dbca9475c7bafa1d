"""Results that nobody judged: how many there are among the first ten, and between what bounds nDCG lies.

Knows cases and scores. The measures rank judged items only; these figures tell how far that can be wrong.
"""

from collections.abc import Iterator

import numpy as np

from evaluator.offline.contenders.contender import Scores
from evaluator.offline.data import Case
from evaluator.offline.dimensions.dimension import Bench, Reading, mean_reading
from evaluator.offline.resampling import Numbers
from models.measures.ranking import DEPTH, dcg, ideal_dcg, ranked


def readings(bench: Bench) -> Iterator[Reading]:
    """The share of unjudged items among the first ten, and both bounds of nDCG; nothing where all items are judged."""
    if not any(np.isnan(case.gains).any() for case in bench.data.cases):
        return
    pairs = list(zip(bench.data.cases, bench.scores, strict=True))
    share = np.array([np.isnan(case.gains[order(case, scores)][:DEPTH]).mean() for case, scores in pairs])
    found = np.array([bounds(case, scores, bench.data.span) for case, scores in pairs])
    says = "Share of the first ten that nobody judged."
    yield _reading(bench, "unjudged@10", share, says)
    says = "nDCG of the first ten with unjudged items in it, if those it ranks are bad and the others perfect."
    yield _reading(bench, "ndcg@10 at least", found[:, 0], says)
    says = "nDCG of the first ten with unjudged items in it, if those it ranks are perfect and the others bad."
    yield _reading(bench, "ndcg@10 at most", found[:, 1], says)


def order(case: Case, scores: Scores) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Places of the candidates, best first; of equal scores the lesser gain first, then the unjudged."""
    return ranked(case.gains, scores)


def bounds(case: Case, scores: Scores, span: tuple[float, float]) -> tuple[float, float]:
    """The least and the largest nDCG@10 that any judgement of the unjudged items can give; NaN where none is known.

    Both may be wider than what one judgement attains: the discounted gain and the best possible one are bounded apart.

    Examples
    --------
    >>> case = Case("c", ("a", "b"), np.array([1.0, np.nan]))
    >>> [round(bound, 3) for bound in bounds(case, np.array([0.0, 1.0]), (0.0, 1.0))]
    [0.387, 1.0]
    """
    low, high = span
    gains = case.gains[order(case, scores)] - low
    unjudged = np.isnan(gains)
    bad, perfect = np.where(unjudged, 0.0, gains), np.where(unjudged, high - low, gains)
    if not bad.any():
        return float("nan"), float("nan")
    return dcg(bad) / ideal_dcg(perfect), min(1.0, dcg(perfect) / ideal_dcg(bad))


def _reading(bench: Bench, name: str, values: Numbers, says: str) -> Reading:
    return mean_reading(values, bench.resampling, measure=name, dimension="effect", better=None, says=says)
