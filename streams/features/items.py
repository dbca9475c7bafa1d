"""Statistics of items: demand over several half-lives, who bought again, how long each has been sold.

Sums decay forward: a touch at time t adds ``2 ** ((t - origin) / half_life)``, and a reader divides by the weight of
its own time (Cormode et al., "Forward decay", ICDE 2009). So neither the order of touches nor their split over shards
matters. ``remember.lua`` keeps the same values for each shard and item. Variants of one product share a place, whose
statistics are the sums of theirs. Knows nothing of Redis, shoppers or catalogues.
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
Number = TypeVar("Number", float, Floats)

DAY_S = 86_400.0
DAY_MS = 86_400_000
ORIGIN_MS = 1_577_836_800_000
"""2020-01-01, from which all weights of a week's half-life and longer grow."""

MOST_HALF_LIVES = 1_000.0
"""From an origin; a double holds no more."""

REBASED = 200.0
"""Half-lives after which the origin of a short half-life moves on."""

HALF_LIVES = (1 / 24, 1.0, 7.0, 30.0, 91.0)
"""Of demand, in days: an hour, a day, a week, a month, a quarter."""

NEW_HALF_LIVES = (7.0, 30.0)
"""Of first purchases, in days."""

VISITS_HALF_LIFE = 90.0
"""Of visits, in days. They halve in steps, at the end of each such time from 2020 on; earlier ones weigh alike."""

SHRINKAGE = 5.0
"""How many repeats an item's own interval needs to weigh as much as the shop's."""

BUYERS_SHRINKAGE = 10.0
"""How many buyers an item's own share of repeats needs to weigh as much as the shop's."""

REUSED_AT = 10_000
"""Groups that no item is left of, from which their places are given to others: a shop may name groups anew daily."""

DAY, WEEK = 1, 2
"""Columns of demand whose order is asked for. That of a week grows from one origin for all items."""

DEMAND, NEW, VISITS, ORIGINS = slice(0, 5), slice(5, 7), 7, slice(8, 10)
BUYERS, REPEATS, DAYS, FIRST = 10, 11, 12, 13
WIDTH = 14
"""Columns of an item: :data:`DEMAND` by half-life in units of a purchase, shoppers' first purchases (:data:`NEW`),
visits in which it was touched, origins (ms) of the two short half-lives, shoppers who bought it, their further
purchases, days from each one's first purchase to the last, and the time (ms) of the first touch; 0: never."""


def forward(ts: int | float | Floats, days: float | Floats, origin: float | Floats = ORIGIN_MS) -> Floats:
    """The weight of what happens at a time (ms): doubles each half-life of so many days from the origin.

    Examples
    --------
    >>> float(forward(ORIGIN_MS + 14 * DAY_MS, 7.0))
    4.0
    """
    halves = (np.asarray(ts, np.float64) - origin) / (np.asarray(days) * DAY_MS)
    weights: Floats = np.exp2(np.clip(halves, -MOST_HALF_LIVES, MOST_HALF_LIVES))
    return weights


def visit_weight(ts: int) -> float:
    """The weight of a visit at a time (ms): a power of two, so that sums of them are exact.

    Examples
    --------
    >>> [visit_weight(ORIGIN_MS + days * DAY_MS) for days in (-900, 89, 90, 180)]
    [1.0, 1.0, 2.0, 4.0]
    """
    return float(2.0 ** max(0, int((ts - ORIGIN_MS) // (VISITS_HALF_LIFE * DAY_MS))))


def log_price(price: Number) -> Number:
    """The logarithm of a price, which may be zero.

    Examples
    --------
    >>> round(float(log_price(0.99)), 3)
    0.0
    """
    found: Number = np.log(price + 0.01)
    return found


class ItemStatistics:
    """Statistics of products by place: the number that an item's id has here. Grows with the ids.

    An item without variants is a product of its own. All items of a group have the group's place, and its statistics
    are their sums. An item may come to a group, and leave it, at any time: its own statistics go with it.

    Attributes
    ----------
    ids
        The id of the item at each place; of a group the variant in most demand this week, of equal ones the lowest id.
    of_group
        Which places are those of groups, bool [n].
    grouped
        Whether there is any group.
    moves
        How often an item that had a place got another one.
    counted
        Whether anything was ever touched.
    reuses
        How often places of groups that no item is left of were given to others: after it no place is what it was.
    values
        float64 [n, :data:`WIDTH`].
    prices
        float64 [n], logarithms of the prices now; NaN where there is none.

    Examples
    --------
    >>> items = ItemStatistics()
    >>> for day in (3, 0):
    ...     items.touch(items.places(["a"]), ORIGIN_MS + day * DAY_MS)
    >>> items.demand(ORIGIN_MS + 3 * DAY_MS).round(3).tolist()
    [[1.0, 1.125, 1.743, 1.933, 1.977]]
    >>> for size in ("cup-S", "cup-L"):
    ...     items.assign(size, "cup")
    ...     items.put(size, [items.values[0]])
    >>> items.settle()
    >>> items.places(["cup-S", "cup-L", "a"]).tolist(), items.demand(ORIGIN_MS + 3 * DAY_MS).round(3)[1].tolist()
    ([1, 1, 0], [2.0, 2.25, 3.486, 3.866, 3.955])
    """

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.moves = self.reuses = 0
        self.counted = False
        self._places: dict[str, int] = {}
        self._groups: dict[str, str] = {}
        self._group_places: dict[str, int] = {}
        self._alone: dict[str, int] = {}  # places of variants from when they were none
        # By a group's place each variant's own statistics, the best first.
        self._variants: dict[int, dict[str, Floats]] = {}
        self._emptied: dict[int, str] = {}  # by its place each group that no item is left of
        self._free: list[int] = []
        self._unsettled: set[int] = set()
        self._values, self._prices = np.zeros((64, WIDTH)), np.full(64, np.nan)
        self._of_group = np.zeros(64, np.bool_)
        self._usual: tuple[float, float] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._places

    @property
    def values(self) -> Floats:
        """float64 [n, WIDTH]; a view."""
        return self._values[: len(self.ids)]

    @property
    def prices(self) -> Floats:
        """float64 [n]; a view."""
        return self._prices[: len(self.ids)]

    @property
    def of_group(self) -> npt.NDArray[np.bool_]:
        """bool [n]; a view."""
        return self._of_group[: len(self.ids)]

    @property
    def grouped(self) -> bool:
        """Whether there is, or was, any group."""
        return bool(self._group_places)

    @property
    def groups(self) -> Mapping[str, str]:
        """The group of each item that has one."""
        return self._groups

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Which items were ever touched, bool [n]."""
        found: npt.NDArray[np.bool_] = self.values[:, FIRST] > 0
        return found

    def places(self, ids: Sequence[str]) -> Places:
        """The places of ids, new ones too, int64 [m]."""
        return np.fromiter((self._place(name) for name in ids), np.int64, len(ids))

    def find(self, ids: Sequence[str]) -> Places:
        """The places of those ids that have one, in their order."""
        get = self._places.get
        return np.array([place for name in ids if (place := get(name)) is not None], np.int64)

    def _place(self, name: str) -> int:
        place = self._places.get(name)
        if place is None:
            place = self._places[name] = self._new(name)
        return place

    def _new(self, name: str) -> int:
        place = len(self.ids)
        self.ids.append(name)
        if place >= len(self._values):
            self._values = np.concatenate([self._values, np.zeros_like(self._values)])
            self._prices = np.concatenate([self._prices, np.full_like(self._prices, np.nan)])
            self._of_group = np.concatenate([self._of_group, np.zeros_like(self._of_group)])
        return place

    def assign(self, item_id: str, group: str) -> None:
        """An item is a variant of a group from now on; with an empty one it is a product of its own. :meth:`settle`
        makes the sums."""
        if self._groups.get(item_id, "") == group:
            return
        old, row = self._places.get(item_id), self._taken_out(item_id)
        if group:
            place = self._group_places.get(group)
            if place is None:
                place = self._group_places[group] = self._free.pop() if self._free else self._new(item_id)
                self._variants[place], self._of_group[place] = {}, True
            self._emptied.pop(place, None)
            self._groups[item_id], self._variants[place][item_id] = group, row
            self._unsettled.add(place)
        else:
            del self._groups[item_id]
            alone = self._alone.pop(item_id, None)
            place = self._new(item_id) if alone is None else alone
            self._values[place] = row
        self._places[item_id] = place
        if old is not None:
            self.moves += 1

    def _taken_out(self, item_id: str) -> Floats:
        """An item's own statistics, which are no longer where they were."""
        place = self._places.get(item_id)
        if place is None:
            return _NOTHING
        if item_id in self._groups:
            self._unsettled.add(place)
            held = self._variants[place]
            if len(held) == 1:
                self._emptied[place] = self._groups[item_id]
            return held.pop(item_id)
        row: Floats = self._values[place].copy()
        self._values[place], self._prices[place], self._alone[item_id] = 0.0, np.nan, place
        return row

    def put(self, item_id: str, shards: Sequence[Floats]) -> None:
        """Replace an item's statistics by the sum of what the shards hold, float64 [WIDTH] each; :meth:`settle` makes
        those of groups."""
        place, total, self._usual = self._place(item_id), _total(shards), None
        self.counted = self.counted or bool(total[FIRST] > 0)
        if self._of_group[place]:
            self._variants[place][item_id] = total
            self._unsettled.add(place)
        else:
            self._values[place] = total

    def settle(self) -> None:
        """Make the sums of the groups whose items changed."""
        for place in self._unsettled:
            held = self._variants[place]
            best = sorted(held, key=lambda name: (-held[name][WEEK], name))
            self._variants[place] = {name: held[name] for name in best}
            self._values[place], self._usual = _total(list(held.values())), None
            if best:
                self.ids[place] = best[0]
        self._unsettled.clear()
        if len(self._emptied) >= REUSED_AT:
            for place, group in self._emptied.items():
                del self._group_places[group]
                self._prices[place] = np.nan
            self._free += self._emptied
            self._emptied.clear()
            self.reuses += 1

    def variants(self, place: int) -> Sequence[str]:
        """The ids of the items at a place, the one in most demand first."""
        if not self._of_group[place]:
            return (self.ids[place],)
        return tuple(self._variants[place])

    def touched(self, place: int) -> Sequence[str]:
        """The ids of the items at a place; of a group's those that were ever touched."""
        if not self._of_group[place]:
            return (self.ids[place],)
        return [name for name, row in self._variants[place].items() if row[FIRST] > 0]

    def touch(self, places: Places, ts: int, weight: float = 1.0) -> None:
        """Shoppers touched distinct items without variants in a visit at a time (ms); a purchase weighs one."""
        values, self.counted = self._values, self.counted or len(places) > 0
        origins = np.where(values[places, ORIGINS] == 0, ts, values[places, ORIGINS])
        moved = (ts - origins) / (_SHORT * DAY_MS) > REBASED
        values[places, :2] *= np.where(moved, forward(origins, _SHORT, float(ts)), 1.0)
        origins = np.where(moved, ts, origins)
        values[places, ORIGINS] = origins
        values[places, :2] += weight * forward(ts, _SHORT, origins)
        values[places, 2:5] += weight * forward(ts, _LONG)
        values[places, VISITS] += visit_weight(ts)
        firsts = values[places, FIRST]
        values[places, FIRST] = np.where(firsts > 0, np.minimum(firsts, ts), ts)

    def purchase(self, places: Places, ts: int, firsts: Floats, lasts: Floats) -> None:
        """A shopper bought distinct items without variants at a time (ms), had bought them first and last at times (ms;
        NaN: never)."""
        values, self._usual = self._values, None
        new = np.isnan(firsts)
        values[places[new], NEW] += forward(ts, _NEW)
        values[places[new], BUYERS] += 1
        again, firsts, lasts = places[~new], firsts[~new], lasts[~new]
        values[again, REPEATS] += 1
        values[again, DAYS] += (np.maximum(0, ts - lasts) + np.maximum(0, firsts - ts)) / DAY_MS
        earlier = ts < firsts
        values[again[earlier], NEW] += forward(ts, _NEW) - forward(firsts[earlier][:, None], _NEW)

    def demand(self, ts: int | Floats, places: Places | slice = slice(None), of: Places | None = None) -> Floats:
        """Demand by half-life at a time (ms), float64 [n, 5]. That of an hour and of a day is taken at most a half-life
        before their origin: a late event's time may be so long before it that no double holds the quotient.

        Parameters
        ----------
        ts, of
            One time, or several, float64 [b], with the number of each item's, int64 [n].
        """
        values, now = self.values[places].T, ts if of is None else np.asarray(ts)[of]
        found = np.empty((len(HALF_LIVES), values.shape[1]))
        for row, days in enumerate(HALF_LIVES):
            if row < len(_SHORT):
                weights = np.maximum(0.5, forward(now, days, values[ORIGINS][row]))
            else:
                weights = _each(forward(ts, days), of)
            found[row] = values[row] / weights
        return found.T

    def order(self, column: int, places: Places | slice = slice(None)) -> Floats:
        """What orders items by demand, whatever the time: :data:`DAY` or :data:`WEEK`, float64 [n].

        It is the logarithm of demand up to a constant. Differences that are those of rounding are left out.

        Examples
        --------
        >>> items = ItemStatistics()
        >>> for day, name in enumerate("ab"):
        ...     items.touch(items.places([name]), ORIGIN_MS + day * DAY_MS)
        >>> [np.diff(items.order(column)).round(3).tolist() for column in (DAY, WEEK)]
        [[1.0], [0.143]]
        """
        with np.errstate(divide="ignore"):
            found = np.log2(self.values[places, column])
        if column == DAY:
            found += (self.values[places, ORIGINS.start + DAY] - ORIGIN_MS) / DAY_MS
        rounded: Floats = found.round(9)
        return rounded

    def bought_by_new(self, ts: int | Floats, places: Places | slice = slice(None), of: Places | None = None) -> Floats:
        """First purchases by half-life at a time (ms), or at one of several, as :meth:`demand`; float64 [n, 2]."""
        weights = [_each(forward(ts, days), of) for days in NEW_HALF_LIVES]
        return np.stack([self.values[places, NEW.start + row] / one for row, one in enumerate(weights)], axis=-1)

    def repeated(self, places: Places) -> Floats:
        """Further purchases for each buyer of some items, shrunk towards the shop's, float64 [m]."""
        values, usual = self.values, self._usually()[0]
        buyers, repeats = values[places, BUYERS], values[places, REPEATS]
        found: Floats = (repeats + BUYERS_SHRINKAGE * usual) / (buyers + BUYERS_SHRINKAGE)
        return found

    def intervals(self, places: Places | slice = slice(None)) -> Floats:
        """Usual days between a shopper's purchases of each item, shrunk towards the shop's, float64 [n]."""
        values, usual = self.values, self._usually()[1]
        found: Floats = (values[places, DAYS] + SHRINKAGE * usual) / (values[places, REPEATS] + SHRINKAGE)
        return found

    def _usually(self) -> tuple[float, float]:
        """The shop's further purchases for each buyer, and days between purchases."""
        if self._usual is None:
            buyers, repeats, days = self.values[:, [BUYERS, REPEATS, DAYS]].sum(0).tolist()
            self._usual = repeats / max(1.0, buyers), days / max(1.0, repeats)
        return self._usual


_SHORT, _LONG, _NEW = np.array(HALF_LIVES[:2]), np.array(HALF_LIVES[2:]), np.array(NEW_HALF_LIVES)
_NOTHING = np.zeros(WIDTH)


def _each(values: Floats, of: Places | None) -> Floats:
    """The value of each item, given by number; or the same of all."""
    return values if of is None else values[of]


def _total(rows: Sequence[Floats]) -> Floats:
    """The sum of statistics of shards, or of variants, float64 [WIDTH] each; those that are none count for nothing."""
    total = np.zeros(WIDTH)
    held = [row for row in rows if len(row) == WIDTH and row is not _NOTHING]
    values = np.concatenate([*held, np.zeros(0)]).reshape(-1, WIDTH)
    values = values[np.isfinite(values).all(1)]
    if len(values):
        origins = values[:, ORIGINS].max(0)
        short = np.where(values[:, ORIGINS] > 0, values[:, :2] * forward(values[:, ORIGINS], _SHORT, origins), 0.0)
        total = values.sum(0)
        total[:2], total[ORIGINS] = short.sum(0), origins
        firsts = values[:, FIRST]
        total[FIRST] = firsts[firsts > 0].min(initial=np.inf) if (firsts > 0).any() else 0.0
    return total
