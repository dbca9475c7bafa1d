"""The steps of the policy, each a small pure rule over a ranking, and the context that a step may read.

Knows neither the order of steps nor how purchases, stock and brands are stored.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.ranking.candidates import EXPLORED
from streams.ranking.policy.ranking import Floats, Ranking, Slots


@dataclass(frozen=True, slots=True)
class PolicyContext:
    """What steps may read about a shelf's candidates. Look-ups take slots [n]; only steps in use call them.

    Attributes
    ----------
    in_stock
        Whether each can be sold, bool [n].
    brands, groups
        Number of each one's brand, and of the group of variants that it is one of, int32 [n]; -1 where there is none.
    vectors
        Unit vectors, [n, D].
    bought
        Slots that the shopper has bought and that are not to be offered again, int64 [b].
    overlooked
        By slot, how often the shopper saw an item and did not touch it since, decayed; empty but for feeds.
    seed
        Seed of the random generator; made from the shelf's id, so that a replay makes the same shelf.
    length
        Places on the shelf.
    """

    in_stock: Callable[[Slots], NDArray[np.bool_]]
    brands: Callable[[Slots], NDArray[np.int32]]
    groups: Callable[[Slots], NDArray[np.int32]]
    vectors: Callable[[Slots], NDArray[Any]]
    bought: Slots
    overlooked: Mapping[int, float]
    seed: int
    length: int


class Step(ABC):
    """A rule: takes a ranking and returns one with some of its items, in some order. Deterministic."""

    @abstractmethod
    def apply(self, ranking: Ranking, context: PolicyContext) -> Ranking:
        """Apply the rule."""

    def apply_all(self, rankings: Sequence[Ranking], contexts: Sequence[PolicyContext]) -> list[Ranking]:
        """Apply the rule to the rankings of a batch, each in its context."""
        return [self.apply(*one) for one in zip(rankings, contexts, strict=True)]


class AlreadyBought(Step):
    """Removes what the shopper has bought and is not to be offered again."""

    def apply(self, ranking: Ranking, context: PolicyContext) -> Ranking:
        """Apply the rule."""
        if not len(context.bought):
            return ranking
        return ranking.keep(~np.isin(ranking.slots, context.bought))


class InStock(Step):
    """Removes what is out of stock."""

    def apply(self, ranking: Ranking, context: PolicyContext) -> Ranking:
        """Apply the rule."""
        return ranking.keep(context.in_stock(ranking.slots))


class Variants(Step):
    """Keeps of each group of variants, such as a product's sizes, the one that ranks highest."""

    def apply(self, ranking: Ranking, context: PolicyContext) -> Ranking:
        """Apply the rule."""
        groups = context.groups(ranking.slots)
        grouped = groups >= 0
        if not grouped.any():
            return ranking
        first = np.zeros(len(groups), np.bool_)
        first[np.unique(groups, return_index=True)[1]] = True
        return ranking.keep(first | ~grouped)


class Fatigue(Step):
    """Moves items back that the shopper saw and did not touch since: by ``strength`` shelves for each time.

    An item at place ``p`` of the front that was overlooked ``c`` times comes behind place ``p + strength * length *
    c``, and is worth no more than what stands there; beyond the end scores go on falling as they do in the mean. So it
    does the same on scores of any scale.

    Parameters
    ----------
    strength
        0 leaves the ranking as it is.
    """

    def __init__(self, strength: float) -> None:
        self._strength = strength

    def apply(self, ranking: Ranking, context: PolicyContext) -> Ranking:
        """Apply the rule."""
        front, overlooked = ranking.front, context.overlooked
        if not overlooked or not self._strength or not front:
            return ranking
        counts = np.array([overlooked.get(slot, 0.0) for slot in ranking.slots[:front].tolist()])
        if not counts.any():
            return ranking
        places = np.arange(front)
        back = places + self._strength * context.length * counts
        levels = np.sort(ranking.scores[:front])[::-1].astype(np.float64)
        fall = (levels[0] - levels[-1]) / max(1, front - 1)
        worth = np.interp(back, places, levels) - fall * np.maximum(0.0, back - places[-1])
        scores = ranking.scores.copy()
        scores[:front] = np.where(counts > 0, np.minimum(scores[:front], worth), scores[:front])
        order = np.arange(len(ranking))
        order[:front] = np.lexsort((counts > 0, back))
        return replace(ranking, scores=scores).reorder(order)


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

    def apply(self, ranking: Ranking, context: PolicyContext) -> Ranking:
        """Apply the rule."""
        if not ranking.front:
            return ranking
        brands = context.brands(ranking.slots[: ranking.front])
        # Sorted by brand, an item's number within its brand is its distance from the brand's first.
        order = np.argsort(brands, kind="stable")
        grouped = brands[order]
        number = np.empty(len(brands), dtype=np.intp)
        number[order] = np.arange(len(brands)) - np.searchsorted(grouped, grouped)
        over = (number >= self._most) & (brands >= 0)
        if not over.any():
            return ranking
        behind = np.arange(ranking.front, len(ranking))
        within = np.flatnonzero(~over)
        return ranking.reorder(np.concatenate((within, np.flatnonzero(over), behind)), len(within))


_LEAST_POOL = 50


class Diversity(Step):
    """Fills the shelf place by place with items that score high and differ from those already placed.

    Each place takes the item with the highest ``(1 - strength) * relevance - strength * similarity``: its score,
    scaled to 0..1 over the pool, against its highest cosine to an item already placed. The pool is the first
    ``max(2 * length, 50)`` places of the front; what is not picked keeps its order behind.

    Parameters
    ----------
    strength
        0 leaves the ranking as it is; 1 ignores the scores after the first place.
    """

    def __init__(self, strength: float) -> None:
        self._strength = np.float32(strength)

    def apply(self, ranking: Ranking, context: PolicyContext) -> Ranking:
        """Apply the rule."""
        return self.apply_all([ranking], [context])[0]

    def apply_all(self, rankings: Sequence[Ranking], contexts: Sequence[PolicyContext]) -> list[Ranking]:
        """Apply the rule to the rankings of a batch, one place of all of them after the other."""
        pools = [
            min(max(2 * context.length, _LEAST_POOL), ranking.front)
            for ranking, context in zip(rankings, contexts, strict=True)
        ]
        some = [number for number, pool in enumerate(pools) if self._strength and pool > 1]
        found = list(rankings)
        if some:
            counts = [min(contexts[number].length, pools[number]) for number in some]
            relevance, penalties = self._pools(rankings, contexts, {number: pools[number] for number in some})
            for number, count, picked in zip(some, counts, _greedy(relevance, penalties, max(counts)), strict=True):
                rest = np.ones(len(rankings[number]), np.bool_)
                rest[picked[:count]] = False
                found[number] = rankings[number].reorder(np.concatenate((picked[:count], np.flatnonzero(rest))))
        return found

    def _pools(
        self, rankings: Sequence[Ranking], contexts: Sequence[PolicyContext], pools: Mapping[int, int]
    ) -> tuple[Floats, Floats]:
        """Weighted relevance, float32 [b, p], and similarities, [b, p, p], of the rankings that have a pool, by number;
        a place beyond its pool has minus infinity."""
        width = max(pools.values())
        relevance = np.full((len(pools), width), -np.inf, np.float32)
        penalties = np.zeros((len(pools), width, width), np.float32)
        for row, (number, pool) in enumerate(pools.items()):
            ranking = rankings[number]
            vectors = np.asarray(contexts[number].vectors(ranking.slots[:pool]), dtype=np.float32)
            penalties[row, :pool, :pool] = (vectors @ vectors.T) * self._strength
            scores = ranking.scores[:pool]
            low, high = scores.min(), scores.max()
            relevance[row, :pool] = (scores - low) * ((1 - self._strength) / max(high - low, np.float32(1e-9)))
        return relevance, penalties


def _greedy(relevance: Floats, penalties: Floats, count: int) -> NDArray[np.intp]:
    """The places picked for each pool, int [b, count]; what is beyond a pool's end means nothing."""
    rows = np.arange(len(relevance))
    picked = np.zeros((len(rows), count), np.intp)
    picked[:, 0] = relevance.argmax(1)
    highest = penalties[rows, picked[:, 0]]
    for place in range(1, count):
        relevance[rows, picked[:, place - 1]] = -np.inf
        picked[:, place] = best = (relevance - highest).argmax(1)
        np.maximum(highest, penalties[rows, best], out=highest)
    return picked


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

    def apply(self, ranking: Ranking, context: PolicyContext) -> Ranking:
        """Apply the rule."""
        end = ranking.front if ranking.front >= context.length else len(ranking)
        outside = end - context.length
        if not self._epsilon or outside < 1 or self._position >= context.length:
            return ranking
        chance = Random(context.seed)
        propensities = ranking.propensities.copy()
        if chance.random() >= self._epsilon:
            propensities[self._position] *= 1 - self._epsilon
            return Ranking(ranking.slots, ranking.scores, ranking.reasons, propensities, ranking.front)
        drawn = context.length + chance.randrange(outside)
        order = np.arange(len(ranking))
        order[[self._position, drawn]] = drawn, self._position
        reasons = ranking.reasons[order]
        reasons[self._position] |= EXPLORED
        propensities[self._position] = self._epsilon / outside
        return Ranking(ranking.slots[order], ranking.scores[order], reasons, propensities, ranking.front)
