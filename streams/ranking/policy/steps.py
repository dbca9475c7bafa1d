"""The steps of the policy, each a small pure rule over the rankings of a batch, and the facts that a step may read.

Knows neither the order of steps nor how purchases, stock and brands are stored.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.compiled import compiled
from streams.features.own import keys_of
from streams.ranking.candidates import EXPLORED
from streams.ranking.policy.ranking import Floats, Numbers, Rankings, Slots


@dataclass(frozen=True, slots=True)
class Facts:
    """What steps may read about items and about the shelves of a batch.

    Attributes
    ----------
    in_stock
        By slot, whether the item can be sold, bool.
    brands, groups
        By slot, the number of the item's brand, and of the group of variants that it is one of, int32; -1 where there
        is none.
    vectors
        Unit vectors of slots [n], float [n, D].
    bought
        Of each shelf the slots that the shopper has bought and that are not to be offered again, int64 [b].
    overlooked
        Of each shelf, by slot, how often the shopper saw an item and did not touch it since, decayed; empty but for
        feeds.
    seeds
        Of each shelf the seed of the random generator; made from the shelf's id, so that a replay makes the same shelf.
    length
        Places on a shelf.
    """

    in_stock: NDArray[np.bool_]
    brands: NDArray[np.int32]
    groups: NDArray[np.int32]
    vectors: Callable[[Slots], NDArray[Any]]
    bought: Sequence[Slots]
    overlooked: Sequence[Mapping[int, float]]
    seeds: Sequence[int]
    length: int


class Step(ABC):
    """A rule: takes rankings and returns ones with some of their items, in some order. Deterministic, and the same for
    a shelf whatever others are in the batch."""

    @abstractmethod
    def apply(self, rankings: Rankings, facts: Facts) -> Rankings:
        """Apply the rule."""


class AlreadyBought(Step):
    """Removes what the shopper has bought and is not to be offered again."""

    def apply(self, rankings: Rankings, facts: Facts) -> Rankings:
        """Apply the rule."""
        counts = [len(some) for some in facts.bought]
        if not sum(counts):
            return rankings
        bought = keys_of(np.repeat(np.arange(len(counts)), counts), np.concatenate(facts.bought))
        return rankings.keep(~np.isin(keys_of(rankings.shelves, rankings.slots), bought))


class InStock(Step):
    """Removes what is out of stock."""

    def apply(self, rankings: Rankings, facts: Facts) -> Rankings:
        """Apply the rule."""
        return rankings.keep(facts.in_stock[rankings.slots])


class Variants(Step):
    """Keeps of each group of variants, such as a product's sizes, the one that ranks highest."""

    def apply(self, rankings: Rankings, facts: Facts) -> Rankings:
        """Apply the rule."""
        groups = facts.groups[rankings.slots]
        grouped = np.flatnonzero(groups >= 0)
        if not len(grouped):
            return rankings
        kept = groups < 0
        kept[grouped[np.unique(keys_of(rankings.shelves, groups)[grouped], return_index=True)[1]]] = True
        return rankings.keep(kept)


class Fatigue(Step):
    """Moves items back that the shopper saw and did not touch since: by ``strength`` shelves for each time.

    An item at place ``p`` of the front that was overlooked ``c`` times comes behind place ``p + strength * length *
    c``, and is worth no more than what stands there; beyond the end scores go on falling as they do in the mean. So it
    does the same on scores of any scale.

    Parameters
    ----------
    strength
        0 leaves the rankings as they are.
    """

    def __init__(self, strength: float) -> None:
        self._strength = strength

    def apply(self, rankings: Rankings, facts: Facts) -> Rankings:
        """Apply the rule."""
        if not self._strength or not any(facts.overlooked):
            return rankings
        front = np.flatnonzero(rankings.in_front)
        counts = self._counts(rankings, front, facts.overlooked)
        if not counts.any():
            return rankings
        shelves, scores = rankings.shelves[front], rankings.scores[front]
        sizes = np.bincount(shelves, minlength=len(rankings))
        first = (np.cumsum(sizes) - sizes)[shelves]
        last = first + sizes[shelves] - 1
        places = np.arange(len(front)) - first
        back = places + self._strength * facts.length * counts
        levels = scores[np.lexsort((-scores, shelves))].astype(np.float64)
        fall = (levels[first] - levels[last]) / np.maximum(1, last - first)
        within = np.minimum(back, last - first)
        lower = first + within.astype(np.int64)
        between = levels[lower] + (within % 1.0) * (levels[np.minimum(lower + 1, last)] - levels[lower])
        worth = between - fall * np.maximum(0.0, back - (last - first))
        lowered = rankings.scores.copy()
        lowered[front] = np.where(counts > 0, np.minimum(scores, worth), scores)
        order = np.arange(len(rankings.slots))
        order[front] = front[np.lexsort((counts > 0, back, shelves))]
        return replace(rankings, scores=lowered).reorder(order)

    def _counts(
        self, rankings: Rankings, front: Numbers, overlooked: Sequence[Mapping[int, float]]
    ) -> NDArray[np.float64]:
        """How often the item at each place of the fronts was overlooked, [f]."""
        sizes = [len(some) for some in overlooked]
        slots = np.fromiter((slot for some in overlooked for slot in some), np.int64, sum(sizes))
        known = keys_of(np.repeat(np.arange(len(sizes)), sizes), slots)
        counts = np.fromiter((count for some in overlooked for count in some.values()), np.float64, sum(sizes))
        order = np.argsort(known)
        known, keys = known[order], keys_of(rankings.shelves, rankings.slots)[front]
        at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
        return np.where(known[at] == keys, counts[order][at], 0.0)


class BrandCap(Step):
    """Limits the items of one brand in front; the others are moved behind the front, in their order.

    They are shown only if nothing else is left to fill the shelf, as for a query that names the brand.

    Parameters
    ----------
    most
        The maximum number of items of one brand in front. Items without a brand are not counted.
    """

    def __init__(self, most: int) -> None:
        self._most = most

    def apply(self, rankings: Rankings, facts: Facts) -> Rankings:
        """Apply the rule."""
        brands, in_front = facts.brands[rankings.slots], rankings.in_front
        branded = np.flatnonzero(in_front & (brands >= 0))
        # Sorted by shelf and brand, an item's number within its brand is its distance from the brand's first.
        keys = keys_of(rankings.shelves, brands)[branded]
        order = np.argsort(keys, kind="stable")
        grouped = keys[order]
        over = branded[order[np.arange(len(grouped)) - np.searchsorted(grouped, grouped) >= self._most]]
        if not len(over):
            return rankings
        part = np.where(in_front, 0, 2)
        part[over] = 1
        fronts = rankings.fronts - np.bincount(rankings.shelves[over], minlength=len(rankings))
        return rankings.reorder(np.argsort(rankings.shelves * 3 + part, kind="stable"), fronts)


_LEAST_POOL = 50


class Diversity(Step):
    """Fills the shelf place by place with items that score high and differ from those already placed (maximal marginal
    relevance: Carbonell and Goldstein, SIGIR 1998).

    Each place takes the item with the highest ``(1 - strength) * relevance - strength * similarity``: its score,
    scaled to 0..1 over the pool, against its highest cosine to an item already placed. The pool is the first
    ``max(2 * length, 50)`` places of the front; what is not picked keeps its order behind.

    Parameters
    ----------
    strength
        0 leaves the rankings as they are; 1 ignores the scores after the first place.
    """

    def __init__(self, strength: float) -> None:
        self._strength = np.float32(strength)

    def apply(self, rankings: Rankings, facts: Facts) -> Rankings:
        """Apply the rule."""
        pools = np.minimum(rankings.fronts, max(2 * facts.length, _LEAST_POOL))
        if not self._strength or (pools < 2).all():
            return rankings
        pooled = np.flatnonzero(rankings.places < pools[rankings.shelves])
        vectors = np.ascontiguousarray(facts.vectors(rankings.slots[pooled]), np.float32)
        relevance = self._relevance(rankings.scores[pooled], pools)
        picked = most_marginal(relevance, vectors, pools, facts.length, float(self._strength))
        order = np.full(len(rankings.slots), facts.length)
        order[pooled] = picked
        return rankings.reorder(np.lexsort((order, rankings.shelves)))

    def _relevance(self, scores: Floats, pools: Numbers) -> Floats:
        """Weighted scores, scaled to 0..1 over each pool, float32 [p]."""
        some = pools[pools > 0]
        starts = np.cumsum(some) - some
        low = np.repeat(np.minimum.reduceat(scores, starts), some)
        high = np.repeat(np.maximum.reduceat(scores, starts), some)
        found: Floats = (scores - low) * ((1 - self._strength) / np.maximum(high - low, np.float32(1e-9)))
        return found


@compiled
def most_marginal(relevance: Floats, vectors: Floats, pools: Numbers, length: int, strength: float) -> Numbers:
    """At which place of its pool's picks each item stands, int64 [p]; ``length`` where it is not picked.

    An item's value only falls as others are picked, so a value from before some of them is an upper bound: only where
    the highest bound is such a one are more cosines computed. That picks the same items as computing all (Minoux 1978).

    Parameters
    ----------
    relevance, vectors
        float32 [p] and [p, D], one pool's items after the other's.
    pools
        Items of each pool.
    """
    found = np.full(len(relevance), length)
    begin = 0
    for pool in pools:
        end = begin + pool
        worth, of, places = relevance[begin:end], vectors[begin:end], found[begin:end]
        bounds = worth.copy()
        highest = np.full(pool, np.float32(-np.inf), np.float32)
        compared = np.zeros(pool, np.int64)
        picks = np.zeros(length, np.int64)
        place = 0
        while place < min(length, pool):
            best, bound = -1, np.float32(-np.inf)
            for item in range(pool):
                if places[item] == length and (best < 0 or bounds[item] > bound):
                    best, bound = item, bounds[item]
            if compared[best] < place:
                for other in picks[compared[best] : place]:
                    highest[best] = max(highest[best], np.float32(strength) * np.dot(of[best], of[other]))
                bounds[best], compared[best] = worth[best] - highest[best], place
                continue
            places[best], picks[place] = place, best
            place += 1
            if place == 1:  # without a cosine there is no bound
                for item in range(pool):
                    highest[item] = np.float32(strength) * np.dot(of[item], of[best])
                    bounds[item], compared[item] = worth[item] - highest[item], 1
        begin = end
    return found


class Exploration(Step):
    """Sometimes shows a candidate from outside the shelf, so that its clicks can be learned.

    With probability ``epsilon`` the item at ``position`` is replaced by one drawn uniformly from the ``m`` candidates
    outside the shelf. Propensities are exact: at that place ``1 - epsilon`` for the item of the ranking and
    ``epsilon / m`` for each of the others; 1 at all other places. If there is nothing to draw, or the shelf is shorter
    than the position, nothing is random and all are 1.

    Candidates behind the front are drawn only if the shelf holds such items anyway.

    Must be the last step: a later step would make the logged propensities wrong.

    Parameters
    ----------
    epsilon
        Probability of exploring, 0 to 1.
    position
        The explored place, from 0.
    """

    def __init__(self, epsilon: float, position: int) -> None:
        self._epsilon = epsilon
        self._position = position

    def apply(self, rankings: Rankings, facts: Facts) -> Rankings:
        """Apply the rule."""
        starts = rankings.starts
        ends = np.where(rankings.fronts >= facts.length, rankings.fronts, np.diff(starts))
        drawing = np.flatnonzero(ends > facts.length)
        if not self._epsilon or not len(drawing) or self._position >= facts.length:
            return rankings
        order, drawn = np.arange(len(rankings.slots)), list[int]()
        propensities = rankings.propensities.copy()
        explored = starts[drawing] + self._position
        for number, at, end in zip(drawing.tolist(), explored.tolist(), ends[drawing].tolist(), strict=True):
            chance, outside = Random(facts.seeds[number]), end - facts.length
            if chance.random() >= self._epsilon:
                propensities[at] *= 1 - self._epsilon
                continue
            other = at - self._position + facts.length + chance.randrange(outside)
            order[at], order[other] = other, at
            propensities[at] = self._epsilon / outside
            drawn.append(at)
        found = rankings.reorder(order)
        found.reasons[drawn] |= EXPLORED
        return replace(found, propensities=propensities)
