"""Features of items for a shopper's feed: own purchases, recency, popularity, purchases together, price and age.

Knows cases of a feed; nothing of texts or of what learns from the features. Every feature of a case is from before the
case: popularity is counted up to its time, similarities are learned from cases that are older than those scored.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from evaluator.offline.contenders.collaborative import EASE, ItemKNN
from evaluator.offline.contenders.simple import DAY_MS
from evaluator.offline.data import Case, Document

Features = npt.NDArray[np.float64]

NEWEST = 10
"""How many of the newest past items make the short history."""

POPULAR = 100
"""How many best sellers are candidates of every training case."""

UNIFORM = 200
"""How many candidates of a training case are drawn from all items."""


class Sales:
    """How often each item was acted on, by day.

    Parameters
    ----------
    cases
        Of a training part, at least one.
    """

    def __init__(self, cases: Sequence[Case], least: float) -> None:
        self._first = min(case.ts for case in cases) // DAY_MS
        self.last = max(case.ts for case in cases) // DAY_MS
        self.items: dict[str, int] = {}
        cells: Counter[tuple[int, int]] = Counter()
        for case in cases:
            for item, gain in zip(case.items, case.gains, strict=True):
                if gain > least:
                    place = self.items.setdefault(item, len(self.items))
                    cells[case.ts // DAY_MS - self._first, place] += 1
        by_day = np.zeros((self.last - self._first + 2, len(self.items)), np.int32)
        for (day, place), count in cells.items():
            by_day[day + 1, place] = count
        self._until = by_day.cumsum(axis=0)

    def counts(self, ts: int, days: int | None = None) -> npt.NDArray[np.int32]:
        """Of each of :attr:`items`: how often in so many days before the day of a time, or ever before it.

        The day after the last one stands for all that come later.

        Examples
        --------
        >>> sales = Sales([Case("c", ("a",), np.ones(1), ts=DAY_MS * day) for day in (1, 1, 5)], least=0.0)
        >>> [sales.counts(DAY_MS * day, days=3).item() for day in (1, 2, 5, 6, 99)], sales.counts(DAY_MS * 9).item()
        ([0, 2, 0, 1, 1], 3)
        """
        end = min(max(ts // DAY_MS, self._first), self.last + 1) - self._first
        start = 0 if days is None else max(0, end - days)
        found: npt.NDArray[np.int32] = self._until[end] - self._until[start]
        return found


class Behaviour:
    """Features of the candidates of cases.

    Parameters
    ----------
    cases
        What is known: cases of the training part. Similarities are learned from all of them, so cases that are to be
        learned from are younger than these.
    sales
        When each item was acted on.
    """

    def __init__(self, cases: Sequence[Case], sales: Sales, items: Mapping[str, Document], least: float) -> None:
        self._items, self._sales = items, sales
        self._neighbours, self._linear = ItemKNN(), EASE()
        self._neighbours.learn(cases, least)
        self._linear.learn(cases, least)

    def features(self, cases: Sequence[Case]) -> list[Features]:
        """float64 [n, 14] per case."""
        short = [_newest(case) for case in cases]
        parts = [one.score(some) for one in (self._neighbours, self._linear) for some in (cases, short)]
        return [self._one(case, [part[place] for part in parts]) for place, case in enumerate(cases)]

    def _one(self, case: Case, similar: Sequence[Features]) -> Features:
        past = Counter(case.history)
        length = max(1, len(case.history))
        newest = {item: place for place, item in reversed(list(enumerate(case.history)))}
        own = np.array([past[item] for item in case.items], np.float64)
        recent = np.array([newest.get(item, 2 * length) for item in case.items], np.float64)
        places = np.array([self._sales.items.get(item, -1) for item in case.items])
        sold = [np.where(places >= 0, self._sales.counts(case.ts, days)[places], 0) for days in (7, 30, None)]
        prices = np.log1p([self._items[item].price for item in case.items])
        usual = [self._items[item].price for item in past if item in self._items]
        level = np.log1p(np.nanmedian(usual)) if usual and not np.isnan(usual).all() else np.nan
        first = np.array([self._items[item].first_seen or np.nan for item in case.items], np.float64)
        ages = (case.ts - first) / DAY_MS
        columns = [own, own / length, recent, *np.log1p(sold), *similar, prices, prices - level, ages]
        return np.column_stack([*columns, np.full(len(own), len(case.history))])


def _newest(case: Case) -> Case:
    return Case(case.id, case.items, case.gains, history=case.history[:NEWEST], shopper=case.shopper, ts=case.ts)


def with_candidates(case: Case, sales: Sales, chance: np.random.Generator) -> Case:
    """A case whose candidates are the shopper's past, best sellers of 30 days, and others at random.

    All were sold before the case's day: what was not can be recognised by that alone. What was acted on is a candidate
    by the same draw as all else; were it always one, items that are new to the shopper would look better than they are.

    Examples
    --------
    >>> sales = Sales([Case("s", ("a", "b", "c"), np.ones(3), ts=0)], least=0.0)
    >>> found = with_candidates(Case("c", ("a", "d"), np.ones(2), ts=DAY_MS), sales, np.random.default_rng(0))
    >>> found.items, found.gains.tolist()
    (('a', 'b', 'c'), [1.0, 0.0, 0.0])
    """
    known, names = np.flatnonzero(sales.counts(case.ts)), list(sales.items)
    month = sales.counts(case.ts, 30)[known]
    best = known[np.argsort(-month, kind="stable")[:POPULAR]]
    drawn = chance.choice(known, min(UNIFORM, len(known)), replace=False) if len(known) else known
    old = {names[place] for place in known}
    past = (item for item in case.history if item in old)
    candidates = tuple(dict.fromkeys([*past, *(names[place] for place in (*best, *drawn))]))
    gains = dict(zip(case.items, case.gains.tolist(), strict=True))
    found = np.array([gains.get(item, 0.0) for item in candidates])
    return Case(case.id, candidates, found, history=case.history, shopper=case.shopper, ts=case.ts)
