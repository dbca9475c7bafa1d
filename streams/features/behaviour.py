"""Statistics of purchases that grow with each visit, and the features of items for a shopper that are read from them.

A visit is what one shopper bought in one order. All sums decay lazily and are weighted by the time of the visit, not
by when it arrives, so visits may come in any order. Of an item so many neighbours are kept, of a shopper so many items.
Knows places of items, times and prices; nothing of files, models or of what is measured with it.
"""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

DAY_MS = 86_400_000
HALF_LIVES = (1 / 24, 1.0, 7.0, 30.0, 91.0)
"""Of an item's counts, in days: an hour, a day, a week, a month, a quarter."""

BUYERS_HALF_LIVES = (7.0, 30.0)
PAIRS_HALF_LIFE = 90.0
OWN_HALF_LIFE = 30.0
MOST_REBASED = 200.0
"""Half-lives from a counter's origin to its newest visit, at which the origin moves on."""

MOST_PAIRED = 100
"""Items of a visit that are paired."""

MOST_NEIGHBOURS = 200
"""Neighbours of an item; a row of twice as many is cut to those of the highest cosine."""

MOST_OWN = 400
"""Items of a shopper: those bought last."""

MOST_VISITS = 64
SHRINKAGE = 5.0
"""How many repeats an item's own interval needs to weigh as much as the shop's."""

GROUPS: dict[str, tuple[str, ...]] = {
    "popularity": (
        *(f"bought_{name}" for name in ("hour", "day", "week", "month", "quarter")),
        *("day_of_week", "week_of_month", "month_of_quarter", "buyers_week", "buyers_month", "buyers"),
    ),
    "item": ("age", "price", "price_change", "repeated"),
    "price": ("price_of_usual", "price_deviation"),
    "own": ("times", "times_decayed", "times_a_visit", "times_a_visit_since", "days_since", "visits_since"),
    "due": ("due_of_item", "due_of_own", "due_of_visits", "interval"),
    "together": ("together", "together_recent", "together_most", "together_share", "together_last"),
    "linear": ("linear", "linear_month", "linear_week"),
    "text": ("text_centre", "text_nearest", "text_newest", "text_linear", "text_week"),
    "shopper": ("visits", "since_visit", "gap", "share_new", "items", "a_visit"),
}
"""Features by group, in the order of the columns."""

FEATURES = tuple(name for names in GROUPS.values() for name in names)


class Decayed:
    """Sums that halve in each half-life, for many places; a sum is only touched when something is added.

    A visit at time t adds ``2 ** ((t - origin) / half_life)``; reading at a time divides by that of the time (forward
    decay, Cormode et al. 2009). So the order in which visits arrive does not matter.

    Examples
    --------
    >>> one, other = Decayed((1.0,), 1), Decayed((1.0,), 1)
    >>> for time in (0, 3 * DAY_MS):
    ...     one.add(np.array([0]), time)
    >>> for time in (3 * DAY_MS, 0):
    ...     other.add(np.array([0]), time)
    >>> one.at(3 * DAY_MS).tolist(), other.at(4 * DAY_MS).tolist()
    ([[1.125]], [[0.5625]])
    """

    def __init__(self, half_lives: Sequence[float], count: int) -> None:
        self._half_lives = np.asarray(half_lives) * DAY_MS
        self._sums = np.zeros((count, len(half_lives)))
        self._origins = np.full(len(half_lives), np.nan)

    def add(self, places: Places, ts: int, weight: float = 1.0) -> None:
        """Add a weight to distinct places at a time, epoch ms."""
        self._origins = np.where(np.isnan(self._origins), ts, self._origins)
        ahead = (ts - self._origins) / self._half_lives
        if (ahead > MOST_REBASED).any():
            moved = np.where(ahead > MOST_REBASED, ahead, 0.0)
            self._sums *= 2.0**-moved
            self._origins += moved * self._half_lives
            ahead -= moved
        self._sums[places] += weight * 2.0**ahead

    def at(self, ts: int, places: Places | slice = slice(None)) -> Floats:
        """The sums at a time, float64 [n, half-lives]; at a time before a visit its weight is above one."""
        if np.isnan(self._origins[0]):
            return self._sums[places]
        found: Floats = self._sums[places] * 2.0 ** (-(ts - self._origins) / self._half_lives)
        return found


class Pairs:
    """How often two items were bought in one visit, decayed; of each item the neighbours of the highest cosine.

    Exact until a row is cut. The cosine is ``pairs / sqrt(visits of one * visits of the other)``: a raw count would
    keep what is popular.

    Examples
    --------
    >>> pairs = Pairs(3)
    >>> pairs.add(np.array([0, 1]), 0)
    >>> pairs.add(np.array([0, 2]), 0)
    >>> places, cosines, *_ = pairs.row(0, 0)
    >>> places.tolist(), cosines.round(3).tolist()
    ([1, 2], [0.707, 0.707])
    """

    def __init__(self, count: int, most: int = MOST_NEIGHBOURS) -> None:
        self.most = most
        self.visits = Decayed((PAIRS_HALF_LIFE,), count)
        self._rows: list[dict[int, float]] = [{} for _ in range(count)]
        self._origin: int | None = None

    def add(self, places: Places, ts: int) -> None:
        """Pair all items of a visit with each other."""
        self._origin = ts if self._origin is None else self._origin
        weight = float(2.0 ** ((ts - self._origin) / (PAIRS_HALF_LIFE * DAY_MS)))
        self.visits.add(places, ts)
        paired = places[-MOST_PAIRED:].tolist()
        for one in paired:
            row = self._rows[one]
            for other in paired:
                row[other] = row.get(other, 0.0) + weight
            del row[one]
            if len(row) > 2 * self.most:
                self._cut(one, ts)

    def row(self, place: int, ts: int) -> tuple[Places, Floats, Floats, Floats]:
        """An item's neighbours: places, cosines, the share of their visits that had it too, shrunk, and counts."""
        row = self._rows[place]
        others = np.fromiter(row, np.int64, len(row))
        counts = np.fromiter(row.values(), np.float64, len(row))
        counts *= 2.0 ** (-(ts - (self._origin or 0)) / (PAIRS_HALF_LIFE * DAY_MS))
        theirs = self.visits.at(ts, others)[:, 0]
        own = float(self.visits.at(ts, np.array([place]))[0, 0])
        cosines = counts / np.sqrt(np.maximum(theirs * own, 1e-12))
        return others, cosines, counts / (theirs + 1.0), counts

    def _cut(self, place: int, ts: int) -> None:
        others, cosines, *_ = self.row(place, ts)
        kept = others[np.argsort(-cosines, kind="stable")[: self.most]].tolist()
        row = self._rows[place]
        self._rows[place] = {other: row[other] for other in kept}

    def stored(self) -> list[int]:
        """The length of each row."""
        return [len(row) for row in self._rows]


@dataclass(slots=True)
class Own:
    """What a shopper did with one item: how often, how often decayed as of ``last_ms``, first and last time."""

    times: int
    decayed: float
    first_ms: int
    last_ms: int

    def add(self, ts: int) -> None:
        """One more visit, at any time."""
        ahead = 2.0 ** (-abs(ts - self.last_ms) / (OWN_HALF_LIFE * DAY_MS))
        self.decayed = self.decayed * ahead + 1.0 if ts >= self.last_ms else self.decayed + ahead
        self.times += 1
        self.first_ms, self.last_ms = min(self.first_ms, ts), max(self.last_ms, ts)


@dataclass(slots=True)
class Memory:
    """A shopper: items by place, times of visits ascending, sums over lines.

    Examples
    --------
    >>> memory = Memory()
    >>> memory.add(np.array([4, 7]), np.zeros(2), 2 * DAY_MS)
    >>> memory.add(np.array([4]), np.zeros(1), DAY_MS)
    >>> memory.visits, memory.own[4].times, memory.lines, memory.new
    ([86400000, 172800000], 2, 3, 2)
    """

    own: dict[int, Own] = field(default_factory=dict)
    visits: list[int] = field(default_factory=list)
    lines: int = 0
    new: int = 0
    prices: float = 0.0
    squares: float = 0.0

    def add(self, places: Places, prices: Floats, ts: int) -> None:
        """A visit: places and logarithms of prices."""
        bisect.insort(self.visits, ts)
        del self.visits[:-MOST_VISITS]
        self.lines += len(places)
        self.prices += float(prices.sum())
        self.squares += float(np.square(prices).sum())
        for place in places.tolist():
            if (known := self.own.get(place)) is not None:
                known.add(ts)
            else:
                self.new += 1
                self.own[place] = Own(1, 1.0, ts, ts)
        if len(self.own) > MOST_OWN:
            newest = sorted(self.own, key=lambda place: self.own[place].last_ms)[-MOST_OWN:]
            self.own = {place: self.own[place] for place in sorted(newest)}

    def copy(self) -> "Memory":
        """One that can be added to alone."""
        own = {place: Own(one.times, one.decayed, one.first_ms, one.last_ms) for place, one in self.own.items()}
        return Memory(own, list(self.visits), self.lines, self.new, self.prices, self.squares)


class Items:
    """Sums by item, all the same in whatever order visits arrive.

    Attributes
    ----------
    bought, by_new
        Visits with the item, and first visits of shoppers with it.
    buyers, repeats, days
        Shoppers; visits after their first; days from their first to their last visit with the item, summed.
    """

    def __init__(self, count: int) -> None:
        self.bought, self.by_new = Decayed(HALF_LIVES, count), Decayed(BUYERS_HALF_LIVES, count)
        self.buyers, self.repeats, self.days = np.zeros(count), np.zeros(count), np.zeros(count)
        self.first_ms = np.full(count, np.inf)
        self.prices, self.lines, self.price = np.zeros(count), np.zeros(count), np.zeros(count)
        self._priced_ms = np.full(count, -np.inf)

    def add(self, places: Places, prices: Floats, memory: Memory, ts: int) -> None:
        """A visit; ``memory`` is the shopper's from before it."""
        self.bought.add(places, ts)
        new = np.array([place not in memory.own for place in places.tolist()], bool)
        self.by_new.add(places[new], ts)
        self.buyers[places[new]] += 1
        for place in places[~new].tolist():
            known = memory.own[place]
            self.repeats[place] += 1
            self.days[place] += (max(0, ts - known.last_ms) + max(0, known.first_ms - ts)) / DAY_MS
            if ts < known.first_ms:
                self.by_new.add(np.array([place]), known.first_ms, -1.0)
                self.by_new.add(np.array([place]), ts)
        self.first_ms[places] = np.minimum(self.first_ms[places], ts)
        self.prices[places] += prices
        self.lines[places] += 1
        then = self._priced_ms[places]
        newer = (ts > then) | ((ts == then) & (prices > self.price[places]))
        self.price[places[newer]] = prices[newer]
        self._priced_ms[places[newer]] = ts

    def interval(self) -> Floats:
        """Log of one and the usual days between a shopper's purchases of each item, shrunk towards the shop's."""
        usual = self.days.sum() / max(1.0, self.repeats.sum())
        found: Floats = np.log1p((self.days + SHRINKAGE * usual) / (self.repeats + SHRINKAGE))
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """Unit vectors of all items, float32 [n, D], their cosines [n, n] (0 to itself), and of each item its nearest by
    text: places and cosines [n, k]."""

    vectors: npt.NDArray[np.float32]
    cosines: npt.NDArray[np.float32]
    nearest: Places
    nearness: Floats

    @classmethod
    def of(cls, vectors: npt.NDArray[np.float32], count: int = 10) -> "Text":
        """From unit vectors."""
        cosines = vectors @ vectors.T
        np.fill_diagonal(cosines, 0)
        nearest = np.argsort(-cosines, axis=1)[:, :count]
        nearness = np.maximum(np.take_along_axis(cosines, nearest, 1), 1e-6).astype(np.float64)
        return cls(vectors, cosines, nearest, nearness)

    def smoothed(self, values: Floats) -> Floats:
        """Of each item the mean of its neighbours' values, weighted by cosine."""
        found: Floats = (values[self.nearest] * self.nearness).sum(1) / self.nearness.sum(1)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What is known of every item for one shopper at one time; float64 [n] each.

    ``own`` are the places of the shopper's items, ``since`` the days since each was bought last.
    """

    ts: int
    memory: Memory
    own: Places
    since: Floats
    bought: Floats
    together: Floats
    together_recent: Floats
    together_most: Floats
    together_share: Floats
    together_last: Floats
    linear: Floats
    linear_month: Floats
    linear_week: Floats
    text_centre: Floats
    text_nearest: Floats
    text_newest: Floats
    text_linear: Floats


class Behaviour:
    """All statistics of a shop, and what they say of items for a shopper.

    Parameters
    ----------
    text
        Of all items; a place stands for an item.

    Attributes
    ----------
    linear
        An item-to-item model, float32 [n, n], row i the weights of all items given item i; learned elsewhere.
    """

    def __init__(self, text: Text) -> None:
        count = len(text.vectors)
        self.text, self.items, self.pairs = text, Items(count), Pairs(count)
        self.shoppers: dict[str, Memory] = {}
        self.linear = np.zeros((count, count), np.float32)

    def update(self, shopper: str, places: Places, prices: Floats, ts: int) -> None:
        """Take a visit in: distinct places and the logarithms of their prices."""
        memory = self.shoppers.setdefault(shopper, Memory())
        self.items.add(places, prices, memory, ts)
        self.pairs.add(places, ts)
        memory.add(places, prices, ts)

    def scores(self, memory: Memory, ts: int) -> Scores:
        """What is known of every item for a shopper."""
        own = np.fromiter(memory.own, np.int64, len(memory.own))
        last = np.array([one.last_ms for one in memory.own.values()], np.float64)
        since = (ts - last) / DAY_MS
        month, week = 2.0 ** (-since / 30), 0.2 + 2.0 ** (-since / 7)
        newest = np.argsort(since, kind="stable")[:15]
        near = self.text.cosines[own]
        centre = self.text.vectors[own].T @ month.astype(np.float32)
        centre /= max(float(np.linalg.norm(centre)), 1e-9)
        rows = self.linear[own]
        recent = month.astype(np.float32) @ rows
        return Scores(
            ts,
            memory,
            own,
            since,
            self.items.bought.at(ts),
            **self._together(own, since, month, ts),
            linear=rows.sum(0).astype(np.float64),
            linear_month=recent.astype(np.float64),
            linear_week=(week.astype(np.float32) @ rows).astype(np.float64),
            text_centre=(self.text.vectors @ centre).astype(np.float64),
            text_nearest=(near * (0.5 + 0.5 * month[:, None])).max(0, initial=0.0).astype(np.float64),
            text_newest=near[newest].max(0, initial=0.0).astype(np.float64),
            text_linear=self.text.smoothed(recent.astype(np.float64)),
        )

    def _together(self, own: Places, since: Floats, month: Floats, ts: int) -> dict[str, Floats]:
        count = len(self.linear)
        found = {name: np.zeros(count) for name in GROUPS["together"]}
        plain, recent, most, share, last = found.values()
        latest = since.min() + 1 / 24 if len(since) else 0.0
        for place, days, weight in zip(own.tolist(), since.tolist(), month.tolist(), strict=True):
            others, cosines, shares, _ = self.pairs.row(place, ts)
            plain[others] += cosines
            recent[others] += weight * cosines
            most[others] = np.maximum(most[others], (0.3 + weight) * cosines)
            share[others] += shares
            if days <= latest:
                last[others] += cosines
        return found

    def features(self, scores: Scores, places: Places) -> npt.NDArray[np.float32]:
        """Features of some items, float32 [n, F], columns as :data:`FEATURES`; NaN where something is not known."""
        items, memory, ts = self.items, scores.memory, scores.ts
        bought = scores.bought[places]
        _, day, week, month, quarter = bought.T
        price = np.where(items.lines[places] > 0, items.prices[places] / np.maximum(items.lines[places], 1), np.nan)
        mean = memory.prices / max(1, memory.lines)
        spread = np.sqrt(max(0.01, memory.squares / max(1, memory.lines) - mean**2))
        repeated = items.repeats.sum() / max(1.0, items.buyers.sum())
        first = items.first_ms[places]
        columns = [
            *np.log1p(bought).T,
            np.log((day + 0.5) / (week / 7 + 0.5)),
            np.log((week + 1) / (month * 7 / 30 + 1)),
            np.log((month + 2) / (quarter * 30 / 91 + 2)),
            *np.log1p(items.by_new.at(ts, places)).T,
            np.log1p(items.buyers[places]),
            np.where(np.isfinite(first), (ts - first) / DAY_MS, np.nan),
            price,
            items.price[places] - price,
            (items.repeats[places] + 10 * repeated) / (items.buyers[places] + 10),
            price - mean,
            np.abs(price - mean) / spread,
            *self._own(memory, places, ts),
            *(getattr(scores, name)[places] for name in (*GROUPS["together"], *GROUPS["linear"])),
            *(getattr(scores, name)[places] for name in GROUPS["text"][:-1]),
            np.log1p(scores.bought[self.text.nearest[places], 2]).mean(1),
        ]
        gap = _gap(memory)
        lines = max(1, memory.lines)
        visits = len(memory.visits)
        of_shopper = (
            visits,
            (ts - memory.visits[-1]) / DAY_MS if visits else np.nan,
            gap,
            memory.new / lines,
            len(memory.own),
            lines / max(1, visits),
        )
        columns += [np.full(len(places), value) for value in of_shopper]
        return np.column_stack(columns).astype(np.float32)

    def _own(self, memory: Memory, places: Places, ts: int) -> list[Floats]:
        found = np.full((10, len(places)), np.nan)
        found[:4] = 0.0
        interval, gap = self.items.interval()[places], _gap(memory)
        visits = memory.visits
        for at, place in enumerate(places.tolist()):
            one = memory.own.get(place)
            if one is None:
                continue
            since = (ts - one.last_ms) / DAY_MS
            own = (one.last_ms - one.first_ms) / DAY_MS / (one.times - 1) if one.times > 1 else np.nan
            found[:, at] = (
                one.times,
                one.decayed * 2.0 ** (-since / OWN_HALF_LIFE),
                one.times / max(1, len(visits)),
                one.times / max(1, len(visits) - bisect.bisect_left(visits, one.first_ms)),
                since,
                len(visits) - bisect.bisect_right(visits, one.last_ms),
                np.log1p(since) - interval[at],
                since / (own + 1),
                since / (gap + 1),
                0.0,
            )
        found[9] = interval
        return list(found)


def _gap(memory: Memory) -> float:
    """Mean days between visits; NaN for one visit."""
    visits = memory.visits
    return (visits[-1] - visits[0]) / DAY_MS / (len(visits) - 1) if len(visits) > 1 else float("nan")
