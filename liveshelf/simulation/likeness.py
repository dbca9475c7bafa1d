"""How alike two things are in words. Pure: items in, cosines out; knows nothing of who likes what."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache

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
