"""What a shopper likes: the latent truth that recommendations are after. Pure: items and likeness in, [0, 1] out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from liveshelf.simulation.likeness import Likeness
from streams.events.schema import Item

WEIGHTS = (1.0, 0.8, 0.5)
"""Of a shopper's interests, the dearest first."""

ASIDE = 0.6
"""What is left of an interest while a session is about another one."""

OTHER_BRAND = 0.7
"""What is left of the liking for a thing of no favourite brand."""


@dataclass(frozen=True, slots=True)
class Taste:
    """A few interests, each an item that everything alike in words is liked for, by weight, and favourite brands.

    Examples
    --------
    >>> kettle, shoe = Item(item_id="a", title="Steel kettle"), Item(item_id="b", title="Trail shoe")
    >>> taste = Taste((("a", 1.0),), frozenset({""}))
    >>> [taste.liking(item, Likeness([kettle, shoe]), focus=0) for item in (kettle, shoe)]
    [1.0, 0.0]
    """

    interests: tuple[tuple[str, float], ...]
    brands: frozenset[str]

    def liking(self, item: Item, likeness: Likeness, focus: int) -> float:
        """How much an item is liked, in [0, 1], in a session about one of the interests."""
        alike = max(
            weight
            * (1.0 if number == focus % len(self.interests) else ASIDE)
            * likeness.to(thing).get(item.item_id, 0.0)
            for number, (thing, weight) in enumerate(self.interests)
        )
        return min(1.0, alike if item.brand in self.brands else OTHER_BRAND * alike)

    def interest(self, focus: int) -> str:
        """The thing that a session is about."""
        return self.interests[focus % len(self.interests)][0]

    def pick(self, chance: float) -> int:
        """One of the interests, by weight: the one at a share in [0, 1) of all the weight.

        Examples
        --------
        >>> [Taste((("a", 1.0), ("b", 0.5)), frozenset()).pick(chance) for chance in (0.0, 0.6, 0.7)]
        [0, 0, 1]
        """
        left = chance * sum(weight for _, weight in self.interests)
        for number, (_, weight) in enumerate(self.interests):
            left -= weight
            if left < 0:
                return number
        return len(self.interests) - 1

    def also(self, item: Item) -> "Taste":
        """With one interest more, as dear as the dearest."""
        return replace(self, interests=(*self.interests, (item.item_id, WEIGHTS[0])), brands=self.brands | {item.brand})


def drawn(random: Random, items: Sequence[Item]) -> Taste:
    """A taste by chance."""
    things = [random.choice(items) for _ in WEIGHTS]
    interests = tuple((thing.item_id, weight) for thing, weight in zip(things, WEIGHTS, strict=True))
    return Taste(interests, frozenset(thing.brand for thing in things))
