"""What shelves show: exposure, coverage, novelty and diversity of the first ten places.

Knows names, scores and words, nothing of who ranked. A place's exposure is nDCG's discount,
1 / log2(1 + rank), and zero after the tenth (Singh and Joachims 2018, "Fairness of Exposure in Rankings").
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from models.measures.ranking import DEPTH, discounts

Numbers = npt.NDArray[np.float64]

EXPOSURE: tuple[float, ...] = tuple(discounts(DEPTH).tolist())
"""The exposure of each of the first places; further ones have none."""


def shared(scores: Numbers, worth: Numbers | Sequence[float] = EXPOSURE) -> Numbers:
    """What each item gets of the worth of the places, by default its exposure. Items with equal scores share that of
    their places, which is the expectation over random orders of them.

    Examples
    --------
    >>> shared(np.array([0.2, 0.9, 0.2]), np.array([1.0, 0.5, 0.3])).tolist()
    [0.4, 1.0, 0.4]
    >>> shared(np.array([0.1, 0.9, 0.5])).round(2).tolist()
    [0.5, 1.0, 0.63]
    """
    found = np.zeros(len(scores))
    if not len(scores):
        return found
    ranked = np.argsort(-scores, kind="stable")
    places = np.zeros(len(scores))
    places[: len(worth)] = worth[: len(scores)]
    starts = np.flatnonzero(np.diff(-scores[ranked], prepend=-np.inf) != 0)
    lengths = np.diff(starts, append=len(scores))
    found[ranked] = np.repeat(np.add.reduceat(places, starts) / lengths, lengths)
    return found


def shares(shelves: Iterable[Sequence[str]]) -> dict[str, float]:
    """Each name's share of all exposure, from names by place.

    Examples
    --------
    >>> {name: round(share, 2) for name, share in shares([["a", "b"], ["a", "c"]]).items()}
    {'a': 0.61, 'b': 0.19, 'c': 0.19}
    """
    found: defaultdict[str, float] = defaultdict(float)
    for names in shelves:
        for name, seen in zip(names, EXPOSURE, strict=False):
            found[name] += seen
    total = sum(found.values())
    return {name: seen / total for name, seen in found.items()}


def total_variation(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Half the sum of the differences of shares: the part of all exposure that goes to others.

    Examples
    --------
    >>> total_variation({"a": 0.75, "b": 0.25}, {"a": 0.5, "c": 0.5})
    0.5
    """
    return sum(abs(one.get(name, 0.0) - other.get(name, 0.0)) for name in one.keys() | other.keys()) / 2


def coverage(shown: Collection[str], among: int) -> float:
    """The share of all items that are in a first ten; NaN where there are none.

    Parameters
    ----------
    shown
        Distinct items of the first ten places of all shelves.
    among
        How many items could be shown.
    """
    return len(shown) / among if among else math.nan


def novelty(items: Sequence[str], popularity: Mapping[str, int], shown: int) -> float:
    """Mean self-information of a shelf's first ten items, in bits: high for those that are rarely shown (Zhou et al.
    2010); NaN without items.

    Parameters
    ----------
    popularity, shown
        How often each item was shown or bought before, and all together.

    Examples
    --------
    >>> novelty(["a", "b"], {"a": 50, "b": 25}, 100)
    1.5
    """
    bits = [-math.log2(max(popularity.get(item, 0), 1) / max(shown, 1)) for item in items[:DEPTH]]
    return sum(bits) / len(bits) if bits else math.nan


def words(text: str) -> frozenset[str]:
    """The distinct words of an item's text, as :func:`diversity` compares them."""
    return frozenset(text.casefold().split())


def diversity(texts: Sequence[frozenset[str]]) -> float:
    """The mean Jaccard distance of the words of two of a shelf's first ten items: 0 where all have the same words; NaN
    for fewer than two. It depends on no model, so shelves of different models can be compared (Ziegler et al. 2005).

    Examples
    --------
    >>> diversity([frozenset("ab"), frozenset("bc")]), diversity([frozenset("a")] * 2)
    (0.6666666666666667, 0.0)
    """
    apart = [1 - len(one & other) / max(1, len(one | other)) for one, other in combinations(texts[:DEPTH], 2)]
    return sum(apart) / len(apart) if apart else math.nan
