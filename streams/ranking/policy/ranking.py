"""The rankings of a batch: of each shelf its candidates, best first, with what is known of each place.

Knows nothing of the rules that reorder them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Slots = NDArray[np.int64]
Numbers = NDArray[np.int64]


class Ranking(NamedTuple):
    """One shelf's part of :class:`Rankings`; arrays [k]."""

    slots: Slots
    scores: Floats
    reasons: NDArray[np.uint16]
    propensities: Floats
    rows: Numbers


@dataclass(frozen=True, slots=True)
class Rankings:
    """Candidates in the order in which they would be shown, one shelf's after the other's; aligned arrays, [n].

    Attributes
    ----------
    shelves
        The number of each place's shelf, ascending.
    rows
        Which of its shelf's candidates stands at each place.
    slots
        The catalogue's row numbers, distinct within a shelf.
    scores
        Utilities. Descending at first; a step that reorders places keeps each item's score, but ``fatigue`` lowers it.
    reasons
        Masks of sources, see :mod:`streams.ranking.candidates`.
    propensities
        Probability that this item is at this place, under the policy that made the ranking.
    fronts
        int64 [shelves]: how many places of each, from the first, hold items that no rule has moved back. A step may
        reorder these among themselves; the items behind them only fill a shelf that would otherwise be short.
    """

    shelves: Numbers
    rows: Numbers
    slots: Slots
    scores: Floats
    reasons: NDArray[np.uint16]
    propensities: Floats
    fronts: Numbers

    @classmethod
    def of(
        cls, sizes: Sequence[int], slots: Slots, scores: NDArray[np.floating], reasons: NDArray[np.uint16]
    ) -> "Rankings":
        """Rank the candidates of shelves, so many of each, by score, best first. Equal scores keep their order; scores
        that are not finite are left out.

        Examples
        --------
        >>> scores = np.array([0.1, np.nan, 0.3, 0.2])
        >>> found = Rankings.of([3, 1], np.array([4, 5, 6, 4]), scores, np.zeros(4, np.uint16))
        >>> found.slots.tolist(), found.shelves.tolist(), found.rows.tolist(), found.fronts.tolist()
        ([6, 4, 4], [0, 0, 1], [2, 0, 0], [2, 1])
        """
        counts = np.array(sizes, np.int64)
        shelves = np.repeat(np.arange(len(counts)), counts)
        order = np.lexsort((-scores, shelves))
        finite = np.isfinite(scores)
        if not finite.all():
            order = order[finite[order]]
        shelves, starts = shelves[order], np.cumsum(counts) - counts
        return cls(
            shelves,
            order - starts[shelves],
            slots[order],
            scores[order].astype(np.float32),
            reasons[order],
            np.ones(len(order), np.float32),
            np.bincount(shelves, minlength=len(counts)),
        )

    @property
    def starts(self) -> Numbers:
        """Where each shelf begins, and where the last one ends, int64 [shelves + 1]."""
        return np.searchsorted(self.shelves, np.arange(len(self.fronts) + 1))

    @property
    def places(self) -> Numbers:
        """The place on its shelf, from 0."""
        return np.arange(len(self.shelves)) - self.starts[self.shelves]

    @property
    def in_front(self) -> NDArray[np.bool_]:
        """Whether each place is one of its shelf's front."""
        found: NDArray[np.bool_] = self.places < self.fronts[self.shelves]
        return found

    def keep(self, mask: NDArray[np.bool_]) -> "Rankings":
        """Remove the places where the mask is false."""
        if mask.all():
            return self
        fronts = np.bincount(self.shelves[mask & self.in_front], minlength=len(self.fronts))
        return self.reorder(np.flatnonzero(mask), fronts)

    def reorder(self, order: Numbers, fronts: Numbers | None = None) -> "Rankings":
        """The places named by ``order``, in that order, which leaves each in its shelf; ``fronts`` as before unless
        given."""
        return Rankings(
            self.shelves[order],
            self.rows[order],
            self.slots[order],
            self.scores[order],
            self.reasons[order],
            self.propensities[order],
            self.fronts if fronts is None else fronts,
        )

    def head(self, length: int) -> "Rankings":
        """The first places of each shelf."""
        kept = self.places < length
        return self if kept.all() else self.reorder(np.flatnonzero(kept), np.minimum(self.fronts, length))

    def __len__(self) -> int:
        """The number of shelves."""
        return len(self.fronts)

    def shelf(self, number: int) -> Ranking:
        """One shelf's part; views."""
        begin, end = np.searchsorted(self.shelves, [number, number + 1]).tolist()
        part = np.s_[begin:end]
        return Ranking(
            self.slots[part], self.scores[part], self.reasons[part], self.propensities[part], self.rows[part]
        )
