"""An impression of one item and what it led to, once its window is over: the value that all measuring begins with.

Knows shapes only; ``attribution`` decides which outcome belongs to which impression.
"""

from dataclasses import dataclass
from typing import NamedTuple

from models.intents import INTENT_OF, STRENGTH

MOST_REVENUE = 1e21
"""The largest price times the largest quantity that an event may have."""


class Fact(NamedTuple):
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
class Closed:
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
    outcomes: tuple[Fact, ...] = ()

    @property
    def intent(self) -> str:
        """The strongest outcome as an intent: buy over read over look; ``ignore`` where there is none."""
        kind = max((outcome.kind for outcome in self.outcomes), key=STRENGTH.__getitem__, default="")
        return INTENT_OF.get(kind, "ignore")

    @property
    def revenue(self) -> float:
        """What was bought for, in the shop's currency; never so much that its square could not be summed up."""
        return min(sum(outcome.value for outcome in self.outcomes if outcome.kind == "purchase"), MOST_REVENUE)
