"""How far an order shifts when something small is changed, for one case.

Pure: takes the scores before and after.
"""

import math
from typing import NamedTuple

import numpy as np

from evaluator.offline.contenders.contender import Scores
from evaluator.offline.data import Case
from evaluator.offline.measures.measure import judged
from models.measures.ranking import DEPTH, correlation, ndcg

FIRST = DEPTH
"""Ranks that count; in lists shorter than twice as many, the first half."""

ROUNDING = 1e-3
"""Scores that differ by less than this share of their span are the same: models round otherwise in other batches."""


class Shift(NamedTuple):
    """What a change does to an order.

    Attributes
    ----------
    lost
        nDCG@10 before less after.
    overlap
        The share of the first items that are still among the first.
    flipped
        The probability that another item is first, where items of equal scores stand in an order drawn once for both.
    moved
        1 where any score changed, else 0.
    correlation
        The rank correlation of the scores before and after; NaN where all were equal before.
    after
        nDCG@10 after.
    """

    lost: float
    overlap: float
    flipped: float
    moved: float
    correlation: float
    after: float


NOTHING = Shift(*[math.nan] * 6)


def order(scores: Scores) -> list[int]:
    """Places of the items, best first; of equal scores the first place."""
    return [int(place) for place in np.argsort(-scores, kind="stable")]


def same(before: Scores, after: Scores) -> bool:
    """Whether scores are equal but for rounding.

    Examples
    --------
    >>> same(np.array([1.0, 2.0]), np.array([1.0, 2.0001])), same(np.array([1.0, 2.0]), np.array([1.0, 2.1]))
    (True, False)
    """
    return bool(np.abs(before - after).max(initial=0.0) <= ROUNDING * np.ptp(before) + 1e-9)


def quality(case: Case, scores: Scores, least: float) -> float:
    """nDCG@10 of an order."""
    return ndcg(judged(case, scores, least).gains, FIRST)


def shift(case: Case, before: Scores, after: Scores, least: float) -> Shift:
    """A case's shift; both scores are of the same items.

    Examples
    --------
    >>> case = Case("c", ("a", "b", "c"), np.array([1.0, 0.0, 0.0]))
    >>> shift(case, np.array([3.0, 2.0, 1.0]), np.array([3.0, 1.0, 2.0]), 0.0)
    Shift(lost=0.0, overlap=0.5, flipped=0.0, moved=1.0, correlation=0.5, after=1.0)
    """
    first = min(FIRST, math.ceil(len(before) / 2))
    kept = set(order(before)[:first]) & set(order(after)[:first])
    was, now = set(np.flatnonzero(before == before.max())), set(np.flatnonzero(after == after.max()))
    good = quality(case, after, least)
    return Shift(
        quality(case, before, least) - good,
        len(kept) / first,
        1 - len(was & now) / len(was | now),
        float(not same(before, after)),
        correlation(before, after),
        good,
    )


def place_of(scores: Scores, *listings: int) -> float:
    """The rank of a seller's best listing, 1 for the best; with others of the same score it shares the middle rank.

    Examples
    --------
    >>> place_of(np.array([3.0, 1.0, 1.0]), 1), place_of(np.array([3.0, 1.0, 1.0]), 1, 2)
    (2.5, 2.0)
    """
    own, others = scores[list(listings)].max(), np.delete(scores, listings)
    return float(1 + (others > own).sum() + (others == own).sum() / 2)
