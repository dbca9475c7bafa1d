"""Ranking metrics of shelves: reciprocal rank, nDCG, diversity, novelty, and exposure of items and brands.

Pure: takes shelves' attributed impressions, popularity, vectors and brands. nDCG is the same as in training.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from evaluator.metrics.impression import AttributedImpression
from models.training.ndcg import ndcgs

GAINS = {"ignore": 0, "look": 1, "read": 2, "buy": 4}
"""The gain of each intent, for nDCG."""


def reciprocal_rank(shelf: Sequence[AttributedImpression]) -> float:
    """One over the rank (from one) of the first item with an outcome; zero where there is none."""
    places = [one.position + 1 for one in shelf if one.outcomes]
    return 1 / min(places) if places else 0.0


def ndcg(shelves: Sequence[Sequence[AttributedImpression]], depth: int = 10) -> list[float]:
    """nDCG of outcomes in the order shown, of each shelf with an outcome; it is undefined for others.

    Examples
    --------
    >>> from evaluator.metrics.impression import JoinEvent
    >>> shown = [AttributedImpression("u", item, "s", "feed", place, 0) for place, item in enumerate("ab")]
    >>> clicked = AttributedImpression("u", "b", "s", "feed", 1, 0, (JoinEvent(1, "click", "e"),))
    >>> [round(value, 3) for value in ndcg([shown, [shown[0], clicked]])]
    [0.631]
    """
    with_outcomes = [shelf for shelf in shelves if any(one.outcomes for one in shelf)]
    gains = [
        np.array([GAINS[one.intent] for one in sorted(shelf, key=lambda one: one.position)]) for shelf in with_outcomes
    ]
    found: list[float] = ndcgs(gains, [-np.arange(len(gain)) for gain in gains], depth).tolist()
    return found


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
    """Mean self-information of a shelf's items in bits: high for items that are rarely shown (Zhou et al. 2010).

    Parameters
    ----------
    popularity, shown
        Impressions of each item, and of all.
    """
    bits = [-math.log2(max(popularity.get(item, 0), 1) / max(shown, 1)) for item in items]
    return sum(bits) / len(bits) if bits else math.nan


MEANS = ("mrr", "ndcg_10", "diversity", "novelty")


@dataclass(slots=True)
class Mean:
    """A running mean; undefined values (None or NaN) are left out."""

    total: float = 0.0
    count: int = 0

    def update(self, value: float | None) -> None:
        """Take one value in."""
        if value is not None and not math.isnan(value):
            self.total, self.count = self.total + value, self.count + 1

    def add(self, other: "Mean") -> None:
        """Take another's values in."""
        self.total, self.count = self.total + other.total, self.count + other.count

    def get(self) -> float:
        """The mean; NaN without values."""
        return self.total / self.count if self.count else math.nan


@dataclass(slots=True)
class RankingMetrics:
    """Sums over shelves: means, how often each item and each brand was shown.

    Examples
    --------
    >>> ranking = RankingMetrics(items=Counter(a=3, b=1), brands=Counter(acme=3))
    >>> ranking.add(RankingMetrics(items=Counter(c=2)))
    >>> ranking.coverage(6), ranking.items.total()
    (0.5, 6)
    """

    mrr: Mean = field(default_factory=Mean)
    ndcg_10: Mean = field(default_factory=Mean)
    diversity: Mean = field(default_factory=Mean)
    novelty: Mean = field(default_factory=Mean)
    items: Counter[str] = field(default_factory=Counter)
    brands: Counter[str] = field(default_factory=Counter)

    def add(self, other: "RankingMetrics") -> None:
        """Take another's sums in."""
        for name in MEANS:
            getattr(self, name).add(getattr(other, name))
        self.items.update(other.items)
        self.brands.update(other.brands)

    def coverage(self, catalogue: int) -> float:
        """Share of the catalogue's items that were shown at all."""
        return len(self.items) / catalogue if catalogue else math.nan
