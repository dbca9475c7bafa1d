"""What comes of a shelf that is seen: how far down people look, what they click, read, add to the cart and buy.

Pure: the position-based model (a place in, a probability of being looked at out), and the events of one visit. Knows
nothing of why a thing is liked, or of where events go.
"""

from typing import Any

from streams.events.schema import AnyEvent, Cart, Click, Impression, Item, Purchase, Read, Search, Shown
from streams.events.shelf import Shelf

PAGE = 10
"""Items of a shelf that fit on the screen."""

SEVERITY = 0.6

EXAMINED: tuple[float, ...] = tuple((place + 1) ** -SEVERITY for place in range(PAGE))
"""Probability that a place is looked at, from the top of the screen down."""


def total(places: int) -> float:
    """Expected number of places looked at, of the first so many.

    Examples
    --------
    >>> total(1), round(total(PAGE), 2)
    (1.0, 4.45)
    """
    return sum(EXAMINED[:places])


SLIP, TEMPTED = 0.01, 0.4
"""Probability that a typical shopper clicks what they look at: not liked at all; liked without reserve."""

READS, CARTS, BUYS = (0.4, 0.4), (0.05, 0.15), 0.12
"""Probability to read what was clicked and to cart what was read, as base and what full liking adds; to buy it then."""

ELASTICITY = 1.5
"""A price so many times as high is paid with that many times to the power of -1.5 the probability."""


def tempted(liking: float, novelty: float, readiness: float) -> float:
    """Probability to click what one looks at; shoppers differ in readiness as if they had so many chances to.

    Examples
    --------
    >>> [round(tempted(liking, 1.0, readiness), 3) for liking, readiness in ((0, 1), (1, 1), (1, 2))]
    [0.01, 0.4, 0.64]
    """
    return 1.0 - float((1.0 - SLIP - (TEMPTED - SLIP) * liking * novelty) ** readiness)


def followed(liking: float, dearer: float) -> tuple[float, float, float]:
    """Probabilities to read what was clicked, to cart what was read, and to buy what was carted.

    Examples
    --------
    >>> [round(chance, 2) for chance in followed(liking=0.5, dearer=1.0)]
    [0.6, 0.12, 0.12]
    >>> round(followed(liking=0.5, dearer=2.0)[2], 2)
    0.04
    """
    read, cart = (base + more * liking for base, more in (READS, CARTS))
    return read, cart, min(1.0, BUYS * dearer**-ELASTICITY)


class Visit:
    """The events of one visit, as they come, 1 ms apart."""

    def __init__(self, shopper: str, session: int, number: int, now_ms: int) -> None:
        self.events: list[AnyEvent] = []
        self._shopper, self._session, self._number, self._now_ms = shopper, session, number, now_ms

    def see(self, shelf: Shelf) -> list[str]:
        """Have a shelf on screen; the items there, from the top down."""
        seen = [item.item_id for item in shelf.items[:PAGE]]
        shown = [Shown(item_id=item_id, position=place) for place, item_id in enumerate(seen)]
        self.events.append(Impression(**self._common(), shelf_id=shelf.shelf_id, surface=shelf.surface, items=shown))
        return seen

    def open(self, item: Item, shelf: Shelf, place: int, steps: int) -> None:
        """Click an item and go so many steps on: read, cart, purchase."""
        of: dict[str, Any] = {"item_id": item.item_id, "shelf_id": shelf.shelf_id, "position": place}
        for kind in (Click, Read, Cart, Purchase)[: steps + 1]:
            self.events.append(kind(**self._common(), **of, price=item.price))

    def search(self, query: str) -> None:
        """Ask for something."""
        query_id = f"q-{self._shopper}-{self._number}-{self._now_ms}"
        self.events.append(Search(**self._common(), query=query, query_id=query_id))

    def _common(self) -> dict[str, Any]:
        at = self._now_ms + len(self.events)
        return {
            "event_id": f"{self._shopper}-{self._number}-{at}",
            "ts": at,
            "user_id": self._shopper,
            "session_id": f"{self._shopper}-{self._session}",
        }
