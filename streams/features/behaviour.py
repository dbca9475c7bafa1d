"""Features of items for a shopper, from what shoppers did: one definition for replays of histories and for the worker.

Knows places of items, times and vectors; nothing of files, models, Redis, or of what is ranked with the features.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What is known of items for one shopper at a time (ms).

    Attributes
    ----------
    paired, together
        int64 [u] and float64 [5, u]: items that were touched together with the shopper's own, and the rows of the group
        ``together``; all other items have zero.
    linear
        float64 [3, n]: rows of the group ``linear``, by row of the item-to-item model; None without one.
    anchors
        What both are owed to.
    """

    ts: int
    own: OwnItems
    since: Floats
    paired: Places
    together: Floats
    linear: Floats | None
    anchors: Anchors

    def together_of(self, count: int) -> Floats:
        """The group ``together`` of all items, float64 [5, count]."""
        found = np.zeros((len(self.together), count))
        found[:, self.paired] = self.together
        return found

    def linear_of(self, places: Places) -> Floats:
        """The group ``linear`` of some items, float64 [3, m]; NaN without a model."""
        if self.linear is None or self.anchors.model is None:
            return np.full((len(GROUPS["linear"]), len(places)), np.nan)
        return self.anchors.model.at(self.linear, places)


class _Positions:
    """Where places stand in a list of distinct ones; it takes no longer for more items than are asked for."""

    def __init__(self) -> None:
        self._at = np.zeros(64, np.int64)

    def list(self, places: Places, count: int) -> None:
        """From now on, answer for these out of ``count`` places; of equal ones the last counts."""
        if len(self._at) < count:
            self._at = np.zeros(2 * count, np.int64)
        self._at[places] = np.arange(len(places))

    def find(self, listed: Places, places: Places) -> Places:
        """Where each of some places stands among those that were listed last, int64 [m]; -1 if it is not there."""
        if not len(listed):
            return np.full(len(places), -1)
        at = self._at[places]
        inside = np.where((at >= 0) & (at < len(listed)), at, 0)
        return np.where(listed[inside] == places, inside, -1)


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
        self._positions = _Positions()

    def refresh(self) -> None:
        """Compute what is the same for all shoppers. All demand falls alike, so its order is the same at any time."""
        items = self.items
        known = np.flatnonzero(items.known)
        self.lists = Lists(
            _best(known, items.order(WEEK)[known], LISTED),
            _best(known, items.order(DAY)[known], LISTED),
            _best(known, items.values[known, FIRST], LISTED),
        )

    def scores(self, own: OwnItems, ts: int, model: ItemModel | None = None) -> Scores:
        """What is known of every item for a shopper; ``model`` is an item-to-item model over the same places."""
        since = own.since(ts)
        linear = None
        if model is not None:
            places, days = own.places[:LINEAR_OWN], since[:LINEAR_OWN]
            weightings = np.stack([np.ones(len(days)), np.exp2(-days / 30), _recent(days)])
            linear = model.sums(places, weightings)
        paired, together, (others, number, worth) = self._together(own, since, ts)
        anchors = Anchors(own.places, since, others, number, worth, model)
        return Scores(ts, own, since, paired, together, linear, anchors)

    def due(self, own: OwnItems, ts: int) -> npt.NDArray[np.bool_]:
        """Which of a shopper's items may be offered again, bool [m]: bought ones only once they :func:`are_due`."""
        since = np.where(own.times > 0, (ts - np.nan_to_num(own.last_ms)) / DAY_MS, np.inf)
        due = are_due(self.items.repeated(own.places), since, self.items.intervals(own.places))
        found: npt.NDArray[np.bool_] = (own.times == 0) | due
        return found

    def _together(
        self, own: OwnItems, since: Floats, ts: int
    ) -> tuple[Places, Floats, tuple[Places, Places, Floats]]:
        """Of the items touched together with the shopper's: places, the group ``together``, and the pairs."""
        places = own.places[:PAIRED_OWN]
        rows = [self.pairs.row(place) for place in places.tolist()]
        lengths = [len(others) for others, _ in rows]
        if not sum(lengths):
            return places[:0], np.zeros((len(GROUPS["together"]), 0)), (places[:0], places[:0], since[:0])
        others = np.concatenate([row[0] for row in rows])
        counts = np.concatenate([row[1] for row in rows])
        number = np.repeat(np.arange(len(places)), lengths)
        visits = self.items.values[:, VISITS]
        theirs = np.maximum(counts, visits[others])
        mine = np.maximum(counts, visits[places][number])
        cosines = counts / np.sqrt(theirs * mine)
        unit = visit_weight(ts)
        shares = counts / unit / (theirs / unit + 1.0)
        month = np.exp2(-since[: len(places)] / 30)[number]
        last = since[: len(places)][number] <= since[0] + 1 / 24
        most = (0.3 + month) * cosines
        self._positions.list(others, len(self.items))
        first = self._positions.find(others, others) == np.arange(len(others))
        paired = others[first]
        self._positions.list(paired, len(self.items))
        at = self._positions.find(paired, others)
        found = np.zeros((len(GROUPS["together"]), len(paired)))
        for row, values in ((0, cosines), (1, month * cosines), (3, shares), (4, last * cosines)):
            found[row] = np.bincount(at, values, len(paired))
        np.maximum.at(found[2], at, most)
        return paired, found, (others, number, most)

    def candidates(self, scores: Scores, limits: Mapping[str, int]) -> dict[str, Places]:
        """The best items of each source that is named with a limit, best first.

        ``own`` are the shopper's items by demand; ``linear``, ``together``, ``week``, ``day`` and ``new`` are others.
        """
        mine, positions = scores.own.places, self._positions
        positions.list(mine, len(self.items))

        def others(places: Places) -> npt.NDArray[np.bool_]:
            return positions.find(mine, places) < 0

        found: dict[str, Places] = {}
        for source, limit in limits.items():
            match source:
                case "own":
                    found[source] = _best(mine, scores.own.demand, limit)
                case "together":
                    found[source] = _positive(scores.paired, scores.together[1], others, limit)
                case "linear" if scores.linear is not None and scores.anchors.model is not None:
                    found[source] = _positive(scores.anchors.model.places, scores.linear[2], others, limit)
                case "week" | "day" | "new":
                    listed: Places = getattr(self.lists, source)
                    found[source] = listed[others(listed)][:limit]
        return found

    def features(self, scores: Sequence[Scores], places: Sequence[Places], texts: Sequence[Floats]) -> Reals:
        """Features of some items for each of some shoppers, float32 [n, F], one shopper's rows after the other's;
        columns as :data:`FEATURES`, NaN where something is not known.

        Parameters
        ----------
        places
            Of each shopper's items, distinct; n in all.
        texts
            float [k, 3] each: :func:`text_matches` of the same items.
        """
        found = np.empty((len(FEATURES), sum(map(len, places))), np.float32)
        sizes = [len(some) for some in places]
        every = np.concatenate([*places, np.zeros(0, np.int64)])
        ts = np.repeat(np.array([one.ts for one in scores], np.float64), sizes)
        columns = [*self._of_items(every, ts), *self._of_shoppers(scores, places, every, ts)]
        for column, values in zip(found, columns, strict=False):
            column[:] = values
        end = 0
        for one, some, text in zip(scores, places, texts, strict=True):
            begin, end = end, end + len(some)
            self._positions.list(one.paired, len(self.items))
            at = self._positions.find(one.paired, some)
            together = one.together[:, at] if one.together.size else np.zeros((len(one.together), len(some)))
            together[:, at < 0] = 0.0
            found[_TOGETHER, begin:end] = together
            found[_LINEAR, begin:end] = one.linear_of(some)
            found[_TEXT, begin:end] = text.T
            found[_SHOPPER, begin:end] = np.array(_of_shopper(one.own, one.ts))[:, None]
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

    def _of_shoppers(
        self, scores: Sequence[Scores], places: Sequence[Places], every: Places, ts: Floats
    ) -> list[Floats]:
        """The groups ``price``, ``own`` and ``due``, of all rows."""
        owns = _Owned([one.own for one in scores], [one.ts for one in scores], self.items.prices)
        sizes = [len(some) for some in places]
        mine, end = np.full(len(every), -1), 0
        for one, some, begin in zip(scores, places, owns.starts, strict=True):
            at = slice(end, end + len(some))
            end = at.stop
            self._positions.list(one.own.places, len(self.items))
            found = self._positions.find(one.own.places, some)
            mine[at] = np.where(found >= 0, found + begin, -1)
        apart = self.items.prices[every] - np.repeat(owns.usual_price, sizes)
        intervals = np.log1p(self.items.intervals(every))
        since = _taken(owns.since_bought, mine, np.nan)
        return [
            apart,
            np.abs(apart) / np.repeat(owns.price_spread, sizes),
            *(_taken(values, mine, empty) for values, empty in owns.columns()),
            np.log1p(since) - intervals,
            _taken(owns.since_bought / (owns.interval + 1), mine, np.nan),
            since / np.repeat(owns.gaps + 1, sizes),
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
        self.starts = np.cumsum([0, *sizes[:-1]]).tolist() if sizes else []
        now = np.array(ts, np.float64)[shopper]

        def joined(name: str) -> Floats:
            return np.concatenate([getattr(own, name) for own in owns]) if owns else np.zeros(0)

        self.times, last, first = joined("times"), joined("last_ms"), joined("first_ms")
        self.demand = joined("demand") / forward(now, HALF_LIFE)
        self.since_touched = np.maximum(0.0, now - joined("touched_ms")) / DAY_MS
        self.since_bought = np.where(self.times > 0, np.maximum(0.0, now - last) / DAY_MS, np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            self.interval = np.where(self.times > 1, (last - first) / DAY_MS / (self.times - 1), np.nan)
        self.gaps = np.array([own.gap() for own in owns])
        self.visits, self.visits_before, self.visits_since = _visits(owns, shopper, first, last)
        price = prices[joined("places").astype(np.int64)]
        weights = np.where(np.isnan(price), 0.0, np.maximum(self.times, 0.2))
        price = np.nan_to_num(price)
        total, sums, squares = (
            np.bincount(shopper, values, len(owns)) for values in (weights, weights * price, weights * price**2)
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            self.usual_price = np.where(total > 0, sums / total, np.nan)
            apart = np.maximum(0.01, squares / total - self.usual_price**2)
        self.price_spread = np.sqrt(np.where(total > 0, apart, 0.01))

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


def _visits(
    owns: Sequence[OwnItems], shopper: Places, first: Floats, last: Floats
) -> tuple[Places, Places, Places]:
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


def text_matches(vectors: Reals, own: Reals, since: Floats) -> Floats:
    """The group ``text``: cosines of items to a shopper's newest items, float64 [n, 3].

    Parameters
    ----------
    vectors, own, since
        Unit vectors of the items, float32 [n, D], and of the shopper's, [m, D], newest first, with days [m] since each
        was touched. A vector of zeros is not known; of an item whose vector is not finite nothing is.
    """
    found = np.full((len(vectors), 3), np.nan)
    if len(own) and len(vectors):
        weights = np.exp2(-since / 30).astype(np.float32)
        centre = weights @ own
        centre /= max(float(np.linalg.norm(centre)), 1e-9)
        with np.errstate(invalid="ignore", over="ignore"):
            cosines = vectors @ np.concatenate([own, centre[None]]).T
        cosines[~np.isfinite(cosines).all(1)] = np.nan
        found[:, 0] = cosines[:, -1]
        found[:, 2] = cosines[:, : min(NEWEST, len(own))].max(1)
        cosines[:, :-1] *= np.float32(0.5) + np.float32(0.5) * weights
        found[:, 1] = cosines[:, :-1].max(1)
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


def _positive(
    places: Places, values: Floats, others: Callable[[Places], npt.NDArray[np.bool_]], limit: int
) -> Places:
    """Those of some places of the highest values above zero that are not the shopper's own."""
    kept = (values > 0) & others(places)
    return _best(places[kept], values[kept], limit)


def _of_shopper(own: OwnItems, ts: int) -> tuple[float, ...]:
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
