"""A linear model from item to item: of each item the items that its buyers bought most beyond chance.

It is EASE (Steck 2019), of which the largest weights of each item are kept. Knows counts and files; nothing of who
bought what when.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from models.ranker.columns import Floats
from models.ranker.tensors import read_tensors
from models.weights import WeightsError

ITEMS, WEIGHTS = "items.json", "linear.safetensors"
KEPT = 200
"""Weights of an item at most."""

REGULARISATION = 200.0
NONE = -1
BLOCK = 256
"""Rows that are worked on at once."""


@dataclass(frozen=True, slots=True, eq=False)
class ItemWeights:
    """Of each item its largest weights, the largest first.

    Attributes
    ----------
    ids
        Of the items; a slot is a place in it.
    slots, weights
        int32 and float16 [n, k]: row i has the items that item i speaks for; -1 and 0 where there are fewer.

    Examples
    --------
    >>> weights = np.array([[0, 0.5, 0.25], [0.5, 0, 0], [1, 0, 0]], np.float32)
    >>> found = ItemWeights.of(("cup", "lamp", "rug"), weights, kept=1)
    >>> found.slots.tolist(), found.weights.tolist()
    ([[1], [0], [0]], [[0.5], [0.5], [1.0]])
    >>> found.dense()[0].tolist()
    [0.0, 0.5, 0.0]
    """

    ids: tuple[str, ...]
    slots: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float16]

    @classmethod
    def of(cls, ids: tuple[str, ...], dense: Floats, kept: int = KEPT) -> "ItemWeights":
        """The largest weights above zero of float32 [n, n]; of equal ones those of the lowest slots."""
        count = min(kept, len(ids))
        slots = np.zeros((len(ids), count), np.int32)
        for start in range(0, len(ids), 256):  # whole rows of places would take twice the memory of the weights
            slots[start : start + 256] = np.argsort(-dense[start : start + 256], axis=1, kind="stable")[:, :count]
        weights = np.take_along_axis(dense, slots.astype(np.int64), 1).astype(np.float16)
        weights[weights <= 0] = 0
        return cls(ids, np.where(weights > 0, slots, np.int32(NONE)), weights)

    def dense(self) -> Floats:
        """As float32 [n, n], zero where no weight is kept."""
        found = np.zeros((len(self.ids), len(self.ids)), np.float32)
        rows, columns = np.nonzero(self.slots >= 0)
        found[rows, self.slots[rows, columns]] = self.weights[rows, columns]
        return found

    def save(self, folder: Path) -> None:
        """Write ``items.json`` and ``linear.safetensors``."""
        from safetensors.numpy import save_file

        (folder / ITEMS).write_text(json.dumps(self.ids, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
        save_file({"slots": self.slots, "weights": self.weights}, folder / WEIGHTS)

    @classmethod
    def load(cls, folder: Path) -> "ItemWeights | None":
        """What a folder holds; None where it has none.

        Raises
        ------
        WeightsError
            When one of the two files is missing or damaged, or they do not fit each other.
        """
        if not (folder / ITEMS).exists() and not (folder / WEIGHTS).exists():
            return None
        try:
            ids = msgspec.json.decode((folder / ITEMS).read_bytes(), type=tuple[str, ...])
        except (OSError, msgspec.DecodeError) as error:
            raise WeightsError(f"{folder / ITEMS} is no list of items: {error}") from error
        if len(set(ids)) != len(ids):
            raise WeightsError(f"{folder / ITEMS} names an item twice")
        found = read_tensors(folder / WEIGHTS, {"slots": (len(ids), None), "weights": (len(ids), None)})
        slots, weights = found["slots"], found["weights"]
        if slots.shape != weights.shape or slots.dtype != np.int32 or weights.dtype != np.float16:
            raise WeightsError(f"{folder / WEIGHTS} has slots and weights that do not fit each other")
        if slots.size and (slots.min() < NONE or slots.max() >= len(ids)):
            raise WeightsError(f"{folder / WEIGHTS} has slots of items that {ITEMS} does not have")
        return cls(ids, slots, weights)


def ease(bought: Any, regularisation: float = REGULARISATION) -> Floats:
    """EASE in closed form: float32 [n, n], row i the weights of all items given item i, zero to itself.

    ``P`` is the inverse of the regularised Gram matrix, the weights are ``-P / diag(P)``. All is done in place, so it
    takes one matrix of float64 [n, n], and the weights lie in its first half.

    Parameters
    ----------
    bought
        A sparse matrix of zeros and ones [shoppers, n], scipy's CSR.

    Examples
    --------
    >>> from scipy.sparse import csr_matrix
    >>> bought = csr_matrix(np.array([[1.0, 1, 0], [1, 1, 0], [0, 1, 1]]))
    >>> (ease(bought, 1.0) * 100).round().astype(int).tolist()
    [[0, 67, -25], [57, 0, 38], [-29, 50, 0]]
    """
    from scipy.linalg.lapack import dpotrf, dpotri

    count = bought.shape[1]
    inverse = np.empty((count, count))
    for start in range(0, count, BLOCK):
        inverse[start : start + BLOCK] = (bought[:, start : start + BLOCK].T @ bought).toarray()
    inverse[np.diag_indices(count)] += regularisation
    if count:  # by columns, as LAPACK reads it, the matrix is its own transpose
        inverse = dpotri(dpotrf(inverse.T, overwrite_a=True)[0], overwrite_c=True)[0].T
    diagonal = np.diag(inverse).copy()
    for start in range(0, count, BLOCK):  # LAPACK fills what is left of the diagonal
        end = min(count, start + BLOCK)
        corner = np.tril(inverse[start:end, start:end])
        inverse[start:end, start:end] = corner + np.tril(corner, -1).T
        inverse[start:end, end:] = inverse[end:, start:end].T
    weights: Floats = inverse.reshape(-1).view(np.float32)[: count * count].reshape(count, count)
    for row in range(count):  # a row's place is in rows that were read before
        weights[row] = -inverse[row] / diagonal
    np.fill_diagonal(weights, 0)
    return weights
