"""Searches the vector index and the lexical index for items that match a filter, and for those only.

Either index finds the best of all items, so a filter that keeps few of them would cut away nearly everything. For few
matching items all are compared; for many, more are searched than wanted, and if still too few match, all are compared.
Knows nothing of what a filter asks for.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from streams.catalog.attributes import Matching, Slots
from streams.catalog.lexical_index import LexicalIndex
from streams.catalog.vector_index import VectorIndex

COMPARED = 8
"""How many vectors are compared in the time in which the index finds one more: ``benchmarks.filters`` measures both."""

MARGIN = 1.5
"""How many times more are searched than would give enough if matching items were spread evenly."""

NAMED = 100
"""Matching items up to which the lexical index is told which they are."""

CHUNK = 1_024
"""Vectors compared at a time, so that they stay in the processor's cache."""


def nearest(
    index: VectorIndex,
    vectors: Callable[[Slots], NDArray[np.float32]],
    queries: NDArray[np.float32],
    k: int,
    matching: Matching,
) -> list[Slots]:
    """The nearest matching slots of each query, best first: exactly, or as exactly as the index finds them.

    Parameters
    ----------
    vectors
        Looks up the vectors of slots [n], float32 [n, D]; zero where there is none.
    queries
        Finite vectors to search by, [q, D].
    k
        How many a query gets; fewer only if fewer match.
    """
    if not matching.count or not len(queries) or k < 1:
        return [np.empty(0, dtype=np.int64)] * len(queries)
    found: list[Slots] = []
    fetched = int(MARGIN * k * len(index) / matching.count) + k
    if matching.count > COMPARED * fetched:
        found = [matching.keep(slots)[:k] for slots in index.search(queries, fetched)]
    short = [place for place in range(len(queries)) if place >= len(found) or len(found[place]) < k]
    if short:
        exact = dict(zip(short, _compared(vectors, queries[short], k, matching.slots), strict=True))
        found = [exact.get(place, found[place] if found else matching.slots[:0]) for place in range(len(queries))]
    return found


def _compared(
    vectors: Callable[[Slots], NDArray[np.float32]], queries: NDArray[np.float32], k: int, slots: Slots
) -> list[Slots]:
    parts = []
    for start in range(0, len(slots), CHUNK):
        held = vectors(slots[start : start + CHUNK])
        norms = np.linalg.norm(held, axis=1)
        parts.append(np.nan_to_num((held @ queries.T) / np.maximum(norms, 1e-9)[:, None], nan=-2.0))
    cosines = np.concatenate(parts)
    found = []
    for column in cosines.T:
        rows = np.argpartition(-column, k - 1)[:k] if len(slots) > k else np.arange(len(slots))
        found.append(slots[rows[np.argsort(-column[rows], kind="stable")]])
    return found


def lexical(index: LexicalIndex, pieces: Sequence[str], k: int, matching: Matching) -> Slots:
    """The matching slots that share pieces with a query, the best BM25 first; at most ``k``."""
    if not matching.count or k < 1:
        return np.empty(0, dtype=np.int64)
    if matching.count <= NAMED:
        return matching.keep(index.search(pieces, k, matching.slots.tolist()))
    fetched = int(MARGIN * k * len(index) / matching.count) + k
    while True:
        slots = index.search(pieces, fetched)
        found = matching.keep(slots)
        if len(found) >= k or len(slots) < fetched:
            return found[:k]
        fetched *= 8
