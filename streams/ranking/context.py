"""Context: what a shelf is ranked for. An encoded query, a shopper's past as weighted vectors, or a single item.

Pure: knows the catalogue and the encoder, nothing of where a shopper's past is stored.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from models.encoded import EncodedQuery
from models.encoder import Encoder
from models.intents import QUERY_WEIGHT, TOUCH_WEIGHTS
from models.words import Words
from streams.catalog.catalog import Catalog
from streams.config import WorkerConfig
from streams.features.shopper import Shopper

MOST_PIECES = 64
"""The most word pieces of a query that the lexical index searches for; a typical query has a dozen."""


class ReadQuery(NamedTuple):
    """A query as it was read: encoded, its word pieces for the lexical index, and its words."""

    encoded: EncodedQuery
    pieces: tuple[str, ...]
    words: Words


class Queries:
    """A cache of encoded queries, least recently used first out: a query is encoded once for all its shelves."""

    def __init__(self, encoder: Encoder, capacity: int = 10_000) -> None:
        self.encoder = encoder
        self.capacity = capacity
        self._kept: OrderedDict[str, ReadQuery] = OrderedDict()

    def update(self, queries: Iterable[str]) -> int:
        """Encode the queries that are not cached, in one pass; returns how many there were."""
        new = [query for query in dict.fromkeys(queries) if query not in self._kept]
        if new:
            read, pieces = self.encoder.read_queries(new), self.encoder.word_pieces(new)
            for query, (encoded, words), split in zip(new, read, pieces, strict=True):
                self._kept[query] = ReadQuery(encoded, tuple(split[:MOST_PIECES]), words)
        return len(new)

    def get(self, query: str) -> ReadQuery:
        """A query as it was read; ``update`` must have seen it in this batch."""
        self._kept.move_to_end(query)
        return self._kept[query]

    def trim(self) -> None:
        """Remove the least recently used beyond the capacity; called between batches."""
        while len(self._kept) > self.capacity:
            self._kept.popitem(last=False)


def decay(age_ms: float, half_life_s: float) -> float:
    """Recency weight of something ``age_ms`` old.

    Examples
    --------
    >>> decay(1_800_000, half_life_s=1800)
    0.5
    """
    return float(2.0 ** (-max(age_ms, 0.0) / (half_life_s * 1000.0)))


def past_queries(shopper: Shopper, config: WorkerConfig) -> list[str]:
    """The queries of a shopper's past that a context is made of."""
    return [past.query for past in shopper.asked[: config.recent_queries]]


@dataclass(frozen=True, slots=True)
class Past:
    """The part of a shopper's past that a context is made of, newest first: distinct items, queries, and weights in
    (0, 1], first those of the items, then those of the queries."""

    items: tuple[str, ...] = ()
    queries: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()

    @classmethod
    def of(cls, shopper: Shopper, config: WorkerConfig, without: str | None = None) -> "Past":
        """The past of a shopper.

        Age counts from the shopper's newest event, not from now, so a repeated event makes the same context.

        Parameters
        ----------
        without
            A query to leave out, because the shelf is for this query.
        """
        newest, half_life = shopper.newest_ms, config.recency_half_life_s
        items: dict[str, float] = {}
        for touched in shopper.touched[: config.recent_items]:
            if touched.item_id not in items:
                items[touched.item_id] = TOUCH_WEIGHTS[touched.kind] * decay(newest - touched.time_ms, half_life)
        queries = [past for past in shopper.asked[: config.recent_queries] if past.query != without]
        query_weights = [QUERY_WEIGHT * decay(newest - past.time_ms, half_life) for past in queries]
        return cls(tuple(items), tuple(past.query for past in queries), (*items.values(), *query_weights))


def vectors(
    pasts: Sequence[Past], catalogue: Catalog, queries: Queries
) -> list[tuple[np.ndarray, np.ndarray, list[int]]]:
    """Pasts as vectors with weights; items that are not in the catalogue are left out.

    Returns
    -------
    of each past
        vectors : float32 [h, dim], unit length;
        weights : float32 [h], in (0, 1];
        places : of each vector its place in ``past.weights``.
    """
    slot = catalogue.slot
    held = [[(at, row) for row, item in enumerate(past.items) if (at := slot(item)) is not None] for past in pasts]
    sizes = [len(some) + len(past.queries) for some, past in zip(held, pasts, strict=True)]
    rows = np.empty((sum(sizes), catalogue.encoder.dim), np.float32)
    touched = np.zeros(len(rows), np.bool_)
    places: list[list[int]] = []
    end = 0
    for some, past, size in zip(held, pasts, sizes, strict=True):
        touched[end : end + len(some)] = True
        places.append([row for _, row in some] + list(range(len(past.items), len(past.weights))))
        for row, query in enumerate(past.queries, end + len(some)):
            rows[row] = queries.get(query).encoded.pooled
        end += size
    rows[touched] = catalogue.item_store.pooled(np.array([at for some in held for at, _ in some], np.int64))
    weights = np.array(
        [past.weights[place] for past, of in zip(pasts, places, strict=True) for place in of], np.float32
    )
    ends = np.cumsum(sizes).tolist()
    return [
        (rows[end - size : end], weights[end - size : end], of)
        for end, size, of in zip(ends, sizes, places, strict=True)
    ]


def centre(vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean of unit vectors, scaled to unit length; float32 [dim].

    Examples
    --------
    >>> centre(np.eye(2, dtype=np.float32), np.array([1, 0], dtype=np.float32)).tolist()
    [1.0, 0.0]
    """
    mean: np.ndarray = weights @ vectors
    return mean / max(float(np.linalg.norm(mean)), 1e-9)
