"""Simulated shoppers: they look at shelves as people do, and act by tastes that the system does not know.

Pure: takes shelves and the clock's value, gives events. Knows nothing of Kafka, Redis, or how shelves are made.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from streams.events import AnyEvent, Cart, Click, Impression, Item, Purchase, Read, Search, Shown
from streams.shelf import Shelf

PAGE = 10
"""Items of a shelf that fit on the screen."""

EXAMINE = 0.6
"""Position bias: place ``k`` (from 0) is looked at with probability ``(k + 1) ** -EXAMINE``; the position-based model
of Richardson, Dominowska and Ragno (2007), power law as Joachims, Swaminathan and Schnabel (2017) simulate it."""

SLIP = 0.01
"""Probability to click something looked at that is not liked at all."""

AGAIN = 0.1
"""What is left of the liking for an item that was opened before."""

READS, CARTS, BUYS, SEARCHES = 0.6, 0.3, 0.4, 0.25
"""Probabilities: to read what was clicked; to cart what was read; to buy what was carted; to search after a visit."""

SMALL = frozenset({"and", "for", "from", "set", "size", "the", "with"})
"""Words that say nothing of what a thing is."""

Words = Mapping[str, float]
_WORD = re.compile(r"[^\W\d_]{3,}")


@dataclass(slots=True)
class Shopper:
    """One shopper: what they like, by weight; what they asked for, while its results are on screen; what they know."""

    id: str
    random: Random
    interests: Sequence[tuple[Item, float]]
    brands: frozenset[str]
    asked: str | None = None
    opened: set[str] = field(default_factory=set)


class Shoppers:
    """So many shoppers in one shop.

    A taste is a few interests, each an item that everything alike in words is liked for, and some favourite brands.
    Each shopper has a random source of their own, so what one does depends on no other.

    Parameters
    ----------
    items
        The catalogue; at least one item.
    seed
        Same seed, same items, same shelves and same times: same events.
    n
        How many shoppers; their ids are ``shopper-1`` to ``shopper-n``.

    Examples
    --------
    >>> shop = [Item(item_id="a", title="Steel kettle"), Item(item_id="b", title="Trail shoe")]
    >>> shoppers = Shoppers(shop, seed=1, n=2)
    >>> [event.kind for event in shoppers.act("shopper-1", None, now_ms=1_000)]
    ['search']
    """

    def __init__(self, items: Sequence[Item], seed: int, n: int) -> None:
        self.items = {item.item_id: item for item in items}
        split = {item.item_id: words(item.brand, f"{item.category} {item.title}") for item in items}
        spread = Counter(word for own in split.values() for word in set(own))
        rarity = {word: math.log(1 + len(items) / count) for word, count in spread.items()}
        self._vectors = {item_id: _unit(own, rarity) for item_id, own in split.items()}
        self._shoppers = {f"shopper-{k}": _shopper(f"shopper-{k}", seed, items) for k in range(1, n + 1)}

    @property
    def ids(self) -> list[str]:
        """All shoppers."""
        return list(self._shoppers)

    def asked(self, shopper: str) -> str | None:
        """The query whose results a frontend would show the shopper now; None for the start page with the feed."""
        return self._shoppers[shopper].asked

    def liking(self, shopper: str, item: Item) -> float:
        """How much the shopper likes an item, in [0, 1]: the truth that recommendations are after."""
        who = self._shoppers[shopper]
        mine = self._vectors[item.item_id]
        alike = max(weight * _cosine(mine, self._vectors[liked.item_id]) for liked, weight in who.interests)
        return alike if item.brand in who.brands else 0.7 * alike

    def act(self, shopper: str, shelf: Shelf | None, now_ms: int) -> list[AnyEvent]:
        """What the shopper does on seeing a shelf; without one to see, they search.

        They look from the top down with waning attention, and open the first thing they like: at most one a visit.

        Returns
        -------
        list of events
            In order, their times 1 ms apart from ``now_ms`` on.
        """
        who = self._shoppers[shopper]
        who.asked = None
        seen = shelf.items[:PAGE] if shelf is not None else []
        events: list[AnyEvent] = []

        def common() -> dict[str, Any]:
            at = now_ms + len(events)
            return {"event_id": f"{shopper}-{at}", "ts": at, "user_id": shopper}

        if shelf is not None and seen:
            shown = [Shown(item_id=item.item_id, position=place) for place, item in enumerate(seen)]
            events.append(Impression(**common(), shelf_id=shelf.shelf_id, surface=shelf.surface, items=shown))
            place = self._choice(who, [item.item_id for item in seen])
            if place is not None:
                item = self.items[seen[place].item_id]
                who.opened.add(item.item_id)
                of: dict[str, Any] = {"item_id": item.item_id, "shelf_id": shelf.shelf_id, "position": place}
                for kind, chance in ((Click, 1.0), (Read, READS), (Cart, CARTS), (Purchase, BUYS)):
                    if who.random.random() >= chance:
                        break
                    events.append(kind(**common(), **of, price=item.price))
        if not events or who.random.random() < SEARCHES:
            who.asked = _query(who)
            events.append(Search(**common(), query=who.asked, query_id=f"q-{shopper}-{now_ms}"))
        return events

    def _choice(self, who: Shopper, seen: Sequence[str]) -> int | None:
        for place, item_id in enumerate(seen):
            item = self.items.get(item_id)
            looks, likes = who.random.random(), who.random.random()  # drawn for all, so that places do not shift draws
            if item is None or looks >= (place + 1) ** -EXAMINE:
                continue
            if likes < SLIP + self.liking(who.id, item) * (AGAIN if item_id in who.opened else 1.0):
                return place
        return None


def words(brand: str, text: str) -> list[str]:
    """Distinct words of a text in their order, without the brand, numbers and small words.

    Examples
    --------
    >>> words("Orbo", "Orbo Steel Kettle 1.7 L with stand")
    ['steel', 'kettle', 'stand']
    """
    without = SMALL.union(_WORD.findall(brand.lower()))
    return [word for word in dict.fromkeys(_WORD.findall(text.lower())) if word not in without] or ["other"]


def _shopper(name: str, seed: int, items: Sequence[Item]) -> Shopper:
    random = Random(f"{seed}:{name}")
    interests = [(random.choice(items), weight) for weight in (1.0, 0.8, 0.5)]
    brands = frozenset(item.brand for item, _ in interests)
    return Shopper(name, random, interests, brands)


def _query(who: Shopper) -> str:
    item = who.random.choices([item for item, _ in who.interests], [weight for _, weight in who.interests])[0]
    said = words(item.brand, item.title)[: who.random.choice((2, 2, 3))]
    return " ".join([item.brand.lower(), *said] if item.brand and who.random.random() < 0.2 else said)


def _unit(own: Sequence[str], rarity: Words) -> Words:
    length = math.sqrt(sum(rarity[word] ** 2 for word in own))
    return {word: rarity[word] / length for word in own}


def _cosine(one: Words, other: Words) -> float:
    return sum(weight * other.get(word, 0.0) for word, weight in one.items())
