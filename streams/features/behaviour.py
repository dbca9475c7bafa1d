"""Features of items for a shopper, from what shoppers did: one definition for replays of histories and for the worker.

Knows places of items, times and vectors; nothing of files, models, Redis, or of what is ranked with the features.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
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
    others, weights
        int64 and float32 [n, k]; weights of zero count for nothing.
    """

    def __init__(self, places: Places, others: Places, weights: Reals) -> None:
        self.others, self.weights = others, weights
        self._row = np.full(int(places.max(initial=-1)) + 1, -1)
        self._row[places] = np.arange(len(places))

    @classmethod
    def of(cls, places: Places, slots: npt.NDArray[np.int32], weights: npt.NDArray[np.floating]) -> "ItemModel":
        """From numbers of rows, int32 [n, k], -1 where there is none, and their weights [n, k].

        Examples
        --------
        >>> slots = np.array([[1], [-1]], np.int32)
        >>> ItemModel.of(np.array([4, 7]), slots, np.array([[2.0], [0]])).others.tolist()
        [[7], [4]]
        """
        return cls(places, places[np.maximum(slots, 0)], np.where(slots >= 0, weights, 0).astype(np.float32))

    @classmethod
    def cut(cls, dense: Reals, k: int) -> "ItemModel":
        """From all weights, float32 [n, n]: the k largest positive ones of each row.

        Examples
        --------
        >>> model = ItemModel.cut(np.array([[0, 2, 1], [1, 0, 0], [0, 0, 0]], np.float32), 1)
        >>> model.others[:2].tolist(), model.weights.tolist()
        ([[1], [0]], [[2.0], [1.0], [0.0]])
        """
        k = min(k, dense.shape[1])
        others = np.argpartition(-dense, k - 1, axis=1)[:, :k]
        return cls(np.arange(len(dense)), others, np.maximum(np.take_along_axis(dense, others, 1), 0))

    def sums(self, places: Places, weightings: Floats, count: int) -> Floats:
        """Of each of ``count`` items the weight that some items give it; once for each weighting of these.

        Parameters
        ----------
        places, weightings
            int64 [m] and float64 [w, m].

        Returns
        -------
        float64 [w, count]
        """
        rows = np.full(len(places), -1)
        inside = places < len(self._row)
        rows[inside] = self._row[places[inside]]
        rows, weightings = rows[rows >= 0], weightings[:, rows >= 0]
        others, weights = self.others[rows], self.weights[rows]
        flat = others.ravel()
        return (
            np.stack([np.bincount(flat, (one[:, None] * weights).ravel(), count)[:count] for one in weightings])
            if len(flat)
            else np.zeros((len(weightings), count))
        )

    def given(self, places: Places, other: int) -> Floats:
        """The weight that each of some items gives to another one, float64 [m]."""
        if not len(self._row):
            return np.zeros(len(places))
        inside = np.minimum(places, len(self._row) - 1)
        rows = np.where(inside == places, self._row[inside], -1)
        found: Floats = np.where(self.others[rows] == other, self.weights[rows], 0.0).max(1, initial=0.0)
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
    """What is known of every item for one shopper at a time (ms); ``together`` and ``linear`` are float64 [5, n] and
    [3, n], rows as in :data:`GROUPS`; ``linear`` is None without a model. ``anchors`` says what these are owed to."""

    ts: int
    own: OwnItems
    since: Floats
    together: Floats
    linear: Floats | None
    anchors: Anchors


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

    def scores(self, own: OwnItems, ts: int, model: ItemModel | None = None) -> Scores:
        """What is known of every item for a shopper; ``model`` is an item-to-item model over the same places."""
        since = own.since(ts)
        linear = None
        if model is not None:
            places, days = own.places[:LINEAR_OWN], since[:LINEAR_OWN]
            weightings = np.stack([np.ones(len(days)), np.exp2(-days / 30), _recent(days)])
            linear = model.sums(places, weightings, len(self.items))
        together, (others, number, worth) = self._together(own, since, ts)
        anchors = Anchors(own.places, since, others, number, worth, model)
        return Scores(ts, own, since, together, linear, anchors)

    def due(self, own: OwnItems, ts: int) -> npt.NDArray[np.bool_]:
        """Which of a shopper's items may be offered again, bool [m]: bought ones only once they :func:`are_due`."""
        since = np.where(own.times > 0, (ts - np.nan_to_num(own.last_ms)) / DAY_MS, np.inf)
        due = are_due(self.items.repeated(own.places), since, self.items.intervals(own.places))
        found: npt.NDArray[np.bool_] = (own.times == 0) | due
        return found

    def _together(self, own: OwnItems, since: Floats, ts: int) -> tuple[Floats, tuple[Places, Places, Floats]]:
        count, values = len(self.items), self.items.values
        found = np.zeros((len(GROUPS["together"]), count))
        places = own.places[:PAIRED_OWN]
        rows = [self.pairs.row(place) for place in places.tolist()]
        lengths = [len(others) for others, _ in rows]
        if not sum(lengths):
            return found, (places[:0], places[:0], since[:0])
        others = np.concatenate([row[0] for row in rows])
        counts = np.concatenate([row[1] for row in rows])
        number = np.repeat(np.arange(len(places)), lengths)
        theirs = np.maximum(counts, values[others, VISITS])
        mine = np.maximum(counts, values[places, VISITS][number])
        cosines = counts / np.sqrt(theirs * mine)
        unit = visit_weight(ts)
        shares = counts / unit / (theirs / unit + 1.0)
        month = np.exp2(-since[: len(places)] / 30)[number]
        last = since[: len(places)][number] <= since[0] + 1 / 24
        found[0] = np.bincount(others, cosines, count)
        found[1] = np.bincount(others, month * cosines, count)
        most = (0.3 + month) * cosines
        np.maximum.at(found[2], others, most)
        found[3] = np.bincount(others, shares, count)
        found[4] = np.bincount(others, last * cosines, count)
        return found, (others, number, most)

    def candidates(self, scores: Scores, limits: Mapping[str, int]) -> dict[str, Places]:
        """The best items of each source that is named with a limit, best first.

        ``own`` are the shopper's items by demand; ``linear``, ``together``, ``week``, ``day`` and ``new`` are others.
        """
        own = np.zeros(len(self.items), np.bool_)
        own[scores.own.places] = True
        found: dict[str, Places] = {}
        for source, limit in limits.items():
            match source:
                case "own":
                    found[source] = _best(scores.own.places, scores.own.demand, limit)
                case "together":
                    found[source] = _positive(scores.together[1], own, limit)
                case "linear" if scores.linear is not None:
                    found[source] = _positive(scores.linear[2], own, limit)
                case "week" | "day" | "new":
                    listed: Places = getattr(self.lists, source)
                    found[source] = listed[~own[listed]][:limit]
        return found

    def features(self, scores: Scores, places: Places, text: Floats) -> Reals:
        """Features of some items, float32 [n, F], columns as :data:`FEATURES`; NaN where something is not known.

        Parameters
        ----------
        text
            float [n, 3]: :func:`text_matches` of the same items.
        """
        items, own, ts = self.items, scores.own, scores.ts
        values = items.values[places]
        demand = items.demand(ts, places)
        _, day, week, month, quarter = demand.T
        at = np.full(len(items), -1)
        at[own.places] = np.arange(len(own.places))
        mine = at[places]
        price = items.prices[places]
        weights = np.where(np.isnan(items.prices[own.places]), 0.0, np.maximum(own.times, 0.2))
        usual, spread = _mean_and_spread(np.nan_to_num(items.prices[own.places]), weights)
        together = scores.together[:, places]
        linear = np.full((3, len(places)), np.nan) if scores.linear is None else scores.linear[:, places]
        columns = [
            *np.log1p(demand).T,
            np.log((day + 0.5) / (week / 7 + 0.5)),
            np.log((week + 1) / (month * 7 / 30 + 1)),
            np.log((month + 2) / (quarter * 30 / 91 + 2)),
            *np.log1p(np.maximum(0.0, items.bought_by_new(ts, places))).T,
            np.log1p(values[:, BUYERS]),
            np.where(values[:, FIRST] > 0, np.maximum(0.0, ts - values[:, FIRST]) / DAY_MS, np.nan),
            price,
            items.repeated(places),
            price - usual,
            np.abs(price - usual) / spread,
            *self._own(own, mine, ts),
            *self._due(own, mine, places, ts),
            *together,
            *linear,
            *text.T,
        ]
        columns += [np.full(len(places), value) for value in _of_shopper(own, ts)]
        return np.column_stack(columns).astype(np.float32)

    def _own(self, own: OwnItems, mine: Places, ts: int) -> list[Floats]:
        """The group ``own``; ``mine`` are the numbers of the items among the shopper's, -1 where there is none."""
        visits = own.visits_ms
        count = len(visits)
        first, last = np.nan_to_num(own.first_ms), np.nan_to_num(own.last_ms)
        bought = own.times > 0
        known = {
            "times": own.times,
            "demand_own": own.demand / forward(ts, HALF_LIFE),
            "times_a_visit": own.times / max(1, count),
            "times_a_visit_since": own.times / np.maximum(1, count - np.searchsorted(visits, first, "left")),
            "days_since": np.where(bought, np.maximum(0.0, ts - last) / DAY_MS, np.nan),
            "visits_since": np.where(bought, count - np.searchsorted(visits, last, "right"), np.nan),
            "days_touched": own.since(ts),
        }
        empty = dict.fromkeys(("times", "demand_own", "times_a_visit", "times_a_visit_since"), 0.0)
        return [_taken(values, mine, empty.get(name, np.nan)) for name, values in known.items()]

    def _due(self, own: OwnItems, mine: Places, places: Places, ts: int) -> list[Floats]:
        """The group ``due``: the time since the last purchase against usual intervals."""
        intervals = np.log1p(self.items.intervals(places))
        since = np.where(own.times > 0, np.maximum(0.0, ts - own.last_ms) / DAY_MS, np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            interval = np.where(own.times > 1, (own.last_ms - own.first_ms) / DAY_MS / (own.times - 1), np.nan)
        of_own = _taken(since / (interval + 1), mine, np.nan)
        since_each = _taken(since, mine, np.nan)
        return [np.log1p(since_each) - intervals, of_own, since_each / (own.gap() + 1), intervals]


def text_matches(vectors: Reals, own: Reals, since: Floats) -> Floats:
    """The group ``text``: cosines of items to a shopper's newest items, float64 [n, 3].

    Parameters
    ----------
    vectors, own, since
        Unit vectors of the items, float32 [n, D], and of the shopper's, [m, D], newest first, with days [m] since each
        was touched. A vector of zeros is not known.
    """
    found = np.full((len(vectors), 3), np.nan)
    if len(own) and len(vectors):
        weights = np.exp2(-since / 30)
        centre = own.T @ weights.astype(np.float32)
        cosines = vectors @ own.T
        found[:, 0] = vectors @ (centre / max(float(np.linalg.norm(centre)), 1e-9))
        found[:, 1] = (cosines * (0.5 + 0.5 * weights)).max(1)
        found[:, 2] = cosines[:, :NEWEST].max(1)
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


def _positive(values: Floats, own: npt.NDArray[np.bool_], limit: int) -> Places:
    """The places of the highest values above zero that are not the shopper's own."""
    others = np.flatnonzero((values > 0) & ~own)
    return _best(others, values[others], limit)


def _mean_and_spread(values: Floats, weights: Floats) -> tuple[float, float]:
    """The weighted mean, NaN without weight, and deviation, at least 0.1."""
    total = float(weights.sum())
    if not total:
        return float("nan"), 0.1
    mean = float((weights * values).sum() / total)
    return mean, float(np.sqrt(max(0.01, float((weights * values**2).sum() / total) - mean**2)))


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
