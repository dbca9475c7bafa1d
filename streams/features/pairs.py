"""Which items were touched in one visit, and how often: what a shop's visits say of two items.

Knows places of items, times and shards; nothing of shoppers' memories, models, or of what is made of the counts.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from streams.features.items import Floats, Places, visit_weight

MOST_PAIRED = 100
"""Items of a visit that count."""

MOST_NEIGHBOURS, CUT_AT, SHARDS = 50, 100, 8
"""Neighbours of an item in each shard; a longer row is cut once it holds more than the second number. The worker's
defaults: ``state.together_items`` and ``state.shards``."""


class Rows(Protocol):
    """Of each item, others with a value."""

    def row(self, place: int) -> tuple[Places, Floats]:
        """The others' places, int64 [k], and their values, float64 [k]; empty where nothing is known."""


def summed(place: int, others: Places, counts: Floats) -> tuple[Places, Floats]:
    """The row of a product from those of its variants: others of one place are added up, its own place is left out.

    Examples
    --------
    >>> [found.tolist() for found in summed(4, np.array([7, 4, 9, 7]), np.array([1.0, 8.0, 2.0, 4.0]))]
    [[7, 9], [5.0, 2.0]]
    """
    found, at = np.unique(others, return_inverse=True)
    kept = found != place
    return found[kept], np.bincount(at, counts, len(found))[kept]


class Pairs:
    """How often two items were touched in one visit, forward-decayed; each visit adds to all pairs of its items.

    Exact until a row is cut: it then keeps the pairs of the highest cosine. A raw count would keep what is popular.
    Each shard has rows of its own, as in Redis, and an item's row is their sum.

    Parameters
    ----------
    most, cut_at
        Neighbours that a shard's row keeps when it is cut, and the length beyond which it is.

    Examples
    --------
    >>> pairs = Pairs()
    >>> for shard in (0, 3):
    ...     pairs.add(np.array([4, 7]), 1_577_836_800_000, shard=shard)
    >>> [found.tolist() for found in pairs.row(4)]
    [[7], [2.0]]
    """

    def __init__(self, most: int = MOST_NEIGHBOURS, cut_at: int = CUT_AT) -> None:
        self._most, self._cut_at = most, cut_at
        self._rows: dict[int, dict[int, dict[int, float]]] = {}
        self._visits: dict[int, dict[int, float]] = {}

    def add(self, places: Places, ts: int, before: Sequence[int] = (), shard: int = 0) -> None:
        """Pair distinct items of a visit at a time (ms) with each other, and with those that were in it before."""
        weight, visits = visit_weight(ts), self._visits.setdefault(shard, {})
        new, known = places.tolist(), list(before)
        for one in new:
            visits[one] = visits.get(one, 0.0) + weight
            for other in known:
                for a, b in ((one, other), (other, one)):
                    rows = self._rows.setdefault(a, {})
                    row = rows.setdefault(shard, {})
                    row[b] = row.get(b, 0.0) + weight
                    if len(row) > self._cut_at:
                        rows[shard] = self._cut(row, visits)
            known.append(one)

    def row(self, place: int) -> tuple[Places, Floats]:
        """An item's neighbours and their forward-decayed counts."""
        sums: dict[int, float] = {}
        for row in self._rows.get(place, {}).values():
            for other, count in row.items():
                sums[other] = sums.get(other, 0.0) + count
        return np.fromiter(sums, np.int64, len(sums)), np.fromiter(sums.values(), np.float64, len(sums))

    def _cut(self, row: dict[int, float], visits: Mapping[int, float]) -> dict[int, float]:
        def order(other: int) -> tuple[float, int]:
            return -row[other] / math.sqrt(max(row[other], visits[other])), other

        return {other: row[other] for other in sorted(row, key=order)[: self._most]}

    def stored(self) -> list[int]:
        """The length of each shard's rows."""
        return [len(row) for rows in self._rows.values() for row in rows.values()]
