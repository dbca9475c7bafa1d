"""Is an explanation faithful? Words are left out, or are the only ones kept, in its order, and the score is watched.

Comprehensiveness and sufficiency with their areas over the perturbation curve are ERASER's (DeYoung et al. 2020),
deletion and insertion curves are those of Petsiuk et al. (2018). A random order and one of words of the same lengths
are the baselines: taking any word out of a short text changes its score. Pure.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from evaluator.offline.resampling import Numbers

BINS = (0.1, 0.2, 0.5)
"""Shares of the words that ERASER's measures leave out or keep; its 1 % and 5 % are less than one word here."""

CURVE = (0.1, 0.2, 0.5, 0.75)
"""Shares of the words at which the curves are read."""

Order = tuple[int, ...]
Kept = tuple[int, ...]


def best_first(attributions: Numbers) -> Order:
    """Places by falling attribution.

    Examples
    --------
    >>> best_first(np.array([0.1, -0.5, 0.3]))
    (2, 0, 1)
    """
    return tuple(np.argsort(-attributions, kind="stable").tolist())


def random_order(count: int, chance: np.random.Generator) -> Order:
    """A random order of places."""
    return tuple(chance.permutation(count).tolist())


def length_matched(order: Order, lengths: Sequence[int], chance: np.random.Generator) -> Order:
    """A random order whose word at each place is as long as that of another order, as nearly as words allow.

    It is another word wherever one is left. So what a long word does by its length alone, this order does too.

    Examples
    --------
    >>> length_matched((0, 1, 2, 3), (5, 2, 5, 2), np.random.default_rng(0))
    (2, 3, 0, 1)
    """
    left = list(random_order(len(order), chance))
    found = []
    for place in order:
        others = [other for other in left if other != place] or left
        chosen = min(others, key=lambda other: abs(lengths[other] - lengths[place]))
        left.remove(chosen)
        found.append(chosen)
    return tuple(found)


def sizes(count: int, shares: Sequence[float]) -> list[int]:
    """How many words each share is, at least one, and never all of them.

    Examples
    --------
    >>> sizes(12, CURVE), sizes(2, CURVE)
    ([2, 3, 6, 9], [1, 1, 1, 1])
    """
    return [min(max(1, math.ceil(share * count)), count - 1) for share in shares]


def without(order: Order, size: int) -> Kept:
    """The places that are left when the first of an order are taken out."""
    return tuple(sorted(order[size:]))


def only(order: Order, size: int) -> Kept:
    """The first places of an order."""
    return tuple(sorted(order[:size]))


def needed(order: Order) -> list[Kept]:
    """Everything that :func:`faithfulness` asks the score of, of one order."""
    count = len(order)
    some = dict.fromkeys(sizes(count, (*BINS, *CURVE)))
    every = [tuple(range(count)), *(without(order, size) for size in some), *(only(order, size) for size in some)]
    return list(dict.fromkeys(every))


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """Of one order of one score's words, in the unit of the score.

    Attributes
    ----------
    comprehensiveness
        How much the score falls without the first words; the mean over :data:`BINS`.
    sufficiency
        How much it falls when only the first words are left; the nearer to zero, the better.
    deletion, insertion
        Change of the score at each share of :data:`CURVE`, as so many words are taken out, or are the only ones.
    deletion_area, insertion_area
        The mean change along these curves.
    """

    comprehensiveness: float
    sufficiency: float
    deletion: tuple[float, ...]
    insertion: tuple[float, ...]
    deletion_area: float
    insertion_area: float


def faithfulness(order: Order, score: Callable[[Kept], float]) -> Faithfulness:
    """Measure an order of at least two words.

    Examples
    --------
    >>> worth = np.array([4.0, 1.0, 1.0, 2.0])
    >>> right = faithfulness((0, 3, 1, 2), lambda kept: worth[list(kept)].sum())
    >>> wrong = faithfulness((2, 1, 3, 0), lambda kept: worth[list(kept)].sum())
    >>> round(right.comprehensiveness, 2), round(wrong.comprehensiveness, 2), right.deletion_area < wrong.deletion_area
    (4.67, 1.33, True)
    """
    count = len(order)
    full = score(tuple(range(count)))
    bins, steps = sizes(count, BINS), sizes(count, CURVE)
    deletion = tuple(score(without(order, size)) - full for size in steps)
    insertion = tuple(score(only(order, size)) - full for size in steps)
    return Faithfulness(
        comprehensiveness=float(np.mean([full - score(without(order, size)) for size in bins])),
        sufficiency=float(np.mean([full - score(only(order, size)) for size in bins])),
        deletion=deletion,
        insertion=insertion,
        deletion_area=_area([(0, 0.0), *zip(steps, deletion, strict=True)]),
        insertion_area=_area([*zip(steps, insertion, strict=True), (count, 0.0)]),
    )


def _area(points: Sequence[tuple[int, float]]) -> float:
    """The mean height of a curve through points in order; points of the same place count once."""
    heights = dict(points)
    places = list(heights)
    return float(np.trapezoid(list(heights.values()), places) / (places[-1] - places[0]))


def cosine(one: Numbers, other: Numbers) -> float:
    """How alike two lists of attributions are, -1 to 1; NaN where one is all zero."""
    size = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / size if size > 0 else math.nan
