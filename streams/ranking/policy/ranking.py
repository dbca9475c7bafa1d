"""A ranking: candidates, best first, with the score, sources and propensity of each place.

Knows nothing of the rules that reorder it.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Slots = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Ranking:
    """Candidates in the order in which they would be shown; all arrays are aligned, [n].

    Attributes
    ----------
    slots
        The catalogue's row numbers, distinct.
    scores
        Utilities. Descending at first; a step that reorders places keeps each item's score, but ``fatigue`` lowers it.
    reasons
        Masks of sources, see :mod:`streams.ranking.candidates`.
    propensities
        Probability that this item is at this place, under the policy that made the ranking.
    front
        How many places, from the first, hold items that no rule has moved back. A step may reorder these among
        themselves; the items behind them only fill a shelf that would otherwise be short.
    """

    slots: Slots
    scores: Floats
    reasons: NDArray[np.uint16]
    propensities: Floats
    front: int

    @classmethod
    def of(cls, slots: Slots, scores: NDArray[np.floating], reasons: NDArray[np.uint16]) -> Self:
        """Rank candidates by score, best first. Equal scores keep their order; scores that are not finite are left out.

        Examples
        --------
        >>> Ranking.of(np.array([4, 5, 6]), np.array([0.1, np.nan, 0.3]), np.zeros(3, np.uint16)).slots.tolist()
        [6, 4]
        """
        order = np.argsort(-scores, kind="stable")
        finite = np.isfinite(scores)
        if not finite.all():
            order = order[finite[order]]
        places = len(order)
        return cls(
            slots[order], scores[order].astype(np.float32), reasons[order], np.ones(places, dtype=np.float32), places
        )

    def keep(self, mask: NDArray[np.bool_]) -> Self:
        """Remove the places where the mask is false."""
        if mask.all():
            return self
        return self.reorder(np.flatnonzero(mask), int(np.count_nonzero(mask[: self.front])))

    def reorder(self, order: NDArray[np.intp], front: int | None = None) -> Self:
        """The places named by ``order``, in that order; ``front`` as before unless given."""
        return type(self)(
            self.slots[order],
            self.scores[order],
            self.reasons[order],
            self.propensities[order],
            self.front if front is None else front,
        )

    def head(self, length: int) -> Self:
        """The first places."""
        return self.reorder(np.arange(min(length, len(self))), min(self.front, length))

    def __len__(self) -> int:
        return len(self.slots)
