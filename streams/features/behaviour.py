"""Features of items for a shopper, from what shoppers did: one definition for replays of histories and for the worker.

Knows places of items, times and vectors; nothing of files, models, Redis, or of what is ranked with the features.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.compiled import compiled
from streams.features.click_effects import Effects
from streams.features.item_model import LINEAR_OWN, ItemModel, Sums, recent
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
from streams.features.own import NOTHING, Owned, OwnItems, located, numbered, parts
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

*_, _PRICE, _OWN, _DUE, _TOGETHER, _LINEAR, _TEXT, _SHOPPER = (
    slice(FEATURES.index(names[0]), FEATURES.index(names[-1]) + 1) for names in GROUPS.values()
)

COLUMNS = f"1-{blake2b(' '.join(FEATURES).encode(), digest_size=4).hexdigest()}"
"""Names the features where their values are kept. Its first number changes where a feature's meaning does."""


@dataclass(frozen=True, slots=True, eq=False)
class Paired:
    """Items that were touched together with those of some shoppers.

    Attributes
    ----------
    sums
        The group ``together``.
    of, number, worth
        Of each pair, [p]: which of the others in the sums it is with, the number of the shopper's item, and the pair's
        value in ``together_most``.
    """

    sums: Sums
    of: Places
    number: Places
    worth: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What is known of items for some shoppers, of each at a time of its own (ms, float64 [b]).

    Attributes
    ----------
    owned
        The shoppers' items.
    room
        All places are below it.
    linear
        The group ``linear`` by row of the model; None without a model.
    """

    owns: Sequence[OwnItems]
    ts: Floats
    owned: Owned
    room: int
    paired: Paired
    model: ItemModel | None
    linear: Sums | None

    @property
    def since(self) -> list[Floats]:
        """Of each shopper's items the days since they were touched, float64 [m] each."""
        return self.owned.each(self.owned.since_touched)

    def anchors(self, shopper: Places, places: Places) -> Places:
        """Of each of some items the item of a shopper, by place, that gives most to it: of those it was touched
        together with, or else by the item-to-item model; int64 [k], -1 where none does.

        Parameters
        ----------
        shopper, places
            int64 [k] each, distinct pairs ordered by shopper.
        """
        owned, paired = self.owned, self.paired
        starts, found = np.searchsorted(shopper, np.arange(owned.shoppers + 1)), np.full(len(places), -1)
        at = paired.sums.find(starts, places, self.room)
        wanted = np.full(len(paired.sums.others), -1)
        wanted[at[at >= 0]] = np.flatnonzero(at >= 0)
        hit = np.flatnonzero(wanted[paired.of] >= 0)
        rising = hit[np.lexsort((-paired.number[hit], paired.worth[hit]))]
        found[wanted[paired.of[rising]]] = owned.places[paired.number[rising]]  # the last one, of the highest worth
        if self.model is not None:
            for row in np.flatnonzero(found < 0).tolist():
                begin, end = owned.starts[shopper[row] : shopper[row] + 2].tolist()
                mine = slice(begin, min(end, begin + LINEAR_OWN))
                given = self.model.given(owned.places[mine], int(places[row])) * recent(owned.since_touched[mine])
                if given.any():
                    found[row] = owned.places[mine][given.argmax()]
        return found

    def together_of(self, number: int, count: int) -> Floats:
        """The group ``together`` of all ``count`` items for a shopper, float64 [5, count]."""
        others, values = self.paired.sums.of(number)
        found = np.zeros((len(values), count))
        found[:, others] = values
        return found

    def linear_of(self, number: int, places: Places) -> Floats:
        """The group ``linear`` of some items for a shopper, float64 [3, m]; NaN without a model."""
        if self.model is None or self.linear is None:
            return np.full((len(GROUPS["linear"]), len(places)), np.nan)
        starts = np.where(np.arange(len(self.owns) + 1) > number, len(places), 0)
        return self.model.at(self.linear, starts, places)


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
            _best(known, items.order(WEEK, known), LISTED),
            _best(known, items.order(DAY, known), LISTED),
            _best(known, items.values[known, FIRST], LISTED),
        )

    def scores(self, owns: Sequence[OwnItems], ts: Sequence[int], model: ItemModel | None = None) -> Scores:
        """What is known of items for each shopper; ``model`` is an item-to-item model over the same places."""
        times = np.array(ts, np.float64)
        owned = Owned(owns, times, self.items.prices)
        linear = None
        if model is not None:
            newest = owned.newest(LINEAR_OWN)
            days = owned.since_touched[newest]
            weightings = np.stack([np.ones(len(days)), np.exp2(-days / 30), recent(days)])
            starts = np.searchsorted(owned.shopper[newest], np.arange(len(owns) + 1))
            linear = model.sums(starts, owned.places[newest], weightings)
        return Scores(owns, times, owned, len(self.items), self._paired(owned, ts), model, linear)

    def due(self, owns: Sequence[OwnItems], ts: Sequence[int]) -> list[npt.NDArray[np.bool_]]:
        """Which of each shopper's items may be offered again at a time (ms), bool [m]: bought ones only once they
        :func:`are_due`."""
        sizes = [len(own.places) for own in owns]
        places, times = (np.concatenate([getattr(own, name) for own in owns]) for name in ("places", "times"))
        last = np.concatenate([own.last_ms for own in owns])
        with np.errstate(invalid="ignore"):
            since = np.where(times > 0, (np.repeat(np.array(ts, np.float64), sizes) - last) / DAY_MS, np.inf)
        due = (times == 0) | are_due(self.items.repeated(places), since, self.items.intervals(places))
        return parts(due, np.cumsum([0, *sizes]))

    def _paired(self, owned: Owned, ts: Sequence[int]) -> Paired:
        numbers = owned.newest(PAIRED_OWN)
        places, days, owner = owned.places[numbers], owned.since_touched[numbers], owned.shopper[numbers]
        known = {place: self.pairs.row(place) for place in set(places.tolist())}
        rows = [known[place] for place in places.tolist()]
        lengths = [len(others) for others, _ in rows]
        own = np.repeat(np.arange(len(rows)), lengths)  # of each pair the number among all shoppers' items
        others = np.concatenate([NOTHING, *(row[0] for row in rows)])
        counts = np.concatenate([np.zeros(0), *(row[1] for row in rows)])
        shopper, visits = owner[own], self.items.values[:, VISITS]
        theirs = np.maximum(counts, visits[others])
        cosines = counts / np.sqrt(theirs * np.maximum(counts, visits[places][own]))
        unit = np.array([visit_weight(at) for at in ts])[shopper]
        month = np.exp2(-days / 30)[own]
        most = (0.3 + month) * cosines
        newest = np.zeros(owned.shoppers)
        newest[owner[::-1]] = days[::-1]  # that of the first item stays
        last = (days <= newest[owner] + 1 / 24)[own]
        shares = counts / unit / (theirs / unit + 1.0)
        bounds = np.searchsorted(shopper, np.arange(owned.shoppers + 1))
        starts, firsts, of = numbered(bounds, others, len(self.items))
        values = np.zeros((len(GROUPS["together"]), len(firsts)))
        for row, summed in ((0, cosines), (1, month * cosines), (3, shares), (4, last * cosines)):
            values[row] = np.bincount(of, summed, len(firsts))
        np.maximum.at(values[2], of, most)
        return Paired(Sums(starts, others[firsts], values), of, numbers[own], most)

    def candidates(self, scores: Scores, limits: Mapping[str, int]) -> list[dict[str, Places]]:
        """For each shopper the best items of each source that is named with a limit, best first.

        ``own`` are the shopper's items by demand; ``linear``, ``together``, ``week``, ``day`` and ``new`` are others.
        """
        owned, found = scores.owned, dict[str, Sequence[Places]]()
        for source, limit in limits.items():
            match source:
                case "own":
                    order = np.lexsort((owned.places, -owned.demand, owned.shopper))
                    found[source] = [some[:limit] for some in owned.each(owned.places[order])]
                case "together":
                    sums = scores.paired.sums
                    found[source] = _best_others(sums.starts, sums.others, sums.values[1], owned, scores.room, limit)
                case "linear" if scores.model is not None and scores.linear is not None:
                    linear = scores.linear
                    others = scores.model.places[linear.others]
                    found[source] = _best_others(linear.starts, others, linear.values[2], owned, scores.room, limit)
                case "week" | "day" | "new":
                    found[source] = self._listed(getattr(self.lists, source), owned, scores.room, limit)
        return [{source: lists[number] for source, lists in found.items()} for number in range(owned.shoppers)]

    def _listed(self, listed: Places, owned: Owned, room: int, limit: int) -> list[Places]:
        """For each shopper the first of a list that are not the shopper's own."""
        listed = listed[: limit + owned.most]
        free = np.ones((owned.shoppers, len(listed)), np.bool_)
        bounds = np.array([0, len(listed)])
        at = located(bounds, listed, np.array([0, len(owned.places)]), owned.places, room)
        free[owned.shopper[at >= 0], at[at >= 0]] = False
        shopper, column = np.nonzero(free & (np.cumsum(free, axis=1) <= limit))
        ends = np.searchsorted(shopper, np.arange(owned.shoppers + 1)).tolist()
        return [listed[column[begin:end]] for begin, end in pairwise(ends)]

    def features(self, scores: Scores, places: Sequence[Places], text: npt.NDArray[np.floating]) -> Reals:
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
        starts, shopper = np.cumsum([0, *sizes]), np.repeat(np.arange(len(sizes)), sizes)
        every = np.concatenate([NOTHING, *places])
        found, room = np.empty((len(FEATURES), len(every)), np.float32), len(self.items)
        for row, values in enumerate(self._of_items(every, scores.ts, shopper)):
            found[row] = values
        self._of_owned(found, scores.owned, scores.owned.find(starts, every, room), shopper, every)
        found[_TOGETHER] = scores.paired.sums.at(starts, every, room)
        found[_LINEAR] = np.nan
        if scores.model is not None and scores.linear is not None:
            found[_LINEAR] = scores.model.at(scores.linear, starts, every)
        found[_TEXT] = text.T
        found[_SHOPPER] = scores.owned.of_shoppers[:, shopper]
        return found.T

    def _of_items(self, places: Places, ts: Floats, shopper: Places) -> list[Floats]:
        """The groups ``popularity`` and ``item``: what is the same for all shoppers at the times (ms) of some."""
        items = self.items
        demand, first = items.demand(ts, places, shopper).T, items.values[places, FIRST]
        _, day, week, month, quarter = demand
        return [
            *np.log1p(demand),
            np.log((day + 0.5) / (week / 7 + 0.5)),
            np.log((week + 1) / (month * 7 / 30 + 1)),
            np.log((month + 2) / (quarter * 30 / 91 + 2)),
            *np.log1p(np.maximum(0.0, items.bought_by_new(ts, places, shopper).T)),
            np.log1p(items.values[places, BUYERS]),
            np.where(first > 0, np.maximum(0.0, ts[shopper] - first) / DAY_MS, np.nan),
            items.prices[places],
            items.repeated(places),
        ]

    def _of_owned(self, found: Reals, owned: Owned, mine: Places, shopper: Places, places: Places) -> None:
        """Write the groups ``price``, ``own`` and ``due`` of rows; ``mine`` is each one's number among the owned
        items."""
        apart = self.items.prices[places] - owned.usual_price[shopper]
        found[_PRICE] = apart, np.abs(apart) / owned.price_spread[shopper]
        intervals = np.log1p(self.items.intervals(places))
        found[_OWN], found[_DUE] = _NOT_OWNED, np.nan
        found[_DUE.stop - 1] = intervals
        rows = np.flatnonzero(mine >= 0)
        some = mine[rows]
        since = np.log1p(owned.since_bought[some])
        found[_OWN, rows] = owned.columns()[:, some]
        of_own, of_visits = (
            owned.since_bought[some] / (owned.interval[some] + 1),
            since / (owned.gaps + 1)[shopper[rows]],
        )
        found[_DUE.start : _DUE.stop - 1, rows] = since - intervals[rows], of_own, of_visits


_NOT_OWNED = np.array([0.0] * 4 + [np.nan] * 3, np.float32)[:, None]


class Matches(NamedTuple):
    """How items' texts match those of a shopper's newest items.

    Attributes
    ----------
    features
        float32 [n, 3]: the group ``text``.
    nearest, cosines
        Which of the shopper's is the nearest, int64 [n], and how near it is, float32 [n]; 0 and NaN where it is not
        known.
    """

    features: Reals
    nearest: Places
    cosines: Reals


def text_matches(vectors: Iterable[Reals], owns: Sequence[Reals], since: Sequence[Floats], count: int) -> Matches:
    """Cosines of ``count`` items to each shopper's newest items, one shopper's rows after the other's.

    Parameters
    ----------
    vectors, owns, since
        For each shopper unit vectors of the items, float32 [k, D], and of the shopper's, [m, D], newest first, with
        days [m] since each was touched. A vector of zeros is not known; of an item whose vector is not finite nothing
        is.
    """
    found = Matches(
        np.full((count, 3), np.nan, np.float32), np.zeros(count, np.int64), np.full(count, np.nan, np.float32)
    )
    end = 0
    with np.errstate(invalid="ignore", over="ignore"):
        for some, own, days in zip(vectors, owns, since, strict=True):
            begin, end = end, end + len(some)
            if len(own):
                weights = np.exp2(days / -30).astype(np.float32)
                centre = weights @ own
                length = max(math.sqrt(centre @ centre), 1e-9)
                part = slice(begin, end)
                _match(some @ own.T, weights, length, found.features[part], found.nearest[part], found.cosines[part])
    return found


@compiled
def _match(cosines: Reals, weights: Reals, length: float, features: Reals, nearest: Places, best: Reals) -> None:
    """What :func:`text_matches` says of the items of one shopper, given their cosines to the shopper's, the weights of
    these, and the length of their weighted sum."""
    for row in range(len(cosines)):
        centre, newest, weighted, most, at = 0.0, -np.inf, -np.inf, -np.inf, 0
        for number in range(len(weights)):
            cosine = cosines[row, number]
            centre += weights[number] * cosine
            if cosine > most:
                most, at = cosine, number
            weighted = max(weighted, cosine * (np.float32(0.5) + np.float32(0.5) * weights[number]))
            if number < NEWEST:
                newest = max(newest, cosine)
        if np.isfinite(centre):
            features[row, 0], features[row, 1], features[row, 2] = centre / length, weighted, newest
            nearest[row], best[row] = at, most


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


def _best(places: Places, values: Floats, limit: int) -> Places:
    """The places of the highest values, best first; equal ones by place, also where the limit cuts them."""
    if 0 < limit < len(places):
        kept = values >= np.partition(values, -limit)[-limit]
        places, values = places[kept], values[kept]
    found: Places = places[np.lexsort((places, -values))][:limit]
    return found


def _best_others(starts: Places, others: Places, values: Floats, owned: Owned, room: int, limit: int) -> list[Places]:
    """For each shopper the others of the highest values above zero, without the shopper's own."""
    kept = (values > 0) & (owned.find(starts, others, room) < 0)
    ends = np.concatenate([[0], np.cumsum(kept)])[starts].tolist()
    others, values = others[kept], values[kept]
    return [_best(others[begin:end], values[begin:end], limit) for begin, end in pairwise(ends)]
