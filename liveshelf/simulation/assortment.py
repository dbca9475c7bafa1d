"""What is on sale, when, and at what price: the catalogue under drifts. Knows nothing of shoppers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace as replace_time
from random import Random

from msgspec.structs import replace

from liveshelf.simulation.drift import Drift, Fashion, NewCategory, PriceShock, Season
from streams.events.schema import Item

LARGEST = 0.25
"""The largest share of the items in a category that is drawn at random."""

On = tuple[int, ...]
"""The numbers of the active drifts."""


class Assortment:
    """The items of a shop; those of new categories go on sale at their time.

    Raises
    ------
    ValueError
        When a drift names a category without items, no category can be drawn at random, or nothing is on sale at the
        beginning.

    Examples
    --------
    >>> shop = [Item(item_id=name, title="Thing", category=name[0], price=2.0) for name in ("a1", "a2", "b1", "b2")]
    >>> assortment = Assortment(shop, [NewCategory(10.0, category="b"), PriceShock(20.0)], seed=1)
    >>> [list(assortment.at(assortment.on(second))) for second in (0.0, 10.0)]
    [['a1', 'a2'], ['a1', 'a2', 'b1', 'b2']]
    >>> assortment.at(assortment.on(20.0))["a1"].price
    3.0
    """

    def __init__(self, items: Sequence[Item], drifts: Sequence[Drift], seed: int) -> None:
        self.items = {item.item_id: item for item in items}
        self.drifts = list(drifts)
        self._sizes = Counter(item.category for item in items if item.category)
        self.of: dict[int, list[Item]] = {}
        for number, drift in enumerate(self.drifts):
            if isinstance(drift, NewCategory | Season):
                self.of[number] = self._category(drift.category, Random(f"{seed}:category:{number}"))
        later = {
            item.item_id for k, held in self.of.items() if isinstance(self.drifts[k], NewCategory) for item in held
        }
        self.first = [item for item in items if item.item_id not in later]
        if not self.first:
            raise ValueError("Nothing is on sale from the beginning: give more items, or hold back fewer categories.")
        self._at: dict[On, Mapping[str, Item]] = {}
        brands = sorted({item.brand for item in items})
        Random(f"{seed}:fashion").shuffle(brands)
        halves = frozenset(brands[: len(brands) // 2]), frozenset(brands[len(brands) // 2 :])
        fashions = [k for k, drift in enumerate(self.drifts) if isinstance(drift, Fashion)]
        self._out = {k: halves[turn % 2] for turn, k in enumerate(fashions)}

    def on(self, second: float) -> On:
        """The drifts that are active this many seconds after the shop opened."""
        return tuple(k for k, drift in enumerate(self.drifts) if drift.at_s <= second < drift.until_s)

    def at(self, on: On) -> Mapping[str, Item]:
        """What is on sale under these drifts."""
        if on not in self._at:
            dearer = self.dearer(on)
            more = [item for k in on if isinstance(self.drifts[k], NewCategory) for item in self.of[k]]
            found = {item.item_id: item for item in (*self.first, *more)}
            if dearer != 1.0:
                found = {item_id: _at_price(item, dearer) for item_id, item in found.items()}
            self._at[on] = found
        return self._at[on]

    def dearer(self, on: On) -> float:
        """The factor on all prices."""
        factor = 1.0
        for drift in (self.drifts[k] for k in on):
            if isinstance(drift, PriceShock):
                factor *= drift.factor
        return factor

    def begin(self, number: int, second: float) -> None:
        """Start a drift at another time than its own."""
        self.drifts[number] = replace_time(self.drifts[number], at_s=second)

    def appeal(self, item: Item, on: On) -> float:
        """The factor on the liking of an item, by the last active fashion."""
        for k in reversed(on):
            drift = self.drifts[k]
            if isinstance(drift, Fashion):
                return drift.factor if item.brand in self._out[k] else 1.0
        return 1.0

    def _category(self, name: str, random: Random) -> list[Item]:
        if name and name not in self._sizes:
            raise ValueError(f"No item is of category {name!r}; the largest are {', '.join(self._largest())}.")
        fit = sorted(own for own, size in self._sizes.items() if 1 < size <= LARGEST * len(self.items))
        if not name and not fit:
            raise ValueError("No category of several items holds at most a quarter of all; name one.")
        name = name or random.choice(fit)
        return [item for item in self.items.values() if item.category == name]

    def _largest(self) -> list[str]:
        return [repr(name) for name, _ in self._sizes.most_common(10)] or ["none: the items have no categories"]


def _at_price(item: Item, dearer: float) -> Item:
    return item if item.price is None else replace(item, price=round(item.price * dearer, 2))
