"""Simulated shoppers: latent tastes, queries, and position-based examination of the shelves they are shown.

Pure and reproducible by seed: takes shelves and a clock's value, gives events. Where shelves come from and where events
go is the caller's business.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from streams.events import AnyEvent, Cart, Click, Impression, Item, Purchase, Read, Search, Shown
from streams.shelf import Shelf

SHOWN = 10
"""Places of a shelf that are on screen."""


@dataclass(frozen=True, slots=True)
class Shopper:
    """Someone with a taste: how much they like each category, 0 to 1."""

    name: str
    likes: dict[str, float]


def examined(position: int) -> float:
    """Probability that a shopper looks at a place at all (position-based model, Craswell et al. 2008).

    Examples
    --------
    >>> examined(0), round(examined(9), 2)
    (1.0, 0.32)
    """
    return float((position + 1) ** -0.5)


class Shoppers:
    """A crowd of shoppers over a catalogue.

    Examples
    --------
    >>> items = [Item(item_id="1", title="Blue HDMI cable", category="Cables")]
    >>> crowd = Shoppers(items, seed=1, count=3)
    >>> [event.kind for event in crowd.act(crowd.people[0], None, now_ms=1_000)]
    ['search']
    """

    def __init__(self, items: Sequence[Item], seed: int, count: int = 50) -> None:
        self._chance = Random(seed)
        self._items = {item.item_id: item for item in items}
        self._by_category: dict[str, list[Item]] = defaultdict(list)
        for item in items:
            self._by_category[item.category].append(item)
        self._acts = 0
        categories = sorted(self._by_category)
        self.people = [self._person(number, categories) for number in range(count)]

    def pick(self) -> Shopper:
        """Whoever comes next."""
        return self._chance.choice(self.people)

    def act(self, shopper: Shopper, shelf: Shelf | None, now_ms: int) -> list[AnyEvent]:
        """One visit: look at the shelf that is there and react, or, without one, search.

        Parameters
        ----------
        shelf
            What the frontend would show this shopper now.
        now_ms
            Time of the visit; its events follow each other by a second each, ending now.
        """
        if shelf is None or self._chance.random() < 0.25:
            return [Search(event_id=self._id(), ts=now_ms, user_id=shopper.name, query=self._query(shopper))]
        shown = shelf.items[:SHOWN]
        places = [Shown(item_id=item.item_id, position=place) for place, item in enumerate(shown)]
        events: list[AnyEvent] = [
            Impression(
                event_id=self._id(),
                ts=now_ms,
                user_id=shopper.name,
                shelf_id=shelf.shelf_id,
                surface=shelf.surface,
                items=places,
            )
        ]
        for place, candidate in enumerate(shown):
            item = self._items.get(candidate.item_id)
            taste = shopper.likes.get(item.category, 0.0) if item else 0.0
            if self._chance.random() < examined(place) * taste:
                events += self._touch(shopper, shelf, candidate.item_id, place, now_ms)
                break
        return events

    def _touch(self, shopper: Shopper, shelf: Shelf, item_id: str, place: int, now_ms: int) -> list[AnyEvent]:
        depth = self._chance.random()
        kinds: list[type[Click] | type[Read] | type[Cart] | type[Purchase]] = [Click]
        kinds += [kind for kind, chance in ((Read, 0.5), (Cart, 0.2), (Purchase, 0.08)) if depth < chance]
        return [
            kind(
                event_id=self._id(),
                ts=now_ms,
                user_id=shopper.name,
                item_id=item_id,
                shelf_id=shelf.shelf_id,
                position=place,
            )
            for kind in kinds
        ]

    def _person(self, number: int, categories: Sequence[str]) -> Shopper:
        loved = self._chance.sample(categories, min(3, len(categories)))
        likes = dict.fromkeys(categories, 0.02) | {category: 0.3 + 0.5 * self._chance.random() for category in loved}
        return Shopper(f"shopper-{number}", likes)

    def _query(self, shopper: Shopper) -> str:
        categories = list(shopper.likes)
        category = self._chance.choices(categories, [shopper.likes[name] for name in categories])[0]
        words = self._chance.choice(self._by_category[category]).title.split()
        return " ".join(words[: self._chance.randint(2, 4)])

    def _id(self) -> str:
        self._acts += 1
        return f"{self._chance.getrandbits(64):016x}-{self._acts}"
