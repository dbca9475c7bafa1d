"""What a shopper did with each item: the memory that the behaviour features of a feed are computed from.

Pure: values of one shopper, by item place. ``remember.lua`` keeps the same values in Redis. Knows nothing of how items
are scored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from streams.features.items import DAY_MS, Floats, Places, forward

NOTHING = np.zeros(0, np.int64)
PLACE = (1 << 32) - 1
"""The bits of a key that are the place."""

HALF_LIFE = 30.0
"""Of a shopper's demand for an item, in days."""

MOST_ITEMS = 400
MOST_VISITS = 64

ROW = np.dtype([("times", "<u4"), ("demand", "<f8"), ("first", "<u4"), ("last", "<u4"), ("touched", "<u4")])
"""An item of a shopper: purchases, forward-decayed demand in units of a purchase, the first and the last purchase (s;
0: never), and the last touch (s)."""

Rows = npt.NDArray[np.void]


@dataclass(frozen=True, slots=True, eq=False)
class OwnItems:
    """The items of a shopper, by place, the one touched last first; and the times of visits (ms), ascending.

    Attributes
    ----------
    places
        int64 [m].
    times, demand, touched_ms
        float64 [m]: purchases; demand, forward-decayed; last touch.
    first_ms, last_ms
        float64 [m]: the first and the last purchase; NaN: never.
    visits_ms
        float64 [v].
    variants
        By the place of a group the id of the shopper's own variant: of those that were bought the one bought last, else
        the one touched last.
    """

    places: Places
    times: Floats
    demand: Floats
    first_ms: Floats
    last_ms: Floats
    touched_ms: Floats
    visits_ms: Floats
    variants: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, places: Places, rows: Rows, visits_s: Sequence[int], variants: Mapping[int, str] | None = None
    ) -> "OwnItems":
        """From the rows of items, [m] of :data:`ROW`, and the times of visits. Items that were touched last at the same
        time keep their order. Rows of one place become one: times and demand are sums."""
        order = np.argsort(-rows["touched"].astype(np.int64), kind="stable")
        places, rows = places[order], rows[order]
        if variants:
            places, rows = _merged(places, rows)
        bought = rows["times"] > 0
        return cls(
            places,
            rows["times"].astype(np.float64),
            np.where(np.isfinite(rows["demand"]), rows["demand"], 0.0),
            np.where(bought, rows["first"] * 1000.0, np.nan),
            np.where(bought, rows["last"] * 1000.0, np.nan),
            rows["touched"] * 1000.0,
            np.sort(np.asarray(visits_s, np.float64)) * 1000.0,
            variants or {},
        )

    def since(self, ts: int) -> Floats:
        """Days since each item was touched last, float64 [m]; never below zero."""
        found: Floats = np.maximum(0.0, ts - self.touched_ms) / DAY_MS
        return found

    def gap(self) -> float:
        """Mean days between visits; NaN for one visit or none."""
        visits = self.visits_ms
        return float((visits[-1] - visits[0]) / DAY_MS / (len(visits) - 1)) if len(visits) > 1 else float("nan")


def own_variants(ids: Sequence[str], places: Places, rows: Rows, of_group: npt.NDArray[np.bool_]) -> dict[int, str]:
    """Of each place of a group, given with the ids and rows of a shopper's items, the shopper's own variant.

    Parameters
    ----------
    of_group
        Which of the places are of groups, bool [m].

    Examples
    --------
    >>> rows = np.array([(1, 1.0, 5, 5, 5), (0, 0.2, 0, 0, 9), (0, 0.2, 0, 0, 9)], ROW)
    >>> own_variants(["cup-S", "cup-L", "rug"], np.array([7, 7, 8]), rows, np.array([True, True, False]))
    {7: 'cup-S'}
    """
    best: dict[int, tuple[tuple[bool, int], str]] = {}
    for number in np.flatnonzero(of_group).tolist():
        bought, last, touched = (int(rows[name][number]) for name in ("times", "last", "touched"))
        rank = (bought > 0, last if bought else touched)
        place = int(places[number])
        if place not in best or rank > best[place][0]:
            best[place] = rank, ids[number]
    return {place: name for place, (_, name) in best.items()}


def _merged(places: Places, rows: Rows) -> tuple[Places, Rows]:
    """The rows of each place as one, in the order of first places; rows come newest first."""
    _, first, at = np.unique(places, return_index=True, return_inverse=True)
    found, bought = rows[first], rows["times"] > 0
    for name in ("times", "demand"):
        found[name] = np.bincount(at, np.nan_to_num(rows[name].astype(np.float64), posinf=0.0, neginf=0.0), len(first))
    for name, extreme, empty in (("first", np.minimum, _LATEST_S), ("last", np.maximum, 0)):
        values = np.full(len(first), empty, np.int64)
        extreme.at(values, at[bought], rows[name][bought].astype(np.int64))
        found[name] = values
    order = np.argsort(first)
    return places[first[order]], found[order]


@dataclass(slots=True)
class Memory:
    """A shopper's items as they grow, visit by visit, in any order: what replays keep instead of Redis.

    Examples
    --------
    >>> memory = Memory()
    >>> _ = memory.add(np.array([4, 7]), 2 * DAY_MS)
    >>> memory.add(np.array([4]), DAY_MS)
    (array([1.728e+08]), array([1.728e+08]))
    >>> own = memory.get()
    >>> own.places.tolist(), own.times.tolist(), (own.visits_ms / DAY_MS).tolist()
    ([4, 7], [2.0, 1.0], [1.0, 2.0])
    """

    rows: dict[int, tuple[int, float, int, int, int]] = field(default_factory=dict)
    visits: set[int] = field(default_factory=set)

    def add(self, places: Places, ts: int) -> tuple[Floats, Floats]:
        """A visit at a time (ms) in which distinct items were bought; returns the times (ms) of each one's first and
        last purchase before, NaN where there was none."""
        at, weight = ts // 1000, float(forward(ts, HALF_LIFE))
        self.visits.add(at)
        if len(self.visits) > MOST_VISITS:
            self.visits.remove(min(self.visits))
        before = np.full((2, len(places)), np.nan)
        for column, place in enumerate(places.tolist()):
            times, demand, first, last, touched = self.rows.get(place, (0, 0.0, at, at, at))
            if times:
                before[:, column] = first * 1000.0, last * 1000.0
            self.rows[place] = (times + 1, demand + weight, min(first, at), max(last, at), max(touched, at))
            if len(self.rows) > MOST_ITEMS * 5 // 4:  # at once, as the worker does
                newest = sorted(self.rows, key=lambda one: (-self.rows[one][4], one))[:MOST_ITEMS]
                self.rows = {one: self.rows[one] for one in newest}
        return before[0], before[1]

    def get(self) -> OwnItems:
        """The items now; of those touched last at the same time the lowest place comes first."""
        places = sorted(self.rows)
        rows = np.array([self.rows[place] for place in places], ROW)
        return OwnItems.of(np.array(places, np.int64), rows, sorted(self.visits))

    def copy(self) -> "Memory":
        """One that can be added to alone."""
        return Memory(dict(self.rows), set(self.visits))


class Index:
    """Where keys stand in an array of distinct ones."""

    def __init__(self, keys: Places) -> None:
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]

    def find(self, keys: Places) -> Places:
        """The number of each key, int64; -1 where it is not there."""
        if not len(self._keys):
            return np.full(len(keys), -1)
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[at] == keys, self._order[at], -1)


def keys_of(shopper: Places, places: Places) -> Places:
    """One number for a shopper of a batch and a place."""
    found: Places = (shopper << 32) | places
    return found


class Owned:
    """The items of several shoppers, one shopper's after the other's, and what is known of each; arrays [m].

    Parameters
    ----------
    owns, ts
        The shoppers' items, and a time (ms) for each shopper.
    prices
        Logarithms of the prices of all items by place.
    """

    def __init__(self, owns: Sequence[OwnItems], ts: Sequence[int], prices: Floats) -> None:
        sizes = [len(own.places) for own in owns]
        shopper = np.repeat(np.arange(len(owns)), sizes)
        self.shoppers, self.shopper, self.most = len(owns), shopper, max(sizes, default=0)
        now = np.array(ts, np.float64)[shopper]

        def joined(name: str) -> Floats:
            return np.concatenate([getattr(own, name) for own in owns]) if owns else np.zeros(0)

        self.places = np.concatenate([NOTHING, *(own.places for own in owns)])
        self._index = Index(keys_of(shopper, self.places))
        self.times, last, first = joined("times"), joined("last_ms"), joined("first_ms")
        self.demand = joined("demand") / forward(now, HALF_LIFE)
        self.since_touched = np.maximum(0.0, now - joined("touched_ms")) / DAY_MS
        self.since_bought = np.where(self.times > 0, np.maximum(0.0, now - last) / DAY_MS, np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            self.interval = np.where(self.times > 1, (last - first) / DAY_MS / (self.times - 1), np.nan)
        self.gaps = np.array([own.gap() for own in owns])
        self.visits, self.visits_before, self.visits_since = _visits(owns, shopper, first, last)
        price = prices[self.places]
        weights = np.where(np.isnan(price), 0.0, np.maximum(self.times, 0.2))
        price = np.nan_to_num(price)
        total, sums, squares = (
            np.bincount(shopper, values, len(owns)) for values in (weights, weights * price, weights * price**2)
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            self.usual_price = np.where(total > 0, sums / total, np.nan)
            apart = np.maximum(0.01, squares / total - self.usual_price**2)
        self.price_spread = np.sqrt(np.where(total > 0, apart, 0.01))

    def find(self, keys: Places) -> Places:
        """The numbers of items of shoppers, given as keys; -1 for an item that is not the shopper's."""
        return self._index.find(keys)

    def columns(self) -> list[tuple[Floats, float]]:
        """The group ``own``, with the value for items that are not the shopper's."""
        since_first = np.maximum(1, self.visits - self.visits_before)
        return [
            (self.times, 0.0),
            (self.demand, 0.0),
            (self.times / np.maximum(1, self.visits), 0.0),
            (self.times / since_first, 0.0),
            (self.since_bought, np.nan),
            (np.where(self.times > 0, self.visits_since, np.nan), np.nan),
            (self.since_touched, np.nan),
        ]


_LATEST_MS = (1 << 43) - 1
_LATEST_S = (1 << 32) - 1


def _visits(owns: Sequence[OwnItems], shopper: Places, first: Floats, last: Floats) -> tuple[Places, Places, Places]:
    """Of each item, int64 [m], the shopper's visits, those before its first purchase and those after its last one."""
    counts = np.array([len(own.visits_ms) for own in owns], np.int64)
    ends = np.cumsum(counts)

    def keys(of: Places, times: Floats) -> Places:
        return (of << 43) | np.minimum(np.nan_to_num(times), _LATEST_MS).astype(np.int64)

    visits = np.concatenate([own.visits_ms for own in owns]) if owns else np.zeros(0)
    known = keys(np.repeat(np.arange(len(owns)), counts), visits)  # ascending, as each shopper's are
    before = np.searchsorted(known, keys(shopper, first), "left") - (ends - counts)[shopper]
    after = ends[shopper] - np.searchsorted(known, keys(shopper, last), "right")
    return counts[shopper], before, after
