"""What text does not say: hidden quality, brands, a price band, complements, and things that are bought again.

Pure: the hidden traits of a shop's items by a seed, a shopper's preferences, and what both add to a liking. Each has a
weight; with all weights zero, liking depends on text alone. Knows neither shelves nor clocks: times are days.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from random import Random
from statistics import NormalDist

from streams.events.schema import Item

SKEW = 0.5
"""The exponent of the hidden quality: the item of rank r has r ** -0.5, as sales fall with their rank."""

WIDTH = 0.25
"""The width of a shopper's price band, in shares of a category's prices in their order."""

IN_SETS, SET = 0.6, 3
"""The share of the items that belong to a set of complements, and the items of a set; all of other categories."""

WANTED_DAYS = 7.0
"""How long the rest of a set is wanted after one of it was bought."""

CONSUMED = 0.25
"""The share of the items that are used up, and bought again."""

INTERVALS = 7.0, 56.0
"""The shortest and the longest median of days until an item is bought again; their logarithms are evenly spread."""

SPREAD = 0.2
"""Standard deviation of the logarithm of the days between two purchases of a shopper."""

KEEPS = 0.8
"""The probability that what is used up is bought again without a shelf."""

LAPSED = 2.0
"""After so many intervals a thing is no longer missed."""


@dataclass(frozen=True)
class Preferences:
    """The weight of each preference that text does not express; zero by default.

    Attributes
    ----------
    quality, brand, price
        In [0, 1]. An item of no quality, of a brand that the shopper does not care for, or far outside of their price
        band, loses this share of its liking.
    complements
        In [0, 1]. How much a shopper likes what completes a set, on the feed for `WANTED_DAYS` and beside an item of
        the set.
    together
        The probability that with an item each missing item of its set is bought at once, without a shelf.
    repeats
        In [0, 1]. How much a shopper likes what is used up; before, and what is never used up for good, it loses this
        share of its liking. When it is used up, a shopper buys it without a shelf with the probability `KEEPS`. With a
        weight of 0 a bought item is liked as before, and the best shelf leaves it out.
    eager
        The factor on the probabilities to cart after reading, and to buy after carting.
    day_ms
        Milliseconds of a simulated day.

    Raises
    ------
    ValueError
        When a value is outside its range.
    """

    quality: float = 0.0
    brand: float = 0.0
    price: float = 0.0
    complements: float = 0.0
    together: float = 0.0
    repeats: float = 0.0
    eager: float = 1.0
    day_ms: float = 86_400_000.0

    def __post_init__(self) -> None:
        for name in (one.name for one in fields(self)):
            value = getattr(self, name)
            if name in ("eager", "day_ms"):
                if not 0 < value < math.inf:
                    raise ValueError(f"{name} is {value}; it must be above 0")
            elif not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}; it must be from 0 to 1")


TEXT_ONLY = Preferences()
BEHAVIOUR = Preferences(quality=0.7, brand=0.5, price=0.5, complements=0.3, together=0.35, repeats=0.4, eager=4.0)


@dataclass(frozen=True, eq=False)
class Profile:
    """A shopper's price band, from 0 for the cheapest of each category to 1, and affinity to each brand, in [0, 1]."""

    band: float = 0.5
    brands: Mapping[str, float] = field(default_factory=dict)

    def priced(self, place: float) -> float:
        """How well a price suits, in [0, 1], by its place among its category's.

        Examples
        --------
        >>> [round(Profile(band=0.5).priced(place), 2) for place in (0.0, 0.25, 0.5)]
        [0.14, 0.61, 1.0]
        """
        return math.exp(-(((place - self.band) / WIDTH) ** 2) / 2)


NEUTRAL = Profile()


def used_up(days: float, interval: float) -> float:
    """The probability that a thing bought so many days ago is used up: log-normal with the interval as its median; 0
    again after `LAPSED` intervals.

    Examples
    --------
    >>> [round(used_up(days, interval=10.0), 2) for days in (0.0, 8.0, 10.0, 14.0, 31.0)]
    [0.0, 0.13, 0.5, 0.95, 0.0]
    """
    if not 0 < days <= LAPSED * interval < math.inf:
        return 0.0
    return float(NormalDist().cdf(math.log(days / interval) / SPREAD))


class Traits:
    """The hidden traits of a shop's items, drawn by a seed.

    Parameters
    ----------
    items
        All that are ever on sale.
    weights
        What they count for.

    Attributes
    ----------
    quality
        Of each item, in (0, 1].
    intervals
        Median days between two purchases, of the items that are bought again.
    complements
        The other items of an item's set, where it has one.

    Examples
    --------
    >>> shop = [Item(item_id=name, title="Thing", category=name) for name in "abcdefgh"]
    >>> traits = Traits(shop, seed=2, weights=BEHAVIOUR)
    >>> sorted(round(one, 2) for one in traits.quality.values())[-2:], traits.complements["a"]
    ([0.71, 1.0], ('b', 'c'))
    """

    def __init__(self, items: Sequence[Item], seed: int, weights: Preferences = TEXT_ONLY) -> None:
        self.weights, self._seed = weights, seed
        ids = [item.item_id for item in items]
        self.quality = dict(
            zip(self._shuffled(ids, "quality"), (r**-SKEW for r in range(1, len(ids) + 1)), strict=True)
        )
        self.complements = _sets(Random(f"{seed}:sets").sample(list(items), len(items)))
        random, (low, high) = Random(f"{seed}:intervals"), INTERVALS
        consumed = self._shuffled(ids, "consumed")[: round(CONSUMED * len(ids))]
        self.intervals: dict[str, float] = {item_id: low * (high / low) ** random.random() for item_id in consumed}
        self._places = _price_places(items)
        self._brands = sorted({item.brand for item in items})

    def profile(self, name: str) -> Profile:
        """A shopper's preferences, drawn by their name: few brands are much liked."""
        random = Random(f"{self._seed}:{name}:profile")
        return Profile(random.random(), {brand: random.random() ** 2 for brand in self._brands})

    def appeal(self, profile: Profile, item: Item, quality: Mapping[str, float]) -> float:
        """The factor on the liking of an item, in [0, 1]: its quality, brand and price, each by its weight."""
        suits = profile.priced(self._places.get(item.item_id, profile.band))
        of = self.weights
        return (
            (1 - of.quality * (1 - quality[item.item_id]))
            * (1 - of.brand * (1 - profile.brands.get(item.brand, 1.0)))
            * (1 - of.price * (1 - suits))
        )

    def beside(self, liking: float, item_id: str, other: str) -> float:
        """The liking of an item on the page of another: one of the same set is liked more."""
        return _more(liking, self.weights.complements if other in self.complements.get(item_id, ()) else 0.0)

    def now(self, liking: float, item_id: str, bought: Mapping[str, float], day: float, *, feed: bool) -> float:
        """The liking of an item after what a shopper bought: less of what they still have; on the feed, more of what is
        used up or completes a set.

        Parameters
        ----------
        bought
            The day of the last purchase of each item that the shopper bought.
        """
        due, last, interval = 0.0, bought.get(item_id), self.intervals.get(item_id, math.inf)
        if last is not None and day - last <= LAPSED * interval:
            due = used_up(day - last, interval)
            liking *= 1 - self.weights.repeats * (1 - due)
        if not feed:
            return liking
        missing = self.weights.complements if self._missing(item_id, bought, day) else 0.0
        return _more(_more(liking, self.weights.repeats * due), missing)

    def changed(self, bought: Mapping[str, float], day: float) -> set[str]:
        """The items that purchases have made more liked."""
        found: set[str] = set()
        if self.weights.repeats:
            found.update(item_id for item_id in bought if item_id in self.intervals)
        if self.weights.complements:
            recent = (item_id for item_id, last in bought.items() if 0 <= day - last < WANTED_DAYS)
            found.update(other for item_id in recent for other in self.complements.get(item_id, ()))
        return found

    def lasts(self, item_id: str, random: Random) -> float:
        """The days until a shopper buys an item again without a shelf; infinite if they never do."""
        if not self.weights.repeats or item_id not in self.intervals or random.random() >= KEEPS:
            return math.inf
        return self.intervals[item_id] * math.exp(SPREAD * random.gauss(0.0, 1.0))

    def _missing(self, item_id: str, bought: Mapping[str, float], day: float) -> bool:
        own = bought.get(item_id, -math.inf)
        return any(
            own < bought.get(other, -math.inf) > day - WANTED_DAYS for other in self.complements.get(item_id, ())
        )

    def _shuffled(self, ids: Sequence[str], of: str) -> list[str]:
        return Random(f"{self._seed}:{of}").sample(ids, len(ids))


def _more(liking: float, wanted: float) -> float:
    """The liking with a second reason, independent of the first."""
    return 1 - (1 - liking) * (1 - wanted) if wanted else liking


def redrawn(quality: Mapping[str, float], share: float, random: Random) -> dict[str, float]:
    """Hidden qualities after a share of the items has exchanged theirs.

    Examples
    --------
    >>> redrawn({"a": 0.1, "b": 0.2, "c": 0.3}, share=1.0, random=Random(5))
    {'a': 0.2, 'b': 0.3, 'c': 0.1}
    """
    moved = random.sample(list(quality), round(share * len(quality)))
    return {**quality, **dict(zip(moved, (quality[one] for one in random.sample(moved, len(moved))), strict=True))}


def _sets(items: Sequence[Item]) -> dict[str, tuple[str, ...]]:
    """Of each item of a set the others; sets are filled in the items' order."""
    unfilled: list[dict[str, str]] = []
    filled: list[dict[str, str]] = []
    for item in items[: round(IN_SETS * len(items))]:
        kind = item.category or item.item_id
        found = next((one for one in unfilled if kind not in one), None)
        if found is None:
            unfilled.append(found := {})
        found[kind] = item.item_id
        if len(found) == SET:
            unfilled.remove(found)
            filled.append(found)
    every = [tuple(one.values()) for one in (*filled, *unfilled) if len(one) > 1]
    return {item_id: tuple(other for other in one if other != item_id) for one in every for item_id in one}


def _price_places(items: Sequence[Item]) -> dict[str, float]:
    """The place of each priced item among its category's prices, from 0 for the lowest to 1."""
    by_category: dict[str, list[tuple[float, str]]] = {}
    for item in items:
        if item.price is not None:
            by_category.setdefault(item.category, []).append((item.price, item.item_id))
    return {
        item_id: (place + 0.5) / len(own)
        for own in by_category.values()
        for place, (_, item_id) in enumerate(sorted(own))
    }
