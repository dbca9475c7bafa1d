"""What a shop's visitors do in rounds: all ask for something, all see the shelf that they got for it, some click.

Pure, by a seed. What is seen depends on the shelves; once noted, the same rounds can be lived through again, event by
event, and must lead to the same counts. Nobody asks twice in a round, so that no two shelves become one.
"""

import random
from collections.abc import Mapping

import msgspec

from streams.events.shelf import Shelf, shelf_id
from streams.redis import keys

STEP_MS = 30_000
SEEN_MS, CLICKED_MS, BOUGHT_MS = 2_000, 5_000, 20_000
"""Of event time: from round to round, and from what is asked to what is seen of it."""

ITEMS = 90
"""So few that none is seen together with more others than are remembered: what is let go depends on the order in which
partitions are read."""

SHOWN = 5
BAD = ("{{", '{{"type":"poke","n":{0}}}', '{{"type":"click","event_id":"{0}","ts":1,"user_id":"u"}}')
"""Values that are no event, but for the number in them."""

Sent = tuple[bytes, bytes]
"""A key and a value."""


class Rounds:
    """Shoppers of a small shop.

    Parameters
    ----------
    base_ms
        When the first round begins.

    Attributes
    ----------
    seen
        What was sent after each round's shelves were there, as far as they were lived through.
    shelves
        Ids of those that were seen.

    Examples
    --------
    >>> rounds = Rounds(shoppers=3, base_ms=0)
    >>> sorted(rounds.items)[:2], len(rounds.asks(0)) >= 3, rounds.asks(7) == Rounds(shoppers=3, base_ms=0).asks(7)
    (['i0', 'i1'], True, True)
    """

    def __init__(self, shoppers: int, base_ms: int, seed: int = 1) -> None:
        self.shoppers = [f"u{number}" for number in range(shoppers)]
        self.base_ms, self.seed = base_ms, seed
        chance = random.Random(seed)
        colours, kinds = ("red", "blue", "black"), ("usb cable", "hdmi cable", "usb hub", "wall charger")
        self.items = {f"i{n}": f"{chance.choice(colours)} {chance.choice(kinds)} {n}" for n in range(ITEMS)}
        self.seen: list[list[Sent]] = []
        self.shelves = set[str]()

    def asks(self, number: int) -> list[Sent]:
        """A search or a look at an item by each shopper, in any order, some of them twice, and what is no event."""
        chance = random.Random(f"{self.seed} asks {number}")
        found = []
        for place, shopper in enumerate(self.shoppers):
            item = chance.choice(list(self.items))
            what = {"type": "read", "item_id": item}
            if chance.random() < 0.4:
                what = {"type": "search", "query": " ".join(self.items[item].split()[:3])}
            ts = self.base_ms + number * STEP_MS + place
            found.append(_event(shopper, what | {"event_id": f"a{number}.{shopper}", "ts": ts}))
        found += chance.sample(found, len(found) // 20)
        found += [(b"u0", bad.format(f"{number}").encode() + b" " * number) for bad in BAD]
        chance.shuffle(found)
        return found

    def answers(self, number: int, shopper: str, shelf: Shelf) -> bool:
        """Whether a feed is the one that a shopper's ask of a round led to."""
        return shelf.shelf_id == shelf_id(shelf.surface, keys.feed(shopper), f"a{number}.{shopper}", shelf.model)

    def sees(self, number: int, shelves: Mapping[str, Shelf]) -> list[Sent]:
        """Impressions of the shelves, clicks on the first places mostly, and purchases of what was clicked."""
        if number < len(self.seen):
            return self.seen[number]
        chance = random.Random(f"{self.seed} sees {number}")
        impressions, clicks, purchases = list[Sent](), list[Sent](), list[Sent]()
        for place, shopper in enumerate(self.shoppers):
            shelf, ts = shelves[shopper], self.base_ms + number * STEP_MS + place
            shown = [item.item_id for item in shelf.items[:SHOWN]]
            of: dict[str, object] = {"shelf_id": shelf.shelf_id}
            items = [{"item_id": item, "position": at} for at, item in enumerate(shown)]
            what: dict[str, object] = {"type": "impression", "event_id": f"i{number}.{shopper}", "ts": ts + SEEN_MS}
            impressions.append(_event(shopper, what | of | {"surface": shelf.surface, "items": items}))
            if chance.random() >= 0.3:
                continue
            of |= {"item_id": shown[min(int(chance.expovariate(1.0)), len(shown) - 1)]}
            clicks.append(
                _event(shopper, of | {"type": "click", "event_id": f"c{number}.{shopper}", "ts": ts + CLICKED_MS})
            )
            if chance.random() < 0.2:
                what = {"type": "purchase", "event_id": f"p{number}.{shopper}", "ts": ts + BOUGHT_MS, "price": 9.5}
                purchases.append(_event(shopper, of | what))
        found = [*impressions, *clicks, *purchases]
        found += chance.sample(found, len(found) // 20)
        self.seen.append(found)
        self.shelves |= {shelf.shelf_id for shelf in shelves.values()}
        return found


def _event(shopper: str, what: Mapping[str, object]) -> Sent:
    return shopper.encode(), msgspec.json.encode({**what, "user_id": shopper})
