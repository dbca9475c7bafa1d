"""How much more, or less, often each item and brand is touched than the model expects.

A model is trained now and then; what sells changes meanwhile, and much of an item's appeal is in no text. The ratio of
touches to expected touches says both within minutes: random effects of items beside the model's fixed effects, as in
GLMix (Zhang et al., KDD 2016), here under Poisson counts with gamma priors, so that each ratio is a quotient of sums.
Brands shrink to the shop's ratio, items to their brand's. Knows nothing of models, Kafka or Redis.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

Number = TypeVar("Number", float, npt.NDArray[np.float64])

PRIOR = 4.0
"""Expected touches that weigh as much as what is measured."""

MOST = 20_000
"""Ratios that are kept; beyond it those with the fewest expected touches are dropped, down to three quarters."""

LEAST = 1e-3
"""Expected touches below which a ratio says nothing and is dropped."""


class Key(NamedTuple):
    """What a ratio is of: a ``place``, a ``brand`` or an ``item``; a place is a surface's position."""

    kind: str
    name: str


class Counts(NamedTuple):
    """Expected touches and touches, both as of a time (ms)."""

    expected: float
    touched: float
    ts: int


class Shown(NamedTuple):
    """One item on a page: where it stood, the probability that the model gave to a touch, and whether there was one."""

    ts: int
    surface: str
    position: int
    item_id: str
    brand: str
    probability: float
    touched: bool


class ClickEffects:
    """Counts what is expected and what happens, both halved in each half-life of the shown items' time.

    Items low on a page are touched less whatever they are, so what is expected of an item and a brand is the model's
    probability times the ratio of the place.

    Parameters
    ----------
    half_life_ms
        After which what is counted weighs half.

    Attributes
    ----------
    changed
        What was counted since the owner last emptied it.

    Examples
    --------
    >>> effects = ClickEffects(60_000)
    >>> for n in range(200):
    ...     effects.update(Shown(n, "feed", 0, "a" if n % 2 else "b", "", 0.25, n % 8 == 1))
    >>> found = Effects.of([effects.get()], 200)
    >>> [round(ratio(found.items[item]), 2) for item in "ab"]
    [1.49, 0.2]
    """

    def __init__(self, half_life_ms: float, counts: Mapping[Key, Counts] | None = None) -> None:
        self.half_life_ms = half_life_ms
        self._counts = dict(counts or {})
        self.changed: set[Key] = set()

    def update(self, shown: Shown) -> None:
        """Count one item of a page."""
        place = Key("place", f"{shown.surface}.{shown.position}")
        before = self._now(place, shown.ts)
        self._add(place, before, shown.probability, shown.touched)
        expected = shown.probability * ratio(before)
        for key in (Key("item", shown.item_id), Key("brand", shown.brand)):
            if key.name:
                self._add(key, self._now(key, shown.ts), expected, shown.touched)

    def get(self) -> Mapping[Key, Counts]:
        """All counts."""
        return self._counts

    def trim(self) -> list[Key]:
        """Where there is no room for all, drop what says nothing any more and what is expected least; returns it."""
        if len(self._counts) <= MOST:
            return []
        newest = max((one.ts for one in self._counts.values()), default=0)
        weight = {key: self._now(key, newest).expected for key in self._counts}
        kept = sorted((key for key in weight if weight[key] >= LEAST), key=weight.__getitem__, reverse=True)
        kept = kept[: MOST * 3 // 4]  # not just to MOST, as then each new one would cost a look at all
        dropped = list(self._counts.keys() - set(kept))
        for key in dropped:
            del self._counts[key]
        self.changed.difference_update(dropped)
        return dropped

    def _now(self, key: Key, ts: int) -> Counts:
        found = self._counts.get(key)
        return Counts(0.0, 0.0, ts) if found is None else decayed(found, ts, self.half_life_ms)

    def _add(self, key: Key, before: Counts, expected: float, touched: bool) -> None:
        self._counts[key] = Counts(before.expected + expected, before.touched + touched, before.ts)
        self.changed.add(key)


def decayed(counts: Counts, ts: int, half_life_ms: float) -> Counts:
    """Counts as of a later time; an earlier time changes nothing.

    Examples
    --------
    >>> decayed(Counts(8.0, 4.0, 0), 2_000, 1_000)
    Counts(expected=2.0, touched=1.0, ts=2000)
    """
    if ts <= counts.ts:
        return counts
    weight = 2.0 ** (-(ts - counts.ts) / half_life_ms)
    return Counts(counts.expected * weight, counts.touched * weight, ts)


def ratio(counts: Counts, prior: float = 1.0) -> float:
    """Touches for each expected one: the posterior mean under a gamma prior with mean ``prior``.

    Examples
    --------
    >>> ratio(Counts(0.0, 0.0, 0), 0.5), ratio(Counts(36.0, 6.0, 0))
    (0.5, 0.25)
    """
    return posterior(counts.expected, counts.touched, prior)


def posterior(expected: Number, touched: Number, prior: Number) -> Number:
    """The ratio of touches to expected ones, as :func:`ratio`; of numbers, or of arrays [n]."""
    return (touched + PRIOR * prior) / (expected + PRIOR)


@dataclass(frozen=True, slots=True)
class Effects:
    """The ratios of brands and items, from the counts of all who count.

    Attributes
    ----------
    brands
        By brand its ratio.
    items
        By item what is counted of it.
    """

    brands: Mapping[str, float]
    items: Mapping[str, Counts]

    @classmethod
    def of(cls, parts: Iterable[Mapping[Key, Counts]], now_ms: int, half_life_ms: float = 86_400_000.0) -> "Effects":
        """From the counts of each part, as of a time."""
        sums: dict[Key, Counts] = {}
        for counts in parts:
            for key, counted in counts.items():
                one = decayed(counted, now_ms, half_life_ms)
                held = sums.get(key, Counts(0.0, 0.0, now_ms))
                sums[key] = Counts(held.expected + one.expected, held.touched + one.touched, now_ms)
        brands = {key.name: ratio(one) for key, one in sums.items() if key.kind == "brand"}
        return cls(brands, {key.name: one for key, one in sums.items() if key.kind == "item"})
