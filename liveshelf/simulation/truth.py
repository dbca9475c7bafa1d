"""The expected clicks of any ranking, of the best possible one and of a random one, all in closed form.

Pure: takes shoppers as they are now. Knows nothing of time except which drifts are active, and the day.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from random import Random
from typing import NamedTuple

from liveshelf.simulation.assortment import Assortment, On
from liveshelf.simulation.drift import ADOPTED, NewCategory, QualityShift, TasteShift
from liveshelf.simulation.preferences import Traits, redrawn
from liveshelf.simulation.shopper import Shopper
from liveshelf.simulation.taste import FEED, PULL, Aim, Likeness, Taste, drawn
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
    """All items on sale, by falling click probability while none has been opened, these, and their sum."""

    ids: Sequence[str]
    appeals: Sequence[float]
    sum: float


class Moment(NamedTuple):
    """The active drifts, and the day since the shop opened, with its fraction."""

    on: On = ()
    day: float = 0.0


class Truth:
    """What shoppers like and click, in one shop.

    Parameters
    ----------
    shop
        What is on sale, and when.
    seed
        The seed of the changes that drifts make to tastes.
    traits
        What text does not say of the items.
    """

    def __init__(self, shop: Assortment, seed: int, traits: Traits) -> None:
        self._shop, self._seed, self._traits = shop, seed, traits
        self._likeness = Likeness(list(shop.items.values()))
        self._drifted = lru_cache(maxsize=TASTES)(self._drift)
        self._ranked = lru_cache(maxsize=KEPT)(self._rank)
        self._qualities = lru_cache(maxsize=KEPT)(self._quality)

    def taste(self, who: Shopper, on: On) -> Taste:
        """A shopper's taste under these drifts, applied in order."""
        return self._drifted(who.id, who.taste, on) if on else who.taste

    def liking(self, who: Shopper, item: Item, aim: Aim, at: Moment) -> float:
        """How much a shopper likes an item on a page, in [0, 1]."""
        liking = self._liking(self.taste(who, at.on), who.focus, item, aim, at.on)
        return self._traits.now(liking, item.item_id, who.bought, at.day, feed=aim.surface == "feed")

    def tempted(self, who: Shopper, item_id: str, aim: Aim, at: Moment) -> float:
        """The probability that a shopper clicks an item they look at."""
        item = self._shop.at(at.on).get(item_id)
        if item is None:
            return 0.0
        return tempted(self.liking(who, item, aim, at), who.novelty.get(item_id, who.visit), who.readiness)

    def expected(self, who: Shopper, ranking: Sequence[str], aim: Aim, at: Moment) -> float:
        """Expected clicks per impression of a ranking; the first `PAGE` items are shown."""
        shown = ranking[:PAGE]
        clicks = sum(look * self.tempted(who, item_id, aim, at) for look, item_id in zip(EXAMINED, shown, strict=False))
        return clicks / max(1, len(shown))

    def best(self, who: Shopper, aim: Aim, k: int, at: Moment) -> list[str]:
        """The best ranking of what may be shown: by falling click probability, as attention falls with position."""
        moved = len(who.novelty.worn) + len(who.bought)  # the ranks of these can have fallen, of no others
        first = self._ranking(who, aim, at.on).ids[: k + moved]
        raised = self._raised(who, aim, at).difference(first)
        ids = [item_id for item_id in (*first, *sorted(raised)) if self._left(who, item_id)]
        return sorted(ids, key=lambda item_id: -self.tempted(who, item_id, aim, at))[:k]

    def chance(self, who: Shopper, aim: Aim, k: int, at: Moment) -> float:
        """Expected clicks per impression of ``k`` distinct items drawn at random from what may be shown."""
        ids, _, sum_ = self._ranking(who, aim, at.on)
        sale, left = self._shop.at(at.on), len(ids)
        for item_id in {*who.bought, *who.novelty.worn, *self._raised(who, aim, at)}:
            if item_id not in sale or not _offered(sale[item_id], aim):
                continue
            sum_ -= self._fresh(who, sale[item_id], aim, at.on)
            if self._left(who, item_id):
                sum_ += self.tempted(who, item_id, aim, at)
            else:
                left -= 1
        places = min(k, PAGE, left)
        return total(places) / places * sum_ / left if places > 0 else 0.0

    def chosen(self, who: Shopper, at: Moment) -> str:
        """Draw an item that a shopper orders, by the square of the probability to click it on a feed, without that to
        click anything by accident; not one that they will buy again anyway."""
        ids, appeals, _ = self._ranking(who, FEED, at.on)
        chances = dict(zip(ids, appeals, strict=True))
        for item_id in {*who.bought, *self._raised(who, FEED, at)} & chances.keys():
            wanted = self._left(who, item_id) and item_id not in who.due
            chances[item_id] = self.tempted(who, item_id, FEED, at) if wanted else 0.0
        accident = tempted(0.0, 1.0, who.readiness)
        weights = [max(chance - accident, 0.0) ** 2 for chance in chances.values()]
        return who.needs.choices(ids, weights if any(weights) else None)[0]

    def _fresh(self, who: Shopper, item: Item, aim: Aim, on: On) -> float:
        """As if the shopper had neither opened nor bought anything."""
        return tempted(self._liking(self.taste(who, on), who.focus, item, aim, on), 1.0, who.readiness)

    def _left(self, who: Shopper, item_id: str) -> bool:
        """Whether a shop may still show an item: what was bought is left out only where nothing is bought again."""
        return item_id not in who.bought or self._traits.weights.repeats > 0

    def _raised(self, who: Shopper, aim: Aim, at: Moment) -> set[str]:
        """The items that purchases have made more liked, of those that a shop may show."""
        sale = self._shop.at(at.on)
        return {one for one in self._traits.changed(who.bought, at.day) if one in sale and _offered(sale[one], aim)}

    def _ranking(self, who: Shopper, aim: Aim, on: On) -> Ranked:
        return self._ranked(self.taste(who, on), who.focus, who.readiness, aim.surface, aim.about, on)

    def _rank(self, taste: Taste, focus: int, readiness: float, surface: str, about: str | None, on: On) -> Ranked:
        aim = Aim(surface, "", about)
        appeals = {
            item_id: tempted(self._liking(taste, focus, item, aim, on), 1.0, readiness)
            for item_id, item in self._shop.at(on).items()
            if _offered(item, aim)
        }
        ids = sorted(appeals, key=lambda item_id: -appeals[item_id])
        return Ranked(ids, [appeals[item_id] for item_id in ids], sum(appeals.values()))

    def _liking(self, taste: Taste, focus: int, item: Item, aim: Aim, on: On) -> float:
        """How much an item is liked by a shopper who has bought nothing."""
        liking = taste.liking(item, self._likeness, focus)
        if aim.about is not None:
            liking = PULL * liking + (1 - PULL) * self._likeness.to(aim.about).get(item.item_id, 0.0)
        appeal = self._shop.appeal(item, on) * self._traits.appeal(taste.profile, item, self._qualities(on))
        liking = min(1.0, liking * appeal)
        return self._traits.beside(liking, aim.about or "", item.item_id) if aim.surface == "similar" else liking

    def _drift(self, shopper: str, taste: Taste, on: On) -> Taste:
        for k in on:
            drift, random = self._shop.drifts[k], Random(f"{self._seed}:{shopper}:drift:{k}")
            if isinstance(drift, TasteShift) and random.random() < drift.share:
                taste = replace(drawn(random, self._shop.first), profile=self._traits.profile(f"{shopper}:drift:{k}"))
            if isinstance(drift, NewCategory) and random.random() < ADOPTED:
                taste = taste.also(random.choice(self._shop.of[k]))
        return taste

    def _quality(self, on: On) -> Mapping[str, float]:
        found: Mapping[str, float] = self._traits.quality
        for k in on:
            if isinstance(drift := self._shop.drifts[k], QualityShift):
                found = redrawn(found, drift.share, Random(f"{self._seed}:quality:{k}"))
        return found


def _offered(item: Item, aim: Aim) -> bool:
    """Whether a shop may show an item on a page: it is in stock, and not the item that the page is about."""
    return item.in_stock and not (aim.surface == "similar" and item.item_id == aim.about)
