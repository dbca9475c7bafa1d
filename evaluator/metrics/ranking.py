"""Sums of measures over shelves that were shown: means, exposure of brands, and how often each item was shown.

Pure: takes shelves' attributed impressions, popularity, titles and brands. The measures themselves are
:mod:`models.measures`: the same as offline, by the same names.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from evaluator.metrics.impression import AttributedImpression
from models.measures.names import DIVERSITY, MRR, NDCG, NOVELTY
from models.measures.ranking import DEPTH, ndcg, reciprocal_rank
from models.measures.shelves import EXPOSURE, coverage, diversity, novelty, words
from models.training.examples import LEVELS

MEANS = (MRR, NDCG, DIVERSITY, NOVELTY)


class Items(Protocol):
    """A lookup of the items on sale."""

    def brand(self, item_id: str) -> str:
        """An item's brand; empty where there is none."""

    def title(self, item_id: str) -> str:
        """An item's title; empty where it is not known."""

    def __len__(self) -> int: ...

    def __contains__(self, item_id: object) -> bool: ...


def gains(shelf: Sequence[AttributedImpression]) -> npt.NDArray[np.float64]:
    """What the items that were seen turned out to be worth, in the order shown: the levels of their intents."""
    return np.array([LEVELS[one.intent] for one in sorted(shelf, key=lambda one: one.position)])


@dataclass(slots=True)
class Mean:
    """A running mean; undefined values (NaN) are left out."""

    total: float = 0.0
    count: int = 0

    def update(self, value: float) -> None:
        """Take one value in."""
        if not math.isnan(value):
            self.total, self.count = self.total + value, self.count + 1

    def add(self, other: "Mean") -> None:
        """Take another's values in."""
        self.total, self.count = self.total + other.total, self.count + other.count

    def get(self) -> float:
        """The mean; NaN without values."""
        return self.total / self.count if self.count else math.nan


@dataclass(slots=True)
class RankingMetrics:
    """Sums over shelves.

    Attributes
    ----------
    means
        By measure.
    items
        How often each item was shown in a first ten.
    exposure, squares
        Of each brand, and of items without one (an empty name): the exposure of its places, and its squares.

    Examples
    --------
    >>> ranking = RankingMetrics(items=Counter(a=3, b=1))
    >>> ranking.add(RankingMetrics(items=Counter(c=2)))
    >>> ranking.coverage(6), ranking.shown
    (0.5, 6)
    """

    means: dict[str, Mean] = field(default_factory=lambda: {name: Mean() for name in MEANS})
    items: Counter[str] = field(default_factory=Counter)
    exposure: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    squares: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    @property
    def shown(self) -> int:
        """How many impressions of known items there were."""
        return self.items.total()

    def update(self, shelf: Sequence[AttributedImpression], items: Items, before: "RankingMetrics") -> None:
        """Take the impressions of one shelf in.

        Parameters
        ----------
        items
            The catalogue. Items that it does not know count as never shown, since events may name any number of them.
        before
            The sums by which novelty is measured.
        """
        first = sorted((one for one in shelf if one.position < DEPTH), key=lambda one: one.position)
        shown, worth = [one.item_id for one in first], gains(shelf)
        self.means[MRR].update(reciprocal_rank(worth))
        self.means[NDCG].update(ndcg(worth))
        self.means[DIVERSITY].update(diversity([words(text) for item in shown if (text := items.title(item))]))
        if before.shown:
            self.means[NOVELTY].update(novelty(shown, before.items, before.shown))
        self.items.update(item for item in shown if item in items)
        for one in first:
            name, seen = items.brand(one.item_id), EXPOSURE[one.position]
            self.exposure[name] += seen
            self.squares[name] += seen**2

    def add(self, other: "RankingMetrics") -> None:
        """Take another's sums in."""
        for name, mean in self.means.items():
            mean.add(other.means[name])
        self.items.update(other.items)
        for ours, theirs in ((self.exposure, other.exposure), (self.squares, other.squares)):
            for name, seen in theirs.items():
                ours[name] += seen

    def coverage(self, catalogue: int) -> float:
        """Share of the catalogue's items that were in a first ten."""
        return coverage(self.items, catalogue)
