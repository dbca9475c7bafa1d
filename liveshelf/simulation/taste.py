"""What a shopper likes, and what they are after now: the latent truth that recommendations are to find.

Pure: items in, liking in [0, 1] out; how alike two things are in words is part of it. Knows neither shelves nor clocks.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from random import Random

from streams.events.schema import Item

SMALL = frozenset({"and", "for", "from", "set", "size", "the", "with"})
"""Words that say nothing of what a thing is."""

KEPT = 1024
"""Items whose likenesses to all others are remembered, those asked for last."""

_WORD = re.compile(r"[^\W\d_]{3,}")


class Likeness:
    """Cosine of the items' words, of category and title, each weighted by how rare it is.

    Parameters
    ----------
    items
        Everything that is ever compared.

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
        """To an item: the cosine of every item that shares a word with it."""
        found: dict[str, float] = defaultdict(float)
        for word, weight in self._words[item_id].items():
            for other, value in self._holders[word]:
                found[other] += weight * value
        return dict(found)


def words(brand: str, text: str) -> list[str]:
    """Distinct words of a text in their order, without the brand, numbers and small words.

    Examples
    --------
    >>> words("Orbo", "Orbo Steel Kettle 1.7 L with stand")
    ['steel', 'kettle', 'stand']
    """
    without = SMALL.union(_WORD.findall(brand.lower()))
    return [word for word in dict.fromkeys(_WORD.findall(text.lower())) if word not in without] or ["other"]


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


PULL = 0.3
"""How much of one's own taste there is in the liking of things that are looked for."""

BRANDED = 0.2
"""Share of searches that name the brand."""


@dataclass(frozen=True, slots=True)
class Aim:
    """A page and what is wanted of it: the start page, by taste; results for a query; things like one just opened.

    ``about`` is the thing in mind, which the words of the query say only in part: the latent intent.
    """

    surface: str = "feed"
    query: str = ""
    about: str | None = None


FEED = Aim()


def asked(item: Item, length: float, brand: float) -> Aim:
    """A search for a thing: two or three of its words, at times its brand; both by a chance in [0, 1).

    Examples
    --------
    >>> kettle = Item(item_id="a", title="Steel kettle with stand", brand="Orbo")
    >>> asked(kettle, length=0.5, brand=0.5).query, asked(kettle, length=0.9, brand=0.1).query
    ('steel kettle', 'orbo steel kettle stand')
    """
    said = words(item.brand, item.title)[: 2 if length < 2 / 3 else 3]
    named = [item.brand.lower(), *said] if item.brand and brand < BRANDED else said
    return Aim("search", " ".join(named), item.item_id)
