"""Finds the nearest items to a vector, in an index that can change while it serves.

Keeps slots (the catalogue's row numbers) and pooled vectors in one HNSW graph of usearch; in two, if one is a file that
several processes map: it stays as it is, and the other has what changed since. Knows nothing of items, of where vectors
come from, or of what the neighbours are for.
"""

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray
from usearch.index import Index

Slots = NDArray[np.int64]
Mask = NDArray[np.bool_]

Near = tuple[Slots, NDArray[np.float32]]
"""The slots that a search found, and their distances."""

ANSWERS_KEPT = 5_000
"""So many answers are remembered while the index does not change: shoppers' newest items, and queries, come again."""


class VectorIndex:
    """Approximate cosine search over vectors that are added, changed and removed.

    Vectors are kept as 8-bit integers: compared with 16-bit floats this halves memory and search time. Measured on
    clustered vectors, it loses none of the ten nearest among sixty (``docs/candidates.md``). Calls must come from one
    thread at a time.

    Parameters
    ----------
    dim
        Length of a vector.
    threads
        How many cores one call may use; one leaves the others to the scorer.

    Examples
    --------
    >>> index = VectorIndex(3)
    >>> index.put_many([7, 8], np.eye(3, dtype=np.float32)[:2])
    >>> [found.tolist() for found in index.search(np.float32([[0.9, 0.1, 0]]), 5)]
    [[7, 8]]
    >>> index.drop(7)
    >>> [found.tolist() for found in index.search(np.float32([[0.9, 0.1, 0]]), 5)]
    [[8]]
    """

    def __init__(self, dim: int, threads: int = 1) -> None:
        self._threads = threads
        self._index = Index(ndim=dim, metric="cos", dtype="i8")
        self._shared: Index | None = None
        self._file: Path | None = None
        self._held: Mask = np.zeros(0, np.bool_)
        self._left = 0
        self._answers: LRUCache[tuple[bytes, int], Slots] = LRUCache(ANSWERS_KEPT)

    def put(self, slot: int, vector: NDArray[np.floating]) -> None:
        """Add one vector, in place of what the slot held."""
        self.put_many([slot], np.asarray(vector)[None])

    def put_many(self, slots: Sequence[int] | Slots, matrix: NDArray[np.floating]) -> None:
        """Add vectors, each in place of what its slot held. If a slot is named twice, the last vector counts.

        A vector that is zero or not finite has no direction: its slot is empty afterwards.

        Parameters
        ----------
        slots
            Row numbers, not negative, [n].
        matrix
            Their vectors, [n, D], of any length and any float type.

        Raises
        ------
        ValueError
            When the shapes do not fit.
        """
        keys = np.asarray(slots, dtype=np.int64)
        vectors = np.asarray(matrix, dtype=np.float32)
        if vectors.shape != (len(keys), self._index.ndim):
            raise ValueError(f"{len(keys)} slots of {self._index.ndim} values each, but a matrix of {vectors.shape}")
        last = {slot: row for row, slot in enumerate(keys.tolist())}
        for slot in last:
            self.drop(slot)
        directed = _directed(vectors)
        rows = [row for row in last.values() if directed[row]]
        self._forget_answers()
        if rows:
            self._index.add(keys[rows], vectors[rows], threads=self._threads)

    def drop(self, slot: int) -> None:
        """Remove a slot; a slot that is not there is no error."""
        self._forget_answers()
        if slot in self._index:
            self._index.remove(slot)
        elif slot < len(self._held) and self._held[slot]:
            self._held[slot] = False
            self._left -= 1

    def search(self, queries: NDArray[np.floating], k: int) -> list[Slots]:
        """The nearest slots of each query, best first.

        Parameters
        ----------
        queries
            Vectors to search by, [q, D]; a query that is zero or not finite finds nothing.
        k
            At most how many slots a query gets; fewer when fewer are held.

        Returns
        -------
        list
            For each query an int64 array of at most ``k`` distinct slots, which is not to be changed.
        """
        vectors = np.asarray(queries, dtype=np.float32)
        asked = [(blake2b(vector.tobytes(), digest_size=16).digest(), k) for vector in vectors]
        new = {one: row for row, one in enumerate(asked) if one not in self._answers}
        found = {one: self._answers[one] for one in asked if one not in new}
        rows = list(new.values())
        for one, slots in zip(new, self._search(vectors[rows], k) if rows else (), strict=True):
            slots.flags.writeable = False
            found[one] = self._answers[one] = slots
        return [found[one] for one in asked]

    def _forget_answers(self) -> None:
        if self._answers:
            self._answers = LRUCache(ANSWERS_KEPT)

    def _search(self, vectors: NDArray[np.float32], k: int) -> list[Slots]:
        if not len(self) or k < 1:
            return [np.empty(0, dtype=np.int64) for _ in vectors]
        directed = _directed(vectors)
        if not directed.all():
            vectors = np.where(directed[:, None], vectors, np.float32(1))
        near = self._near(self._index, vectors, k) if len(self._index) else []
        if self._left:
            shared = self._near_shared(vectors, k)
            near = [_best(one, other, k) for one, other in zip(near, shared, strict=True)] if near else shared
        return [slots if known else slots[:0] for (slots, _), known in zip(near, directed, strict=True)]

    def _near(self, index: Index, vectors: NDArray[np.float32], k: int) -> list[Near]:
        index.expansion_search = expansion(len(index))
        found = index.search(vectors, min(k, len(index)), threads=self._threads)
        # One query comes back without the axis of queries, and without counts.
        keys, distances = np.atleast_2d(found.keys).astype(np.int64), np.atleast_2d(found.distances)
        counts = np.full(1, keys.shape[1]) if len(vectors) == 1 else found.counts
        return [(row[:count], far[:count]) for row, far, count in zip(keys, distances, counts.tolist(), strict=True)]

    def _near_shared(self, vectors: NDArray[np.float32], k: int) -> list[Near]:
        """What the file finds, without what was removed since: so many more are searched that enough are left."""
        assert self._shared is not None
        size, gone = len(self._shared), len(self._shared) - self._left
        fetched = k + (gone and 8 + 2 * k * gone // size)
        while True:
            found = [
                (slots[kept][:k], distances[kept][:k])
                for slots, distances in self._near(self._shared, vectors, fetched)
                if (kept := self._held[slots]) is not None
            ]
            if fetched >= size or all(len(slots) >= min(k, self._left) for slots, _ in found):
                return found
            fetched *= 4

    def __len__(self) -> int:
        return len(self._index) + self._left

    def save(self, path: Path, slots: int) -> Mask:
        """Write all into a file; returns which of the first ``slots`` slots are in it, bool [slots]."""
        whole = self._index
        if self._shared is not None:
            whole = _opened(self._file, view=False)
            keys = np.asarray(whole.keys, np.int64)
            for slot in keys[~self._held[keys]].tolist():
                whole.remove(slot)
            if len(self._index):
                changed = np.asarray(self._index.keys, np.int64)
                whole.add(changed, np.asarray(self._index.get(changed)), threads=1)
        whole.save(str(path))
        held = np.zeros(slots, np.bool_)
        held[np.asarray(whole.keys, np.int64)] = True
        return held

    def attach(self, path: Path, held: Mask) -> None:
        """Map a file that :meth:`save` wrote, in place of nothing; ``held`` is what it returned, and is changed.

        Raises
        ------
        ValueError
            When the file's vectors are of another length.
        """
        shared = _opened(path, view=True)
        if shared.ndim != self._index.ndim:
            raise ValueError(f"vectors of {shared.ndim} values, not {self._index.ndim}")
        self._forget_answers()
        self._shared, self._file, self._held, self._left = shared, path, held, int(held.sum())

    @property
    def nbytes(self) -> int:
        """Memory the index has taken, in bytes; without the file."""
        return int(self._index.memory_usage) + (int(self._shared.memory_usage) if self._shared is not None else 0)


def expansion(size: int) -> int:
    """How many nodes a search visits in a graph of some size: more in a larger one, so that it finds as much.

    Examples
    --------
    >>> [expansion(size) for size in (1_000, 20_000, 100_000, 1_000_000)]
    [128, 128, 244, 612]
    """
    return round(128 * float(max(1.0, size / 20_000) ** 0.4))


def _opened(path: Path | None, view: bool) -> Index:
    index = Index.restore(str(path), view=view)
    if index is None:
        raise ValueError(f"{path} is no index")
    return index


def _best(one: Near, other: Near, k: int) -> Near:
    """The ``k`` nearest of both, the nearest first."""
    slots, distances = np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1]])
    order = np.argsort(distances, kind="stable")[:k]
    return slots[order], distances[order]


def _directed(vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether each vector has a direction: it is finite and not zero, bool [n]."""
    norms = np.linalg.norm(vectors, axis=1)
    directed: NDArray[np.bool_] = np.isfinite(norms) & (norms > 0)
    return directed
