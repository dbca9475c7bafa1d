"""What a shopper did with each item: the memory that the behaviour features of a feed are computed from.

Pure: values of one shopper, by item place. ``remember.lua`` keeps the same values in Redis. Knows nothing of how items
are scored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from models.compiled import compiled
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
T = TypeVar("T", bound=np.generic)


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
        visits_ms = np.sort(np.asarray(visits_s, np.float64)) * 1000.0
        return replace(cls._ordered(places, rows), visits_ms=visits_ms, variants=variants or {})

    @classmethod
    def each(
        cls, places: Places, rows: Rows, sizes: Sequence[int], visits_s: Sequence[Sequence[int]]
    ) -> "list[OwnItems]":
        """As :meth:`of` for several shoppers, whose items, as many as ``sizes`` says, stand one after the other; none
        has variants.

        Examples
        --------
        >>> rows = np.array([(1, 1.0, 5, 5, 5), (0, 0.2, 0, 0, 9), (0, 0.2, 0, 0, 7)], ROW)
        >>> [own.places.tolist() for own in OwnItems.each(np.array([7, 8, 7]), rows, [2, 1], [[5, 9], []])]
        [[8, 7], [7]]
        """
        shopper = np.repeat(np.arange(len(sizes)), sizes)
        order = np.argsort(keys_of(shopper, PLACE - rows["touched"].astype(np.int64)), kind="stable")
        whole = cls._ordered(places[order], rows[order])
        visits_ms = np.array([at for some in visits_s for at in sorted(some)], np.float64) * 1000.0
        found, end, last = [], 0, 0
        for size, some in zip(sizes, visits_s, strict=True):
            begin, end, first, last = end, end + size, last, last + len(some)
            one, at = slice(begin, end), slice(first, last)
            found.append(
                cls(
                    whole.places[one],
                    whole.times[one],
                    whole.demand[one],
                    whole.first_ms[one],
                    whole.last_ms[one],
                    whole.touched_ms[one],
                    visits_ms[at],
                )
            )
        return found

    @classmethod
    def _ordered(cls, places: Places, rows: Rows) -> "OwnItems":
        """Of items in their order, without visits."""
        bought = rows["times"] > 0
        return cls(
            places,
            rows["times"].astype(np.float64),
            np.where(np.isfinite(rows["demand"]), rows["demand"], 0.0),
            np.where(bought, rows["first"] * 1000.0, np.nan),
            np.where(bought, rows["last"] * 1000.0, np.nan),
            rows["touched"] * 1000.0,
            np.zeros(0),
        )


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


@compiled
def located(starts: Places, known: Places, wanted_starts: Places, wanted: Places, room: int) -> Places:
    """Where each wanted number stands among the known ones of its group, int64; -1 where it does not.

    Marks are written over an array that nobody clears, and believed where what they point to points back (a sparse set,
    Briggs & Torczon 1993): so the cost does not depend on ``room``.

    Parameters
    ----------
    starts, known
        Where the groups start, int64 [g + 1], and distinct numbers of each, from 0 and below ``room``.
    wanted_starts, wanted
        The same of the wanted ones; one that is negative, or not below ``room``, is nowhere.

    Examples
    --------
    >>> both = np.array([0, 2, 3])
    >>> located(both, np.array([7, 4, 4]), both, np.array([4, 9, 4]), 10).tolist()
    [1, -1, 2]
    """
    found, marks = np.full(len(wanted), -1), np.empty(room, np.int64)
    for group in range(len(starts) - 1):
        begin, end = starts[group], starts[group + 1]
        for number in range(begin, end):
            marks[known[number]] = number
        for number in range(wanted_starts[group], wanted_starts[group + 1]):
            if 0 <= wanted[number] < room:
                mark = marks[wanted[number]]
                if begin <= mark < end and known[mark] == wanted[number]:
                    found[number] = mark
    return found


@compiled
def numbered(starts: Places, values: Places, room: int) -> tuple[Places, Places, Places]:
    """The distinct numbers of each group, in the order in which they come first; as :func:`located`.

    Returns
    -------
    Where the distinct ones of each group start, int64 [g + 1]; where each came first, int64 [u]; and of each number
    which one it is, int64 [n].

    Examples
    --------
    >>> [found.tolist() for found in numbered(np.array([0, 3, 4]), np.array([5, 2, 5, 5]), 6)]
    [[0, 2, 3], [0, 1, 3], [0, 1, 0, 2]]
    """
    marks, begins, count = np.empty(room, np.int64), np.zeros(len(starts), np.int64), 0
    firsts, of = np.empty(len(values), np.int64), np.empty(len(values), np.int64)
    for group in range(len(starts) - 1):
        for number in range(starts[group], starts[group + 1]):
            mark = marks[values[number]]
            if not (begins[group] <= mark < count and values[firsts[mark]] == values[number]):
                mark = marks[values[number]] = count
                firsts[count] = number
                count += 1
            of[number] = mark
        begins[group + 1] = count
    return begins, firsts[:count].copy(), of


def parts(values: npt.NDArray[T], starts: Places) -> list[npt.NDArray[T]]:
    """Views of an array from each start to the next one.

    Examples
    --------
    >>> [part.tolist() for part in parts(np.arange(4), np.array([0, 3, 3, 4]))]
    [[0, 1, 2], [], [3]]
    """
    return [values[begin:end] for begin, end in pairwise(starts.tolist())]


def keys_of(shopper: Places, places: Places | npt.NDArray[np.int32]) -> Places:
    """One number for a shopper, or a shelf, of a batch and a place, or any number that is not negative."""
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

    Attributes
    ----------
    shopper, starts
        The number of each item's shopper, and where each shopper's items start, int64 [m] and [b + 1].
    """

    def __init__(self, owns: Sequence[OwnItems], ts: Floats, prices: Floats) -> None:
        sizes = [len(own.places) for own in owns]
        self.starts = np.cumsum([0, *sizes])
        self.shopper = shopper = np.repeat(np.arange(len(owns)), sizes)
        self.shoppers, self.most = len(owns), max(sizes, default=0)
        now = ts[shopper]

        def joined(name: str) -> Floats:
            return np.concatenate([getattr(own, name) for own in owns]) if owns else np.zeros(0)

        self.places = np.concatenate([NOTHING, *(own.places for own in owns)])
        self.times, last, first = joined("times"), joined("last_ms"), joined("first_ms")
        self.demand = joined("demand") / forward(now, HALF_LIFE)
        self.since_touched = np.maximum(0.0, now - joined("touched_ms")) / DAY_MS
        self.since_bought = np.where(self.times > 0, np.maximum(0.0, now - last) / DAY_MS, np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            self.interval = np.where(self.times > 1, (last - first) / DAY_MS / (self.times - 1), np.nan)
        counts = np.array([len(own.visits_ms) for own in owns], np.int64)
        visits_ms = joined("visits_ms")
        self.of_shoppers = self._of_shoppers(ts, counts, visits_ms)
        self.visits = counts[shopper]
        self.visits_before, self.visits_since = _visits(counts, visits_ms, shopper, first, last)
        self.usual_price, self.price_spread = self._prices(prices[self.places])

    def _of_shoppers(self, ts: Floats, counts: Places, visits_ms: Floats) -> Floats:
        """Of each shopper: visits, days since the last one, mean days between two, the share of purchases that were
        first ones, items, purchases a visit; float64 [6, b]."""
        ends, some = np.cumsum(counts), counts > 0
        newest, oldest = np.full((2, len(counts)), np.nan)
        newest[some], oldest[some] = visits_ms[ends[some] - 1], visits_ms[(ends - counts)[some]]
        gap = np.where(counts > 1, (newest - oldest) / DAY_MS / np.maximum(1, counts - 1), np.nan)
        bought, lines = (np.bincount(self.shopper, values, len(counts)) for values in (self.times > 0, self.times))
        lines = np.maximum(1.0, lines)
        since = np.maximum(0.0, ts - newest) / DAY_MS
        return np.stack([counts, since, gap, bought / lines, np.diff(self.starts), lines / np.maximum(1, counts)])

    def _prices(self, price: Floats) -> tuple[Floats, Floats]:
        """Of each shopper the usual price and its spread, float64 [b], given those of the items."""
        known = ~np.isnan(price)
        weights, price = np.where(known, np.maximum(self.times, 0.2), 0.0), np.where(known, price, 0.0)
        total, sums, squares = (
            np.bincount(self.shopper, values, self.shoppers)
            for values in (weights, weights * price, weights * price**2)
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            usual = np.where(total > 0, sums / total, np.nan)
            apart = np.maximum(0.01, squares / total - usual**2)
        return usual, np.sqrt(np.where(total > 0, apart, 0.01))

    @property
    def gaps(self) -> Floats:
        """Of each shopper the mean days between visits, float64 [b]; NaN for one visit or none."""
        found: Floats = self.of_shoppers[2]
        return found

    def newest(self, most: int) -> Places:
        """The numbers of the items of each shopper that were touched last."""
        return np.flatnonzero(np.arange(len(self.places)) - self.starts[self.shopper] < most)

    def each(self, values: npt.NDArray[T]) -> list[npt.NDArray[T]]:
        """The values of items, [m], by shopper; views."""
        return parts(values, self.starts)

    def find(self, starts: Places, places: Places, room: int) -> Places:
        """The numbers of items, each shopper's from its start on, int64 [b + 1]; -1 for one that is not the
        shopper's. All places are below ``room``."""
        return located(self.starts, self.places, starts, places, room)

    def columns(self) -> Floats:
        """The group ``own``, float64 [7, m]."""
        since_first = np.maximum(1, self.visits - self.visits_before)
        return np.stack(
            [
                self.times,
                self.demand,
                self.times / np.maximum(1, self.visits),
                self.times / since_first,
                self.since_bought,
                np.where(self.times > 0, self.visits_since, np.nan),
                self.since_touched,
            ]
        )


_LATEST_MS = (1 << 43) - 1
_LATEST_S = (1 << 32) - 1


def _visits(counts: Places, visits_ms: Floats, shopper: Places, first: Floats, last: Floats) -> tuple[Places, Places]:
    """Of each item, int64 [m], the shopper's visits before its first purchase and those after its last one."""
    ends = np.cumsum(counts)

    def keys(of: Places, times: Floats) -> Places:
        return (of << 43) | np.where(times < _LATEST_MS, times, _LATEST_MS).astype(np.int64)

    known = keys(np.repeat(np.arange(len(counts)), counts), visits_ms)  # ascending, as each shopper's are
    before = np.searchsorted(known, keys(shopper, first), "left") - (ends - counts)[shopper]
    after = ends[shopper] - np.searchsorted(known, keys(shopper, last), "right")
    return before, after
