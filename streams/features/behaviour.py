"""Features of items for a shopper, from what shoppers did: one definition for replays of histories and for the worker.

Knows places of items, times and vectors; nothing of files, models, Redis, or of what is ranked with the features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from streams.features.click_effects import Effects
from streams.features.item_model import LINEAR_OWN, Anchors, ItemModel, recent
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
    visit_weight,
)
from streams.features.own import NOTHING, PLACE, Index, Owned, OwnItems, keys_of
from streams.features.pairs import Pairs, Rows

Reals = npt.NDArray[np.float32]

PAIRED_OWN = 30
"""So many of a shopper's newest items are looked up among the pairs, and compared by text."""

NEWEST = 15
REPEATED, DUE = 0.05, 0.05
"""From which share of repeats an item is bought again and again, and after which share of its usual interval."""

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
    owned: Owned
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

    week: Places = field(default_factory=lambda: NOTHING)
    day: Places = field(default_factory=lambda: NOTHING)
    new: Places = field(default_factory=lambda: NOTHING)


class Behaviour:
    """All statistics of a shop, and what they say of items for a shopper.

    Attributes
    ----------
    items
        By place.
    pairs
        Items touched in one visit.
    effects
        Touches of shown items beside what the model expected.
    """

    def __init__(self, items: ItemStatistics | None = None, pairs: Rows | None = None) -> None:
        self.items = ItemStatistics() if items is None else items
        self.pairs = Pairs() if pairs is None else pairs
        self.lists = Lists()
        self.effects = Effects({}, {})

    def refresh(self) -> None:
        """Compute what is the same for all shoppers. All demand falls alike, so its order is the same at any time."""
        items = self.items
        items.settle()
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
                weightings = np.stack([np.ones(len(days)), np.exp2(-days / 30), recent(days)])
                linear.append(model.sums(own.places[:LINEAR_OWN], weightings))
        owned = Owned(owns, ts, self.items.prices)
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
            keys, at = np.unique(keys_of(shopper, others), return_inverse=True)
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
        shopper, places = shopper[order], (keys & PLACE)[order]
        ends = np.searchsorted(shopper, np.arange(len(scores.owns) + 1)).tolist()
        return [places[begin : min(end, begin + limit)] for begin, end in pairwise(ends)]

    def _listed(self, listed: Places, owned: Owned, limit: int) -> list[Places]:
        """For each shopper the first of a list that are not the shopper's own."""
        listed = listed[: limit + owned.most]
        free = np.ones((owned.shoppers, len(listed)), np.bool_)
        at = Index(listed).find(owned.places)
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
        keys, ts = keys_of(shopper, every), scores.ts[shopper]
        found = np.empty((len(FEATURES), len(every)), np.float32)
        columns = [*self._of_items(every, ts), *self._of_owned(scores.owned, scores.owned.find(keys), shopper, every)]
        for column, values in zip(found, columns, strict=False):
            column[:] = values
        at = Index(scores.paired.keys).find(keys)
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

    def _of_owned(self, owned: Owned, mine: Places, shopper: Places, places: Places) -> list[Floats]:
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
    >>> are_due(np.array([0.5, 0.5, 0.01]), np.array([3.0, 1.0, 90.0]), np.array([30.0, 30.0, 30.0])).tolist()
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
