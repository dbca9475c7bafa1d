"""What a shopper likes, and what they look for now: the latent truth that recommendations have to find.

Pure: items in, liking in [0, 1] out. The liking uses the similarity of the items' words. Knows neither shelves nor
clocks.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from random import Random

from liveshelf.simulation.preferences import NEUTRAL, Profile
from streams.events.schema import Item

SMALL = frozenset({"and", "for", "from", "set", "size", "the", "with"})
"""Words that do not describe an item."""

KEPT = 1024
"""The size of the cache of an item's similarities to all others."""

_WORD = re.compile(r"[^\W\d_]{3,}")


class Likeness:
    """The cosine similarity of items by the words of category and title, weighted by rarity.

    Parameters
    ----------
    items
        All items that are ever compared.

    Examples
    --------
    >>> things = {"a": "steel kettle", "b": "iron kettle", "c": "trail shoe"}
    >>> likeness = Likeness([Item(item_id=name, title=title) for name, title in things.items()])
    >>> {name: round(value, 2) for name, value in likeness.to("a").items()}
    {'a': 1.0, 'b': 0.3}
    """

    def __init__(self, items: Sequence[Item]) -> None:
        split = {item.item_id: words(item.brand, f"{item.category} {item.title}") for item in items}
        spread = Counter(word for own in split.values() for word in own)
        rarity = {word: math.log(1 + len(items) / count) for word, count in spread.items()}
        self._words: dict[str, dict[str, float]] = {}
        self._holders: dict[str, list[tuple[str, float]]] = defaultdict(list)
        for item_id, own in split.items():
            length = math.sqrt(sum(rarity[word] ** 2 for word in own))
            self._words[item_id] = {word: rarity[word] / length for word in own}
            for word, weight in self._words[item_id].items():
                self._holders[word].append((item_id, weight))
        self.to = lru_cache(maxsize=KEPT)(self._to)

    def _to(self, item_id: str) -> Mapping[str, float]:
        """The cosine of an item and each item that shares a word with it."""
        found: dict[str, float] = defaultdict(float)
        for word, weight in self._words[item_id].items():
            for other, value in self._holders[word]:
                found[other] += weight * value
        return dict(found)


def words(brand: str, text: str) -> list[str]:
    """The distinct words of a text in order, without the brand, numbers and stop words.

    Examples
    --------
    >>> words("Orbo", "Orbo Steel Kettle 1.7 L with stand")
    ['steel', 'kettle', 'stand']
    """
    without = SMALL.union(_WORD.findall(brand.lower()))
    return [word for word in dict.fromkeys(_WORD.findall(text.lower())) if word not in without] or ["other"]


WEIGHTS = (1.0, 0.8, 0.5)
"""The weights of a shopper's interests, the largest first."""

ASIDE = 0.6
"""The factor on an interest while the session is about another one."""

OTHER_BRAND = 0.7
"""The factor on the liking of an item that is not of a favourite brand."""


@dataclass(frozen=True, slots=True)
class Taste:
    """A few interests, and favourite brands. An interest is an item with a weight; items with similar words are liked.
    What text does not say is in the profile.

    Examples
    --------
    >>> kettle, shoe = Item(item_id="a", title="Steel kettle"), Item(item_id="b", title="Trail shoe")
    >>> taste = Taste((("a", 1.0),), frozenset({""}))
    >>> [taste.liking(item, Likeness([kettle, shoe]), focus=0) for item in (kettle, shoe)]
    [1.0, 0.0]
    """

    interests: tuple[tuple[str, float], ...]
    brands: frozenset[str]
    profile: Profile = NEUTRAL

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
        """The item that a session is about."""
        return self.interests[focus % len(self.interests)][0]

    def pick(self, chance: float) -> int:
        """Draw one of the interests by weight, with a random number in [0, 1).

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
        """The taste with one more interest, of the largest weight."""
        return replace(self, interests=(*self.interests, (item.item_id, WEIGHTS[0])), brands=self.brands | {item.brand})


def drawn(random: Random, items: Sequence[Item]) -> Taste:
    """A random taste."""
    things = [random.choice(items) for _ in WEIGHTS]
    interests = tuple((thing.item_id, weight) for thing, weight in zip(things, WEIGHTS, strict=True))
    return Taste(interests, frozenset(thing.brand for thing in things))


PULL = 0.3
"""The weight of the shopper's own taste when they look for an item."""

BRANDED = 0.2
"""The share of searches that name the brand."""


@dataclass(frozen=True, slots=True)
class Aim:
    """A page and what is wanted there: the start page, by taste; results for a query; items similar to one just opened.

    ``about`` is the item that the shopper has in mind; the query names it only partly: the latent intent.
    """

    surface: str = "feed"
    query: str = ""
    about: str | None = None


FEED = Aim()


def asked(item: Item, length: float, brand: float) -> Aim:
    """A search for an item: two or three of its words, sometimes its brand; both by random numbers in [0, 1).

    Examples
    --------
    >>> kettle = Item(item_id="a", title="Steel kettle with stand", brand="Orbo")
    >>> asked(kettle, length=0.5, brand=0.5).query, asked(kettle, length=0.9, brand=0.1).query
    ('steel kettle', 'orbo steel kettle stand')
    """
    said = words(item.brand, item.title)[: 2 if length < 2 / 3 else 3]
    named = [item.brand.lower(), *said] if item.brand and brand < BRANDED else said
    return Aim("search", " ".join(named), item.item_id)
