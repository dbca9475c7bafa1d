"""What every step of the policy is and may know.

Knows no particular step.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from streams.ranking.policy.ranking import Ranking, Slots


@dataclass(frozen=True, slots=True)
class PolicyContext:
    """What steps may ask about a shelf's candidates. Look-ups take slots [n] and are called only by steps in use.

    Attributes
    ----------
    in_stock
        Whether each can be sold, bool [n].
    brands
        Brand number of each, int32 [n]; -1 where there is none.
    vectors
        Unit vectors, [n, D].
    bought
        Slots the shopper has bought.
    seed
        Where chance comes from; made from the shelf's id, so that a replay makes the same shelf.
    length
        Places on the shelf.
    """

    in_stock: Callable[[Slots], NDArray[np.bool_]]
    brands: Callable[[Slots], NDArray[np.int32]]
    vectors: Callable[[Slots], NDArray[Any]]
    bought: frozenset[int]
    seed: int
    length: int


class Step(Protocol):
    """A rule: takes a ranking and gives one with some of its items, in some order. Same input, same output."""

    def apply(self, ranking: Ranking, context: PolicyContext) -> Ranking:
        """Apply the rule."""
        ...
