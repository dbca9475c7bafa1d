"""Finds the nearest items to a vector, in an index that can change while it serves.

Keeps slots (the catalogue's row numbers) and pooled vectors in one HNSW graph of usearch. Knows nothing of items, of
where vectors come from, or of what the neighbours are for.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from usearch.index import Index

Slots = NDArray[np.int64]

_EXPANSION = 128


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
        self._index = Index(ndim=dim, metric="cos", dtype="i8", expansion_search=_EXPANSION)

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
        if rows:
            self._index.add(keys[rows], vectors[rows], threads=self._threads)

    def drop(self, slot: int) -> None:
        """Remove a slot; a slot that is not there is no error."""
        if slot in self._index:
            self._index.remove(slot)

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
            For each query an int64 array of at most ``k`` distinct slots.
        """
        vectors = np.asarray(queries, dtype=np.float32)
        nothing = np.empty(0, dtype=np.int64)
        if not len(self._index) or not len(vectors) or k < 1:
            return [nothing] * len(vectors)
        directed = _directed(vectors)
        if not directed.all():
            vectors = np.where(directed[:, None], vectors, np.float32(1))
        found = self._index.search(vectors, min(k, len(self._index)), threads=self._threads)
        # One query comes back without the axis of queries, and without counts.
        keys = np.atleast_2d(found.keys).astype(np.int64)
        counts = np.full(1, keys.shape[1]) if len(vectors) == 1 else found.counts
        return [
            row[:count] if known else nothing for row, count, known in zip(keys, counts.tolist(), directed, strict=True)
        ]

    def __len__(self) -> int:
        return len(self._index)

    @property
    def nbytes(self) -> int:
        """Memory the index has taken, in bytes."""
        return int(self._index.memory_usage)


def _directed(vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether each vector has a direction: it is finite and not zero, bool [n]."""
    norms = np.linalg.norm(vectors, axis=1)
    directed: NDArray[np.bool_] = np.isfinite(norms) & (norms > 0)
    return directed
