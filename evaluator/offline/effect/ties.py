"""Equal scores: in how many cases they matter, and what nDCG is where they are broken at random.

The measures break ties against a contender. One that scores many items alike, such as BM25 where no word matches, can
so stand below a random order. Knows cases and scores.
"""

from collections.abc import Iterator

import numpy as np

from evaluator.offline.contenders.contender import Scores
from evaluator.offline.data import Case
from evaluator.offline.dimensions.dimension import Bench, Reading, mean_reading
from models.measures.names import NDCG
from models.measures.ranking import ideal_dcg
from models.measures.shelves import shared

OF, TIED, AT_RANDOM = NDCG, "tied cases", "ndcg@10 ties at random"
"""The measure that ties change, and the names of the readings."""


def readings(bench: Bench) -> Iterator[Reading]:
    """The share of cases with ties that matter, and nDCG@10 with ties in random order; nothing where there are none."""
    pairs = list(zip(bench.data.cases, bench.scores, strict=True))
    tied = np.array([matter(case, scores) for case, scores in pairs], np.float64)
    if not np.nansum(tied):
        return
    says = "Share of cases in which items of unlike gain have the same score: the lesser gain counts as ranked first."
    yield mean_reading(tied, bench.resampling, measure=TIED, dimension="effect", better="lower", says=says)
    values = np.array([ndcg(case, scores, bench.data.span[0]) for case, scores in pairs])
    says = "nDCG of the first ten where equal scores are broken at random, in expectation; not against the contender."
    yield mean_reading(values, bench.resampling, measure=AT_RANDOM, dimension="effect", better=None, says=says)


def matter(case: Case, scores: Scores) -> float:
    """1 where items of unlike gain have the same score, else 0; NaN where no order of the case is better than another.

    Examples
    --------
    >>> case = Case("c", ("a", "b", "c"), np.array([1.0, 0.0, 0.0]))
    >>> matter(case, np.array([0.5, 0.5, 0.0])), matter(case, np.array([0.5, 0.1, 0.1]))
    (1.0, 0.0)
    """
    if not case.decided:
        return float("nan")
    known = ~np.isnan(case.gains)
    pairs = np.unique(np.column_stack([scores[known], case.gains[known]]), axis=0)
    return float(len(np.unique(pairs[:, 0])) < len(pairs))


def ndcg(case: Case, scores: Scores, least: float) -> float:
    """The expected nDCG@10 of the judged items with ties in random order.

    Examples
    --------
    >>> round(ndcg(Case("c", ("a", "b"), np.array([0.0, 1.0])), np.zeros(2), 0.0), 3)
    0.815
    """
    if not case.decided:
        return float("nan")
    known = ~np.isnan(case.gains)
    gains = case.gains[known] - least
    best = ideal_dcg(gains)
    return float(gains @ shared(np.asarray(scores)[known]) / best) if best > 0 else float("nan")
