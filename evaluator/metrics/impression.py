"""An attributed impression: one item and its outcomes, once its window is over; a view is a shelf's impressions.

The values that all metrics take. Knows shapes only; ``attribution`` decides which outcome belongs to which impression.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from models.intents import INTENT_OF, STRENGTH

MOST_REVENUE = 1e21
"""The largest price times the largest quantity that an event may have."""


class JoinEvent(NamedTuple):
    """A join event: an item was shown (``kind`` is empty), or a shopper acted on it. Sorted by time; at one time
    impressions come before outcomes. Events with the same ``kind`` and ``event_id`` are duplicates."""

    ts: int
    kind: str
    event_id: str
    shelf_id: str = ""
    surface: str = ""
    position: int = 0
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class AttributedImpression:
    """An attributed impression of one item: its window is over, so later events cannot change it.

    ``position`` and ``ts`` (ms) are those of the first time it was seen; ``outcomes`` are those within the window,
    sorted by time, each ``event_id`` once.
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
        """Revenue of the purchases, in the shop's currency; bounded, so that sums of its square do not overflow."""
        return min(sum(outcome.value for outcome in self.outcomes if outcome.kind == "purchase"), MOST_REVENUE)


class Chances(NamedTuple):
    """The model's prediction for an item: its utility, and the probabilities of a purchase, a look and a read."""

    score: float
    buy: float
    look: float
    read: float = 0.0

    @property
    def touch(self) -> float:
        """The probability of anything but ``ignore``."""
        return self.buy + self.look + self.read


@dataclass(frozen=True, slots=True)
class View:
    """Attributed impressions that one shopper saw of one shelf at one moment; never empty.

    ``model``, ``arm``, ``query`` and ``made_for`` (a shopper) are empty, ``made_at`` (epoch ms) None and ``chances``
    without entries for shelves that are not ours.
    """

    impressions: tuple[AttributedImpression, ...]
    model: str = ""
    arm: str = ""
    query: str = ""
    made_at: int | None = None
    chances: Mapping[str, Chances] = field(default_factory=dict)
    made_for: str = ""

    @property
    def shopper(self) -> str:
        """Who saw it."""
        return self.impressions[0].shopper

    @property
    def surface(self) -> str:
        """Where it was seen."""
        return self.impressions[0].surface

    @property
    def ts(self) -> int:
        """When it was seen, epoch ms."""
        return self.impressions[0].ts
