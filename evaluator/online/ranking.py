"""How good shelves are, shelf by shelf: where clicks stand, what was worth showing, how varied and how fair it was.

Pure: takes shelves' closed impressions, popularity, vectors and brands. nDCG is ir-measures'.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import ir_measures
import numpy as np
import numpy.typing as npt

from evaluator.online.attribution import Closed

GAINS = {"ignore": 0, "look": 1, "read": 2, "buy": 4}
"""What an outcome was worth to the shopper, for nDCG."""


def reciprocal_rank(shelf: Sequence[Closed]) -> float:
    """One over the place (from one) of the first item with an outcome; zero where there is none."""
    places = [one.position + 1 for one in shelf if one.outcomes]
    return 1 / min(places) if places else 0.0


def ndcg(shelf: Sequence[Closed], depth: int = 10) -> float | None:
    """nDCG of outcomes in the order shown; None where nothing was done, so that nothing can be told.

    Examples
    --------
    >>> from evaluator.online.attribution import Fact
    >>> shown = [Closed("u", item, "s", "feed", place, 0) for place, item in enumerate("ab")]
    >>> clicked = Closed("u", "b", "s", "feed", 1, 0, (Fact(1, "click", "e"),))
    >>> ndcg(shown), round(ndcg([shown[0], clicked]), 3)
    (None, 0.631)
    """
    if not any(one.outcomes for one in shelf):
        return None
    judged = [ir_measures.Qrel("s", str(place), GAINS[one.intent]) for place, one in enumerate(shelf)]
    order = sorted(range(len(shelf)), key=lambda place: shelf[place].position)
    run = [ir_measures.ScoredDoc("s", str(place), float(-rank)) for rank, place in enumerate(order)]
    measure = ir_measures.nDCG @ depth
    return float(ir_measures.calc_aggregate([measure], judged, run)[measure])


def diversity(vectors: npt.NDArray[np.float32]) -> float:
    """Mean cosine distance between a shelf's items, from unit-norm vectors [n, D]; NaN for fewer than two.

    Examples
    --------
    >>> diversity(np.eye(3, dtype=np.float32)), diversity(np.ones((2, 1), np.float32))
    (1.0, 0.0)
    """
    count = len(vectors)
    if count < 2:
        return math.nan
    total = float(np.square(vectors.sum(axis=0)).sum() - np.square(vectors).sum())
    return 1 - total / (count * (count - 1))


def novelty(items: Iterable[str], popularity: Mapping[str, int], shown: int) -> float:
    """Mean self-information of a shelf's items in bits: how little they are shown elsewhere (Zhou et al. 2010).

    Parameters
    ----------
    popularity, shown
        Impressions of each item, and of all.
    """
    bits = [-math.log2(max(popularity.get(item, 0), 1) / max(shown, 1)) for item in items]
    return sum(bits) / len(bits) if bits else math.nan


@dataclass(slots=True)
class Mean:
    """A running mean; what cannot be told (None or NaN) is left out."""

    total: float = 0.0
    count: int = 0

    def update(self, value: float | None) -> None:
        """Take one value in."""
        if value is not None and not math.isnan(value):
            self.total, self.count = self.total + value, self.count + 1

    def get(self) -> float:
        """The mean; NaN where there was nothing."""
        return self.total / self.count if self.count else math.nan


@dataclass(slots=True)
class Ranking:
    """Running means over shelves, the share of the catalogue that was shown, and brands' shares of exposure.

    Parameters
    ----------
    brand
        An item's brand; empty where it has none.
    vector
        An item's unit-norm vector; None where it is not known.
    """

    brand: Callable[[str], str] = lambda _: ""
    vector: Callable[[str], npt.NDArray[np.float32] | None] = lambda _: None
    mrr: Mean = field(default_factory=Mean)
    ndcg_10: Mean = field(default_factory=Mean)
    diversity: Mean = field(default_factory=Mean)
    novelty: Mean = field(default_factory=Mean)
    shown: Counter[str] = field(default_factory=Counter)
    brands: Counter[str] = field(default_factory=Counter)

    def update(self, shelf: Sequence[Closed]) -> None:
        """Take one shelf's closed impressions in."""
        self.mrr.update(reciprocal_rank(shelf))
        self.ndcg_10.update(ndcg(shelf))
        self.novelty.update(novelty((one.item_id for one in shelf), self.shown, self.shown.total()))
        found = [vector for one in shelf if (vector := self.vector(one.item_id)) is not None]
        self.diversity.update(diversity(np.stack(found)) if found else None)
        for one in shelf:
            self.shown[one.item_id] += 1
            if brand := self.brand(one.item_id):
                self.brands[brand] += 1

    def coverage(self, catalogue: int) -> float:
        """Share of the catalogue's items that were shown at all."""
        return len(self.shown) / catalogue if catalogue else math.nan

    def exposure(self) -> dict[str, float]:
        """Each brand's share of the impressions of items that have a brand."""
        total = self.brands.total()
        return {brand: count / total for brand, count in self.brands.most_common()}
