"""The expected clicks of any ranking, of the best possible one and of a random one, all in closed form.

Pure: takes shoppers as they are now. Knows nothing of time except which drifts are active.
"""

from collections.abc import Sequence
from functools import lru_cache
from random import Random
from typing import NamedTuple

from liveshelf.simulation.assortment import Assortment, On
from liveshelf.simulation.drift import ADOPTED, NewCategory, TasteShift
from liveshelf.simulation.shopper import Shopper
from liveshelf.simulation.taste import PULL, Aim, Likeness, Taste, drawn
from liveshelf.simulation.visit import EXAMINED, PAGE, tempted, total
from streams.events.schema import Item


class Rates(NamedTuple):
    """Expected clicks per impression of the shown shelf, of the oracle, and of a random shelf."""

    shown: float
    oracle: float
    random: float


KEPT = 512
"""The size of the cache of rankings of the whole shop."""

TASTES = 16_384
"""The size of the cache of tastes under drifts."""


class Ranked(NamedTuple):
    """All items on sale, by falling click probability while none has been opened, and the sum of these."""

    ids: Sequence[str]
    sum: float


class Truth:
    """What shoppers like and click, in one shop.

    Parameters
    ----------
    shop
        What is on sale, and when.
    seed
        The seed of the changes that drifts make to tastes.
    """

    def __init__(self, shop: Assortment, seed: int) -> None:
        self._shop, self._seed = shop, seed
        self._likeness = Likeness(list(shop.items.values()))
        self._drifted = lru_cache(maxsize=TASTES)(self._drift)
        self._ranked = lru_cache(maxsize=KEPT)(self._rank)

    def taste(self, who: Shopper, on: On) -> Taste:
        """A shopper's taste under these drifts, applied in order."""
        return self._drifted(who.id, who.taste, on) if on else who.taste

    def liking(self, who: Shopper, item: Item, aim: Aim, on: On) -> float:
        """How much a shopper likes an item on a page, in [0, 1]."""
        return self._liking(self.taste(who, on), who.focus, item, aim, on)

    def tempted(self, who: Shopper, item_id: str, aim: Aim, on: On, fresh: bool = False) -> float:
        """The probability that a shopper clicks an item they look at; with ``fresh`` as if they never opened it."""
        item = self._shop.at(on).get(item_id)
        if item is None:
            return 0.0
        novelty = 1.0 if fresh else who.novelty.get(item_id, who.visit)
        return tempted(self.liking(who, item, aim, on), novelty, who.readiness)

    def expected(self, who: Shopper, ranking: Sequence[str], aim: Aim, on: On) -> float:
        """Expected clicks per impression of a ranking; the first `PAGE` items are shown."""
        shown = ranking[:PAGE]
        clicks = sum(look * self.tempted(who, item_id, aim, on) for look, item_id in zip(EXAMINED, shown, strict=False))
        return clicks / max(1, len(shown))

    def best(self, who: Shopper, aim: Aim, k: int, on: On) -> list[str]:
        """The best ranking of what may be shown: by falling click probability, as attention falls with position."""
        moved = len(who.novelty.worn) + len(who.bought)  # the ranks of these can only have fallen
        ids = [item_id for item_id in self._ranking(who, aim, on).ids[: k + moved] if item_id not in who.bought]
        return sorted(ids, key=lambda item_id: -self.tempted(who, item_id, aim, on))[:k]

    def chance(self, who: Shopper, aim: Aim, k: int, on: On) -> float:
        """Expected clicks per impression of ``k`` distinct items drawn at random from what may be shown."""
        ids, sum_ = self._ranking(who, aim, on)
        sale, left = self._shop.at(on), len(ids)
        for item_id in who.bought.union(who.novelty.worn):
            if item_id not in sale or not _offered(sale[item_id], aim):
                continue
            sum_ -= self.tempted(who, item_id, aim, on, fresh=True)
            if item_id in who.bought:
                left -= 1
            else:
                sum_ += self.tempted(who, item_id, aim, on)
        places = min(k, PAGE, left)
        return total(places) / places * sum_ / left if places > 0 else 0.0

    def _ranking(self, who: Shopper, aim: Aim, on: On) -> Ranked:
        return self._ranked(self.taste(who, on), who.focus, who.readiness, aim.surface, aim.about, on)

    def _rank(self, taste: Taste, focus: int, readiness: float, surface: str, about: str | None, on: On) -> Ranked:
        aim = Aim(surface, "", about)
        appeals = {
            item_id: tempted(self._liking(taste, focus, item, aim, on), 1.0, readiness)
            for item_id, item in self._shop.at(on).items()
            if _offered(item, aim)
        }
        return Ranked(sorted(appeals, key=lambda item_id: -appeals[item_id]), sum(appeals.values()))

    def _liking(self, taste: Taste, focus: int, item: Item, aim: Aim, on: On) -> float:
        liking = taste.liking(item, self._likeness, focus)
        if aim.about is not None:
            liking = PULL * liking + (1 - PULL) * self._likeness.to(aim.about).get(item.item_id, 0.0)
        return min(1.0, liking * self._shop.appeal(item, on))

    def _drift(self, shopper: str, taste: Taste, on: On) -> Taste:
        for k in on:
            drift, random = self._shop.drifts[k], Random(f"{self._seed}:{shopper}:drift:{k}")
            if isinstance(drift, TasteShift) and random.random() < drift.share:
                taste = drawn(random, self._shop.first)
            if isinstance(drift, NewCategory) and random.random() < ADOPTED:
                taste = taste.also(random.choice(self._shop.of[k]))
        return taste


def _offered(item: Item, aim: Aim) -> bool:
    """Whether a shop may show an item on a page: it is in stock, and not the item that the page is about."""
    return item.in_stock and not (aim.surface == "similar" and item.item_id == aim.about)
