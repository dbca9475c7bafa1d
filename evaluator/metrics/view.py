"""A shelf that a shopper saw: its closed impressions together, and what was known when it was made.

Pure values; what is measured, watched and labelled is measured, watched and labelled view by view.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from evaluator.metrics.impression import Closed


class Chances(NamedTuple):
    """What the model said of an item: its utility, and the probabilities that it would be bought and looked at."""

    score: float
    buy: float
    look: float


@dataclass(frozen=True, slots=True)
class View:
    """Closed impressions that one shopper saw of one shelf at one moment; never empty.

    ``model``, ``arm``, ``query`` and ``made_for`` (a shopper) are empty, ``made_at`` (epoch ms) None and ``chances``
    without entries for shelves that are not ours.
    """

    closed: tuple[Closed, ...]
    model: str = ""
    arm: str = ""
    query: str = ""
    made_at: int | None = None
    chances: Mapping[str, Chances] = field(default_factory=dict)
    made_for: str = ""

    @property
    def shopper(self) -> str:
        """Who saw it."""
        return self.closed[0].shopper

    @property
    def surface(self) -> str:
        """Where it was seen."""
        return self.closed[0].surface

    @property
    def ts(self) -> int:
        """When it was seen, epoch ms."""
        return self.closed[0].ts
