"""Features of items for a shopper, from what shoppers did: one definition for replays of histories and for the worker.

Knows places of items, times and vectors; nothing of files, models, Redis, or of what is ranked with the features.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise
from typing import Protocol

import numpy as np
import numpy.typing as npt

from streams.features.items import (
    BUYERS,
    DAY,
    DAY_MS,
    FIRST,
    VISITS,
    WEEK,
    Floats,
    ItemStatistics,
    Places,
    forward,
    visit_weight,
)
from streams.features.own import HALF_LIFE, Memory, OwnItems
from streams.features.shopper import shard

Reals = npt.NDArray[np.float32]

PAIRED_OWN = 30
"""So many of a shopper's newest items are looked up among the pairs, and compared by text."""

LINEAR_OWN = 100
"""So many of a shopper's newest items are looked up in the linear model."""

NOTHING = np.zeros(0, np.int64)
_PLACE = (1 << 32) - 1

NEWEST = 15
REPEATED, DUE = 0.05, 0.2
"""From which share of repeats an item is bought again and again, and after which share of its usual interval."""

MOST_PAIRED = 100
"""Items of a visit that count."""

MOST_NEIGHBOURS, CUT_AT, SHARDS = 50, 100, 8
"""Neighbours of an item in each shard; a longer row is cut once it holds more than the second number. The worker's
defaults: ``state.together_items`` and ``state.shards``."""

LISTED = 600
"""Items in the lists of the most bought and the newest, from which each shopper's candidates are taken."""

GROUPS: dict[str, tuple[str, ...]] = {
    "popularity": (
        *(f"demand_{name}" for name in ("hour", "day", "week", "month", "quarter")),
        *("day_of_week", "week_of_month", "month_of_quarter", "buyers_week", "buyers_month", "buyers"),
    ),
    "item": ("age", "price", "repeated"),
    "price": ("price_of_usual", "price_deviation"),
    "own": (
        "times",
        "demand_own",
        "times_a_visit",
        "times_a_visit_since",
        "days_since",
        "visits_since",
        "days_touched",
    ),
    "due": ("due_of_item", "due_of_own", "due_of_visits", "interval"),
    "together": ("together", "together_recent", "together_most", "together_share", "together_last"),
    "linear": ("linear", "linear_month", "linear_week"),
    "text": ("text_centre", "text_nearest", "text_newest"),
    "shopper": ("visits", "since_visit", "gap", "share_new", "items", "a_visit"),
}
"""Features by group, in the order of the columns."""

FEATURES = tuple(name for names in GROUPS.values() for name in names)

_TOGETHER, _LINEAR, _TEXT, _SHOPPER = (
    slice(FEATURES.index(GROUPS[name][0]), FEATURES.index(GROUPS[name][-1]) + 1)
    for name in ("together", "linear", "text", "shopper")
)

COLUMNS = f"1-{blake2b(' '.join(FEATURES).encode(), digest_size=4).hexdigest()}"
"""Names the features where their values are kept. Its first number changes where a feature's meaning does."""


class Rows(Protocol):
    """Of each item, others with a value."""

    def row(self, place: int) -> tuple[Places, Floats]:
        """The others' places, int64 [k], and their values, float64 [k]; empty where nothing is known."""


class Pairs:
    """How often two items were touched in one visit, forward-decayed; each visit adds to all pairs of its items.

    Exact until a row is cut: it then keeps the pairs of the highest cosine. A raw count would keep what is popular.
    Each shard has rows of its own, as in Redis, and an item's row is their sum.

    Parameters
    ----------
    most, cut_at
        Neighbours that a shard's row keeps when it is cut, and the length beyond which it is.

    Examples
    --------
    >>> pairs = Pairs()
    >>> for shard in (0, 3):
    ...     pairs.add(np.array([4, 7]), 1_577_836_800_000, shard=shard)
    >>> [found.tolist() for found in pairs.row(4)]
    [[7], [2.0]]
    """

    def __init__(self, most: int = MOST_NEIGHBOURS, cut_at: int = CUT_AT) -> None:
        self._most, self._cut_at = most, cut_at
        self._rows: dict[int, dict[int, dict[int, float]]] = {}
        self._visits: dict[int, dict[int, float]] = {}

    def add(self, places: Places, ts: int, before: Sequence[int] = (), shard: int = 0) -> None:
        """Pair distinct items of a visit at a time (ms) with each other, and with those that were in it before."""
        weight, visits = visit_weight(ts), self._visits.setdefault(shard, {})
        new, known = places.tolist(), list(before)
        for one in new:
            visits[one] = visits.get(one, 0.0) + weight
            for other in known:
                for a, b in ((one, other), (other, one)):
                    rows = self._rows.setdefault(a, {})
                    row = rows.setdefault(shard, {})
                    row[b] = row.get(b, 0.0) + weight
                    if len(row) > self._cut_at:
                        rows[shard] = self._cut(row, visits)
            known.append(one)

    def row(self, place: int) -> tuple[Places, Floats]:
        """An item's neighbours and their forward-decayed counts."""
        sums: dict[int, float] = {}
        for row in self._rows.get(place, {}).values():
            for other, count in row.items():
                sums[other] = sums.get(other, 0.0) + count
        return np.fromiter(sums, np.int64, len(sums)), np.fromiter(sums.values(), np.float64, len(sums))

    def _cut(self, row: dict[int, float], visits: Mapping[int, float]) -> dict[int, float]:
        def order(other: int) -> tuple[float, int]:
            return -row[other] / math.sqrt(max(row[other], visits[other])), other

        return {other: row[other] for other in sorted(row, key=order)[: self._most]}

    def stored(self) -> list[int]:
        """The length of each shard's rows."""
        return [len(row) for rows in self._rows.values() for row in rows.values()]


class ItemModel:
    """A linear item-to-item model, such as EASE: of each item the weights it gives to others.

    Parameters
    ----------
    places
        int64 [n], distinct: of which item each row is.
    rows, weights
        int64 and float32 [n, k]: rows of others, and their weights; those of zero count for nothing.
    """

    def __init__(self, places: Places, rows: Places, weights: Reals) -> None:
        self.places, self.rows, self.weights = places, rows, weights
        self._row = np.full(int(places.max(initial=-1)) + 1, -1)
        self._row[places] = np.arange(len(places))

    @classmethod
    def of(cls, places: Places, slots: npt.NDArray[np.int32], weights: npt.NDArray[np.floating]) -> "ItemModel":
        """From numbers of rows, int32 [n, k], -1 where there is none, and their weights [n, k].

        Examples
        --------
        >>> slots = np.array([[1], [-1]], np.int32)
        >>> model = ItemModel.of(np.array([4, 7]), slots, np.array([[2.0], [0]]))
        >>> model.at(model.sums(np.array([4]), np.ones((1, 1))), np.array([7, 4, 9])).tolist()
        [[2.0, 0.0, 0.0]]
        """
        rows = np.maximum(slots, 0).astype(np.int64)
        return cls(places, rows, np.where(slots >= 0, weights, 0).astype(np.float32))

    @classmethod
    def cut(cls, dense: Reals, k: int) -> "ItemModel":
        """From all weights, float32 [n, n]: the k largest positive ones of each row.

        Examples
        --------
        >>> model = ItemModel.cut(np.array([[0, 2, 1], [1, 0, 0], [0, 0, 0]], np.float32), 1)
        >>> model.rows[:2].tolist(), model.weights.tolist()
        ([[1], [0]], [[2.0], [1.0], [0.0]])
        """
        k = min(k, dense.shape[1])
        rows = np.argpartition(-dense, k - 1, axis=1)[:, :k]
        return cls(np.arange(len(dense)), rows, np.maximum(np.take_along_axis(dense, rows, 1), 0))

    def find(self, places: Places) -> Places:
        """The rows of items, int64 [m]; -1 where an item has none."""
        if not len(self._row):
            return np.full(len(places), -1)
        inside = np.minimum(places, len(self._row) - 1)
        return np.where(inside == places, self._row[inside], -1)

    def sums(self, places: Places, weightings: Floats) -> Floats:
        """Of each row the weight that some items give it; once for each weighting of these.

        Parameters
        ----------
        places, weightings
            int64 [m] and float64 [w, m].

        Returns
        -------
        float64 [w, n]
        """
        mine = self.find(places)
        mine, weightings = mine[mine >= 0], weightings[:, mine >= 0]
        if not mine.size:
            return np.zeros((len(weightings), len(self.places)))
        flat, weights = self.rows[mine].ravel(), self.weights[mine]
        return np.stack([np.bincount(flat, (one[:, None] * weights).ravel(), len(self.places)) for one in weightings])

    def at(self, sums: Floats, places: Places) -> Floats:
        """Those sums [w, n] that are of some items, float64 [w, m]; zero for an item that has no row."""
        rows = self.find(places)
        found: Floats = sums[:, rows] if sums.shape[1] else np.zeros((len(sums), len(rows)))
        found[:, rows < 0] = 0.0
        return found

    def given(self, places: Places, other: int) -> Floats:
        """The weight that each of some items gives to another one, float64 [m]."""
        [row], rows = self.find(np.array([other])), self.find(places)
        if row < 0:
            return np.zeros(len(places))
        found: Floats = np.where(self.rows[rows] == row, self.weights[rows], 0.0).max(1, initial=0.0)
        found[rows < 0] = 0.0
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Anchors:
    """What says which of a shopper's own items gives most to another one.

    Attributes
    ----------
    own, since
        int64 [m] and float64 [m]: places of the shopper's items, the one touched last first, and days since.
    others, number, worth
        int64 [p], int64 [p] and float64 [p]: of each pair of items touched together the other item, the number of the
        shopper's own one, and the pair's value in ``together_most``.
    model
        An item-to-item model, if there is one.
    """

    own: Places
    since: Floats
    others: Places
    number: Places
    worth: Floats
    model: ItemModel | None

    def of(self, places: Places) -> Places:
        """Of each of some distinct items the shopper's own item, by place, that gives most to it: of those it was
        touched together with, or else by the item-to-item model; int64 [k], -1 where none does."""
        found = np.full(len(places), -1)
        if not len(places):
            return found
        order = np.argsort(places)
        ordered = places[order]
        at = np.minimum(np.searchsorted(ordered, self.others), len(places) - 1)
        hit = np.flatnonzero(ordered[at] == self.others)
        rising = hit[np.lexsort((-self.number[hit], self.worth[hit]))]
        found[order[at[rising]]] = self.own[self.number[rising]]  # the last one, of the highest worth, stays
        if self.model is not None:
            mine, weights = self.own[:LINEAR_OWN], _recent(self.since[:LINEAR_OWN])
            for row in np.flatnonzero(found < 0).tolist():
                given = self.model.given(mine, int(places[row])) * weights
                if given.any():
                    found[row] = mine[given.argmax()]
        return found


class _Index:
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


def _keys(shopper: Places, places: Places) -> Places:
    """One number for a shopper of a batch and a place."""
    found: Places = (shopper << 32) | places
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Paired:
    """Items that were touched together with those of some shoppers.

    Attributes
    ----------
    keys, values
        Of each shopper and such an item: the key, int64 [u] ascending, and the group ``together``, float64 [5, u].
    shopper, number, others, worth
        Of each pair, [p]: the shopper, the number of the shopper's item, the other item, and the pair's value in
        ``together_most``; ordered by shopper.
    """

    keys: Places
    values: Floats
    shopper: Places
    number: Places
    others: Places
    worth: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What is known of items for some shoppers, of each at a time of its own (ms, float64 [b]).

    Attributes
    ----------
    owned
        The shoppers' items.
    since
        Of each shopper's items the days since they were touched, float64 [m] each.
    linear
        Of each shopper the rows of the group ``linear`` by row of the model, float64 [3, n]; empty without a model.
    """

    owns: Sequence[OwnItems]
    ts: Floats
    owned: "_Owned"
    since: Sequence[Floats]
    paired: Paired
    model: ItemModel | None
    linear: Sequence[Floats]

    def anchors(self, number: int) -> Anchors:
        """What says which of a shopper's items gives most to another one."""
        paired = self.paired
        begin, end = np.searchsorted(paired.shopper, [number, number + 1]).tolist()
        pairs = (paired.others[begin:end], paired.number[begin:end], paired.worth[begin:end])
        return Anchors(self.owns[number].places, self.since[number], *pairs, self.model)

    def together_of(self, number: int, count: int) -> Floats:
        """The group ``together`` of all ``count`` items for a shopper, float64 [5, count]."""
        mine = self.paired.keys >> 32 == number
        found = np.zeros((len(GROUPS["together"]), count))
        found[:, self.paired.keys[mine] - (number << 32)] = self.paired.values[:, mine]
        return found

    def linear_of(self, number: int, places: Places) -> Floats:
        """The group ``linear`` of some items for a shopper, float64 [3, m]; NaN without a model."""
        if self.model is None:
            return np.full((len(GROUPS["linear"]), len(places)), np.nan)
        return self.model.at(self.linear[number], places)


@dataclass(slots=True)
class Lists:
    """What is the same for all shoppers at a time: the places of the most bought and the newest items, best first."""

    week: Places = field(default_factory=lambda: np.zeros(0, np.int64))
    day: Places = field(default_factory=lambda: np.zeros(0, np.int64))
    new: Places = field(default_factory=lambda: np.zeros(0, np.int64))


class Behaviour:
    """All statistics of a shop, and what they say of items for a shopper.

    Attributes
    ----------
    items
        By place.
    pairs
        Items touched in one visit.
    """

    def __init__(self, items: ItemStatistics | None = None, pairs: Rows | None = None) -> None:
        self.items = ItemStatistics() if items is None else items
        self.pairs = Pairs() if pairs is None else pairs
        self.lists = Lists()

    def refresh(self) -> None:
        """Compute what is the same for all shoppers. All demand falls alike, so its order is the same at any time."""
        items = self.items
        known = np.flatnonzero(items.known)
        self.lists = Lists(
            _best(known, items.order(WEEK)[known], LISTED),
            _best(known, items.order(DAY)[known], LISTED),
            _best(known, items.values[known, FIRST], LISTED),
        )

    def scores(self, owns: Sequence[OwnItems], ts: Sequence[int], model: ItemModel | None = None) -> Scores:
        """What is known of items for each shopper; ``model`` is an item-to-item model over the same places."""
        since = [own.since(at) for own, at in zip(owns, ts, strict=True)]
        linear = []
        if model is not None:
            for own, days in zip(owns, (some[:LINEAR_OWN] for some in since), strict=True):
                weightings = np.stack([np.ones(len(days)), np.exp2(-days / 30), _recent(days)])
                linear.append(model.sums(own.places[:LINEAR_OWN], weightings))
        owned = _Owned(owns, ts, self.items.prices)
        return Scores(owns, np.array(ts, np.float64), owned, since, self._paired(owns, since, ts), model, linear)

    def due(self, own: OwnItems, ts: int) -> npt.NDArray[np.bool_]:
        """Which of a shopper's items may be offered again, bool [m]: bought ones only once they :func:`are_due`."""
        since = np.where(own.times > 0, (ts - np.nan_to_num(own.last_ms)) / DAY_MS, np.inf)
        due = are_due(self.items.repeated(own.places), since, self.items.intervals(own.places))
        found: npt.NDArray[np.bool_] = (own.times == 0) | due
        return found

    def _paired(self, owns: Sequence[OwnItems], since: Sequence[Floats], ts: Sequence[int]) -> Paired:
        mine = [own.places[:PAIRED_OWN] for own in owns]
        sizes = [len(places) for places in mine]
        places, days = np.concatenate([NOTHING, *mine]), np.concatenate([some[:PAIRED_OWN] for some in since])
        owner = np.repeat(np.arange(len(owns)), sizes)
        rows = [self.pairs.row(place) for place in places.tolist()]
        lengths = [len(others) for others, _ in rows]
        own = np.repeat(np.arange(len(rows)), lengths)  # of each pair the number among all shoppers' items
        others = np.concatenate([NOTHING, *(row[0] for row in rows)])
        counts = np.concatenate([np.zeros(0), *(row[1] for row in rows)])
        starts = np.cumsum([0, *sizes])[:-1]
        shopper, visits = owner[own], self.items.values[:, VISITS]
        theirs = np.maximum(counts, visits[others])
        cosines = counts / np.sqrt(theirs * np.maximum(counts, visits[places[own]]))
        unit = np.array([visit_weight(at) for at in ts])[shopper]
        month = np.exp2(-days / 30)[own]
        most = (0.3 + month) * cosines
        if len(own):
            newest = days[np.minimum(starts, len(days) - 1)][shopper]
            keys, at = np.unique(_keys(shopper, others), return_inverse=True)
        else:
            newest, keys, at = cosines, NOTHING, NOTHING
        values = np.zeros((len(GROUPS["together"]), len(keys)))
        last = days[own] <= newest + 1 / 24
        shares = counts / unit / (theirs / unit + 1.0)
        for row, summed in ((0, cosines), (1, month * cosines), (3, shares), (4, last * cosines)):
            values[row] = np.bincount(at, summed, len(keys))
        np.maximum.at(values[2], at, most)
        return Paired(keys, values, shopper, own - starts[shopper], others, most)

    def candidates(self, scores: Scores, limits: Mapping[str, int]) -> list[dict[str, Places]]:
        """For each shopper the best items of each source that is named with a limit, best first.

        ``own`` are the shopper's items by demand; ``linear``, ``together``, ``week``, ``day`` and ``new`` are others.
        """
        owns, found = scores.owns, dict[str, Sequence[Places]]()
        for source, limit in limits.items():
            match source:
                case "own":
                    found[source] = [_best(own.places, own.demand, limit) for own in owns]
                case "together":
                    found[source] = self._best_paired(scores, limit)
                case "linear" if scores.model is not None:
                    found[source] = [
                        _best_linear(scores.model, own, linear[2], limit)
                        for own, linear in zip(owns, scores.linear, strict=True)
                    ]
                case "week" | "day" | "new":
                    found[source] = self._listed(getattr(self.lists, source), scores.owned, limit)
        return [{source: lists[number] for source, lists in found.items()} for number in range(len(owns))]

    def _best_paired(self, scores: Scores, limit: int) -> list[Places]:
        keys, values = scores.paired.keys, scores.paired.values[1]
        kept = (values > 0) & (scores.owned.find(keys) < 0)
        keys, values = keys[kept], values[kept]
        shopper = keys >> 32
        order = np.lexsort((keys, -values, shopper))
        shopper, places = shopper[order], (keys & _PLACE)[order]
        ends = np.searchsorted(shopper, np.arange(len(scores.owns) + 1)).tolist()
        return [places[begin : min(end, begin + limit)] for begin, end in pairwise(ends)]

    def _listed(self, listed: Places, owned: "_Owned", limit: int) -> list[Places]:
        """For each shopper the first of a list that are not the shopper's own."""
        listed = listed[: limit + owned.most]
        free = np.ones((owned.shoppers, len(listed)), np.bool_)
        at = _Index(listed).find(owned.places)
        free[owned.shopper[at >= 0], at[at >= 0]] = False
        shopper, column = np.nonzero(free & (np.cumsum(free, axis=1) <= limit))
        ends = np.searchsorted(shopper, np.arange(owned.shoppers + 1)).tolist()
        return [listed[column[begin:end]] for begin, end in pairwise(ends)]

    def features(self, scores: Scores, places: Sequence[Places], text: Floats) -> Reals:
        """Features of some items for each of some shoppers, float32 [n, F], one shopper's rows after the other's;
        columns as :data:`FEATURES`, NaN where something is not known.

        Parameters
        ----------
        places
            Of each shopper's items, distinct; n in all.
        text
            float [n, 3]: :func:`text_matches` of the same items.
        """
        sizes = [len(some) for some in places]
        shopper = np.repeat(np.arange(len(sizes)), sizes)
        every = np.concatenate([NOTHING, *places])
        keys, ts = _keys(shopper, every), scores.ts[shopper]
        found = np.empty((len(FEATURES), len(every)), np.float32)
        columns = [*self._of_items(every, ts), *self._of_owned(scores.owned, scores.owned.find(keys), shopper, every)]
        for column, values in zip(found, columns, strict=False):
            column[:] = values
        at = _Index(scores.paired.keys).find(keys)
        found[_TOGETHER] = np.where(at >= 0, scores.paired.values[:, at], 0.0) if len(scores.paired.keys) else 0.0
        found[_LINEAR] = np.nan
        if scores.model is not None:
            ends = np.cumsum(sizes).tolist()
            for number, (some, end) in enumerate(zip(places, ends, strict=True)):
                found[_LINEAR, end - len(some) : end] = scores.linear_of(number, some)
        found[_TEXT] = text.T
        of_shopper = [_of_shopper(own, at) for own, at in zip(scores.owns, scores.ts.tolist(), strict=True)]
        found[_SHOPPER] = np.array(of_shopper).reshape(-1, len(GROUPS["shopper"])).T[:, shopper]
        return found.T

    def _of_items(self, places: Places, ts: Floats) -> list[Floats]:
        """The groups ``popularity`` and ``item``: what is the same for all shoppers at the times (ms) of rows."""
        items = self.items
        values = items.values[places]
        demand = items.demand(ts, places)
        _, day, week, month, quarter = demand.T
        return [
            *np.log1p(demand.T),
            np.log((day + 0.5) / (week / 7 + 0.5)),
            np.log((week + 1) / (month * 7 / 30 + 1)),
            np.log((month + 2) / (quarter * 30 / 91 + 2)),
            *np.log1p(np.maximum(0.0, items.bought_by_new(ts, places).T)),
            np.log1p(values[:, BUYERS]),
            np.where(values[:, FIRST] > 0, np.maximum(0.0, ts - values[:, FIRST]) / DAY_MS, np.nan),
            items.prices[places],
            items.repeated(places),
        ]

    def _of_owned(self, owned: "_Owned", mine: Places, shopper: Places, places: Places) -> list[Floats]:
        """The groups ``price``, ``own`` and ``due`` of rows; ``mine`` is each one's number among the owned items."""
        apart = self.items.prices[places] - owned.usual_price[shopper]
        intervals = np.log1p(self.items.intervals(places))
        since = _taken(owned.since_bought, mine, np.nan)
        return [
            apart,
            np.abs(apart) / owned.price_spread[shopper],
            *(_taken(values, mine, empty) for values, empty in owned.columns()),
            np.log1p(since) - intervals,
            _taken(owned.since_bought / (owned.interval + 1), mine, np.nan),
            since / (owned.gaps + 1)[shopper],
            intervals,
        ]


class _Owned:
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
        self._index = _Index(_keys(shopper, self.places))
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


def text_matches(vectors: Sequence[Reals], owns: Sequence[Reals], since: Sequence[Floats]) -> Floats:
    """The group ``text``: cosines of items to each shopper's newest items, float64 [n, 3], one shopper's rows after the
    other's.

    Parameters
    ----------
    vectors, owns, since
        For each shopper unit vectors of the items, float32 [k, D], and of the shopper's, [m, D], newest first, with
        days [m] since each was touched. A vector of zeros is not known; of an item whose vector is not finite nothing
        is.
    """
    sizes, widths = [len(some) for some in vectors], [len(own) for own in owns]
    weights = np.zeros((len(owns), max(widths, default=0)), np.float32)
    for row, days in zip(weights, since, strict=True):
        row[: len(days)] = np.exp2(-days / 30)
    cosines = np.full((sum(sizes), weights.shape[1] + 1), -np.inf, np.float32)  # the centre's first
    end = 0
    with np.errstate(invalid="ignore", over="ignore"):
        for some, own, weight in zip(vectors, owns, weights, strict=True):
            begin, end = end, end + len(some)
            if len(own):
                centre = weight[: len(own)] @ own
                centre /= max(float(np.linalg.norm(centre)), 1e-9)
                cosines[begin:end, : len(own) + 1] = some @ np.concatenate([centre[None], own]).T
    found = np.full((len(cosines), 3), np.nan)
    if cosines.shape[1] > 1:
        shopper = np.repeat(np.arange(len(owns)), sizes)
        found[:, 0] = cosines[:, 0]
        found[:, 2] = cosines[:, 1 : NEWEST + 1].max(1)
        cosines[:, 1:] *= (np.float32(0.5) + np.float32(0.5) * weights)[shopper]
        found[:, 1] = cosines[:, 1:].max(1)
        found[~np.isfinite(found).all(1)] = np.nan
    return found


def are_due(
    repeated: npt.NDArray[np.floating], since: npt.NDArray[np.floating], intervals: npt.NDArray[np.floating]
) -> npt.NDArray[np.bool_]:
    """Which items that a shopper bought are due, bool [m].

    An item is due when its buyers come back for it, at least :data:`REPEATED` of them (shrunk towards the shop's
    share), and :data:`DUE` of the usual interval (days) has passed since (days); not where that is not known.

    Examples
    --------
    >>> are_due(np.array([0.5, 0.5, 0.01]), np.array([3.0, 1.0, 90.0]), np.array([10.0, 10.0, 10.0])).tolist()
    [True, False, False]
    """
    found: npt.NDArray[np.bool_] = (repeated >= REPEATED) & (since >= DUE * intervals)
    return found


def _taken(values: Floats, mine: Places, empty: float) -> Floats:
    """The values of the shopper's items at some items; elsewhere the empty one."""
    if not len(values):
        return np.full(len(mine), empty)
    found: Floats = np.where(mine >= 0, values[mine], empty)
    return found


def _best(places: Places, values: Floats, limit: int) -> Places:
    """The places of the highest values, best first; equal ones by place, also where the limit cuts them."""
    if 0 < limit < len(places):
        kept = values >= np.partition(values, -limit)[-limit]
        places, values = places[kept], values[kept]
    found: Places = places[np.lexsort((places, -values))][:limit]
    return found


def _recent(days: Floats) -> Floats:
    """How much a shopper's items that were touched so many days ago count in ``linear_week``."""
    found: Floats = 0.2 + np.exp2(-days / 7)
    return found


def _best_linear(model: ItemModel, own: OwnItems, values: Floats, limit: int) -> Places:
    """The items to which a shopper's give most, above zero, without these themselves."""
    values = values.copy()
    mine = model.find(own.places)
    values[mine[mine >= 0]] = 0.0
    return _best(model.places[values > 0], values[values > 0], limit)


def _of_shopper(own: OwnItems, ts: float) -> tuple[float, ...]:
    """The group ``shopper``."""
    visits, lines = len(own.visits_ms), max(1.0, float(own.times.sum()))
    return (
        visits,
        max(0.0, ts - own.visits_ms[-1]) / DAY_MS if visits else float("nan"),
        own.gap(),
        float((own.times > 0).sum()) / lines,
        len(own.places),
        lines / max(1, visits),
    )


class ShopHistory:
    """Behaviour that grows by visits in which items were bought, with every shopper's memory: what replays keep.

    Parameters
    ----------
    hour_ms
        A shopper counts once for an item in an hour of this length, at its middle; what was touched in one hour is one
        visit.
    pairs
        Items bought together; rows are cut as a worker cuts them by default.

    Examples
    --------
    >>> history = ShopHistory()
    >>> for minute in (5, 6):
    ...     history.update("u1", ["a", "b"], np.zeros(2), minute * 60_000)
    >>> history.shoppers["u1"].get().times.tolist()
    [1.0, 1.0]
    """

    def __init__(self, hour_ms: int = 3_600_000, pairs: Pairs | None = None) -> None:
        self.items = ItemStatistics()
        self.pairs = Pairs() if pairs is None else pairs
        self.behaviour = Behaviour(self.items, self.pairs)
        self.shoppers: dict[str, Memory] = {}
        self._hour_ms = hour_ms
        self._cells: dict[tuple[str, int], list[int]] = {}

    def update(self, shopper: str, ids: Sequence[str], prices: Floats, ts: int) -> None:
        """Take purchases of one time (ms) in: distinct items and the logarithms of their prices."""
        hour = ts // self._hour_ms
        middle = hour * self._hour_ms + self._hour_ms // 2
        places = self.items.places(ids)
        self.items.prices[places] = prices
        counted = self._cells.setdefault((shopper, hour), [])
        new = places[~np.isin(places, counted)][: MOST_PAIRED - len(counted)]
        firsts, lasts = self.shoppers.setdefault(shopper, Memory()).add(new, middle)
        self.items.purchase(new, middle, firsts, lasts)
        self.items.touch(new, middle)
        self.pairs.add(new, middle, counted, shard(shopper, SHARDS))
        counted += new.tolist()
