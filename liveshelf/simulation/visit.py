"""What a shopper does with a shelf: how far down they look, and what they click, read, add to the cart and buy.

Pure: the position-based model (the probability that a position is looked at), and the events of one visit. Knows
nothing of why an item is liked, or of where events go.
"""

from typing import Any

from streams.events.schema import AnyEvent, Cart, Click, Impression, Item, Purchase, Read, Search, Shown
from streams.events.shelf import Shelf

PAGE = 10
"""The number of items that fit on the screen."""

SEVERITY = 0.6

EXAMINED: tuple[float, ...] = tuple((place + 1) ** -SEVERITY for place in range(PAGE))
"""The probability that a position is looked at, from the top of the screen down."""


def total(places: int) -> float:
    """The expected number of positions looked at, of the first ``places``.

    Examples
    --------
    >>> total(1), round(total(PAGE), 2)
    (1.0, 4.45)
    """
    return sum(EXAMINED[:places])


SLIP, TEMPTED = 0.01, 0.4
"""The probabilities that a typical shopper clicks what they look at, for liking 0 and for liking 1."""

READS, CARTS, BUYS = (0.4, 0.4), (0.05, 0.15), 0.12
"""The probabilities to read after a click and to cart after reading, as a base and what liking 1 adds; and to buy
after carting."""

ELASTICITY = 1.5
"""A price times x lowers the probability to buy by the factor x ** -1.5."""


def tempted(liking: float, novelty: float, readiness: float) -> float:
    """The probability to click what one looks at; a readiness of n is like n independent chances to click.

    Examples
    --------
    >>> [round(tempted(liking, 1.0, readiness), 3) for liking, readiness in ((0, 1), (1, 1), (1, 2))]
    [0.01, 0.4, 0.64]
    """
    return 1.0 - float((1.0 - SLIP - (TEMPTED - SLIP) * liking * novelty) ** readiness)


def followed(liking: float, dearer: float, eager: float = 1.0) -> tuple[float, float, float]:
    """The probabilities to read after a click, to cart after reading, and to buy after carting.

    ``eager`` is a factor on the last two.

    Examples
    --------
    >>> [round(chance, 2) for chance in followed(liking=0.5, dearer=1.0)]
    [0.6, 0.12, 0.12]
    >>> round(followed(liking=0.5, dearer=2.0)[2], 2)
    0.04
    """
    read, cart = (base + more * liking for base, more in (READS, CARTS))
    return read, min(1.0, eager * cart), min(1.0, eager * BUYS * dearer**-ELASTICITY)


class Visit:
    """The events of one visit, in order, 1 ms apart."""

    def __init__(self, shopper: str, session: int, number: int, now_ms: int) -> None:
        self.events: list[AnyEvent] = []
        self._shopper, self._session, self._number, self._now_ms = shopper, session, number, now_ms

    def see(self, shelf: Shelf) -> list[str]:
        """See a shelf; returns the items on screen, from the top down."""
        seen = [item.item_id for item in shelf.items[:PAGE]]
        shown = [Shown(item_id=item_id, position=place) for place, item_id in enumerate(seen)]
        self.events.append(Impression(**self._common(), shelf_id=shelf.shelf_id, surface=shelf.surface, items=shown))
        return seen

    def open(self, item: Item, shelf: Shelf, place: int, steps: int) -> None:
        """Click an item, and then make ``steps`` more steps: read, cart, purchase."""
        of: dict[str, Any] = {"item_id": item.item_id, "shelf_id": shelf.shelf_id, "position": place}
        for kind in (Click, Read, Cart, Purchase)[: steps + 1]:
            self.events.append(kind(**self._common(), **of, price=item.price))

    def buy(self, item: Item) -> None:
        """Buy an item without a shelf."""
        self.events.append(Purchase(**self._common(), item_id=item.item_id, price=item.price))

    def search(self, query: str) -> None:
        """Search."""
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
