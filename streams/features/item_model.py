"""A linear item-to-item model as a worker applies it, and which of a shopper's items gives most to another one.

Knows places and weights; nothing of how the weights are learned, nor of files.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.features.items import Floats, Places
from streams.features.own import Index

Reals = npt.NDArray[np.float32]

LINEAR_OWN = 100
"""So many of a shopper's newest items are looked up in the linear model."""


class ItemModel:
    """A linear item-to-item model, such as EASE: of each item the weights it gives to others.

    Parameters
    ----------
    places
        int64 [n], distinct: of which item each row is.
    rows, weights
        int64 and float32 [n, k]: rows of others, and their weights; those of zero count for nothing.
    """

    def __init__(self, places: Places, rows: Places, weights: Reals) -> None:
        self.places, self.rows, self.weights = places, rows, weights
        self._row = np.full(int(places.max(initial=-1)) + 1, -1)
        self._row[places] = np.arange(len(places))

    @classmethod
    def of(cls, places: Places, slots: npt.NDArray[np.int32], weights: npt.NDArray[np.floating]) -> "ItemModel":
        """From numbers of rows, int32 [n, k], -1 where there is none, and their weights [n, k].

        Rows of one place, such as those of variants in a model that was learned before they were, become one: what they
        are given is added up, and the one that gives most speaks for all. The place itself is given nothing.

        Examples
        --------
        >>> slots = np.array([[1], [-1]], np.int32)
        >>> model = ItemModel.of(np.array([4, 7]), slots, np.array([[2.0], [0]]))
        >>> model.at(model.sums(np.array([4]), np.ones((1, 1))), np.array([7, 4, 9])).tolist()
        [[2.0, 0.0, 0.0]]
        """
        rows = np.maximum(slots, 0).astype(np.int64)
        weights = np.where(slots >= 0, weights, 0).astype(np.float32)
        distinct, at = np.unique(places, return_inverse=True)
        if len(distinct) == len(places):
            return cls(places, rows, weights)
        rows = at[rows]
        weights[rows == at[:, None]] = 0.0
        given = weights.sum(1)
        order = np.lexsort((-given, at))
        speaks = order[np.unique(at[order], return_index=True)[1]]
        return cls(distinct, rows[speaks], weights[speaks])

    @classmethod
    def cut(cls, dense: Reals, k: int) -> "ItemModel":
        """From all weights, float32 [n, n]: the k largest positive ones of each row.

        Examples
        --------
        >>> model = ItemModel.cut(np.array([[0, 2, 1], [1, 0, 0], [0, 0, 0]], np.float32), 1)
        >>> model.rows[:2].tolist(), model.weights.tolist()
        ([[1], [0]], [[2.0], [1.0], [0.0]])
        """
        k = min(k, dense.shape[1])
        rows = np.argpartition(-dense, k - 1, axis=1)[:, :k]
        return cls(np.arange(len(dense)), rows, np.maximum(np.take_along_axis(dense, rows, 1), 0))

    def find(self, places: Places) -> Places:
        """The rows of items, int64 [m]; -1 where an item has none."""
        if not len(self._row):
            return np.full(len(places), -1)
        inside = np.minimum(places, len(self._row) - 1)
        return np.where(inside == places, self._row[inside], -1)

    def sums(self, places: Places, weightings: Floats) -> Floats:
        """Of each row the weight that some items give it; once for each weighting of these.

        Parameters
        ----------
        places, weightings
            int64 [m] and float64 [w, m].

        Returns
        -------
        float64 [w, n]
        """
        mine = self.find(places)
        mine, weightings = mine[mine >= 0], weightings[:, mine >= 0]
        if not mine.size:
            return np.zeros((len(weightings), len(self.places)))
        flat, weights = self.rows[mine].ravel(), self.weights[mine]
        return np.stack([np.bincount(flat, (one[:, None] * weights).ravel(), len(self.places)) for one in weightings])

    def at(self, sums: Floats, places: Places) -> Floats:
        """Those sums [w, n] that are of some items, float64 [w, m]; zero for an item that has no row."""
        rows = self.find(places)
        found: Floats = sums[:, rows] if sums.shape[1] else np.zeros((len(sums), len(rows)))
        found[:, rows < 0] = 0.0
        return found

    def given(self, places: Places, other: int) -> Floats:
        """The weight that each of some items gives to another one, float64 [m]."""
        [row], rows = self.find(np.array([other])), self.find(places)
        if row < 0:
            return np.zeros(len(places))
        found: Floats = np.where(self.rows[rows] == row, self.weights[rows], 0.0).sum(1)
        found[rows < 0] = 0.0
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Anchors:
    """What says which of a shopper's own items gives most to another one.

    Attributes
    ----------
    own, since
        int64 [m] and float64 [m]: places of the shopper's items, the one touched last first, and days since.
    others, number, worth
        int64 [p], int64 [p] and float64 [p]: of each pair of items touched together the other item, the number of the
        shopper's own one, and the pair's value in ``together_most``.
    model
        An item-to-item model, if there is one.
    """

    own: Places
    since: Floats
    others: Places
    number: Places
    worth: Floats
    model: ItemModel | None

    def of(self, places: Places) -> Places:
        """Of each of some distinct items the shopper's own item, by place, that gives most to it: of those it was
        touched together with, or else by the item-to-item model; int64 [k], -1 where none does."""
        found = np.full(len(places), -1)
        at = Index(places).find(self.others)
        hit = np.flatnonzero(at >= 0)
        rising = hit[np.lexsort((-self.number[hit], self.worth[hit]))]
        found[at[rising]] = self.own[self.number[rising]]  # the last one, of the highest worth, stays
        if self.model is not None:
            mine, weights = self.own[:LINEAR_OWN], recent(self.since[:LINEAR_OWN])
            for row in np.flatnonzero(found < 0).tolist():
                given = self.model.given(mine, int(places[row])) * weights
                if given.any():
                    found[row] = mine[given.argmax()]
        return found


def recent(days: Floats) -> Floats:
    """How much a shopper's items that were touched so many days ago count in ``linear_week``."""
    found: Floats = 0.2 + np.exp2(-days / 7)
    return found
