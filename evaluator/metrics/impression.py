"""An impression of one item and what it led to, once its window is over; and a shelf's impressions together, as a view.

Values that all measuring begins with. Knows shapes only; ``attribution`` decides which outcome belongs to which
impression.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from models.intents import INTENT_OF, STRENGTH

MOST_REVENUE = 1e21
"""The largest price times the largest quantity that an event may have."""


class JoinEvent(NamedTuple):
    """An item was shown (``kind`` is empty), or something was done to it. In order of time; at one moment what was
    shown comes before what was done. Facts of one ``kind`` and ``event_id`` are the same one, told again."""

    ts: int
    kind: str
    event_id: str
    shelf_id: str = ""
    surface: str = ""
    position: int = 0
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class AttributedImpression:
    """An impression of one item whose window is over: nothing that comes can change it.

    ``position`` and ``ts`` (ms) are those of the first sighting; ``outcomes`` is what was done within the window, in
    order of time, each ``event_id`` once.
    """

    shopper: str
    item_id: str
    shelf_id: str
    surface: str
    position: int
    ts: int
    outcomes: tuple[JoinEvent, ...] = ()

    @property
    def intent(self) -> str:
        """The strongest outcome as an intent: buy over read over look; ``ignore`` where there is none."""
        kind = max((outcome.kind for outcome in self.outcomes), key=STRENGTH.__getitem__, default="")
        return INTENT_OF.get(kind, "ignore")

    @property
    def revenue(self) -> float:
        """What was bought for, in the shop's currency; never so much that its square could not be summed up."""
        return min(sum(outcome.value for outcome in self.outcomes if outcome.kind == "purchase"), MOST_REVENUE)


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

    closed: tuple[AttributedImpression, ...]
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
