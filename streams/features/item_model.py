"""A linear item-to-item model as a worker applies it, and which of a shopper's items gives most to another one.

Knows places and weights; nothing of how the weights are learned, nor of files.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streams.features.items import Floats, Places
from streams.features.own import located, numbered

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
        >>> sums = model.sums(np.array([0, 1]), np.array([4]), np.ones((1, 1)))
        >>> model.at(sums, np.array([0, 3]), np.array([7, 4, 9])).tolist()
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

    def sums(self, starts: Places, places: Places, weightings: Floats) -> "Sums":
        """Of each row the weight that some items of each of several shoppers give it; once for each weighting of these.

        Parameters
        ----------
        starts, places, weightings
            Where the items of each shopper start, int64 [b + 1]; the items, int64 [m]; and float64 [w, m].
        """
        mine = self.find(places)
        owner = np.repeat(np.arange(len(starts) - 1), np.diff(starts))[mine >= 0]
        mine, weightings = mine[mine >= 0], weightings[:, mine >= 0]
        width = self.rows.shape[1]
        begins = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(starts) - 1))]) * width
        rows, weights = self.rows[mine].ravel(), self.weights[mine]
        found, firsts, of = numbered(begins, rows, len(self.places))
        values = [np.bincount(of, (one[:, None] * weights).ravel(), len(firsts)) for one in weightings]
        return Sums(found, rows[firsts], np.stack(values))

    def at(self, sums: "Sums", starts: Places, places: Places) -> Floats:
        """Those sums that are of some items, each shopper's from its start on, float64 [w, m]; zero for an item that
        has no row, or is given nothing."""
        return sums.at(starts, self.find(places), len(self.places))

    def given(self, places: Places, other: int) -> Floats:
        """The weight that each of some items gives to another one, float64 [m]."""
        [row], rows = self.find(np.array([other])), self.find(places)
        if row < 0:
            return np.zeros(len(places))
        found: Floats = np.where(self.rows[rows] == row, self.weights[rows], 0.0).sum(1)
        found[rows < 0] = 0.0
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """What other items are given by those of several shoppers.

    Attributes
    ----------
    starts, others, values
        Where each shopper's begin, int64 [b + 1]; the others, int64 [u], distinct for each shopper; and what each is
        given, float64 [w, u].
    """

    starts: Places
    others: Places
    values: Floats

    def of(self, number: int) -> tuple[Places, Floats]:
        """The others of a shopper, and what each is given."""
        mine = slice(self.starts[number], self.starts[number + 1])
        return self.others[mine], self.values[:, mine]

    def find(self, starts: Places, others: Places, room: int) -> Places:
        """Where others are that are all below ``room``, each shopper's from its start on; -1 where one is given
        nothing."""
        return located(self.starts, self.others, starts, others, room)

    def at(self, starts: Places, others: Places, room: int) -> Floats:
        """What these are given, float64 [w, n]; zero where it is nothing."""
        at = self.find(starts, others, room)
        found, given = np.zeros((len(self.values), len(others))), np.flatnonzero(at >= 0)
        found[:, given] = self.values[:, at[given]]
        return found


def recent(days: Floats) -> Floats:
    """How much a shopper's items that were touched so many days ago count in ``linear_week``."""
    found: Floats = 0.2 + np.exp2(-days / 7)
    return found
