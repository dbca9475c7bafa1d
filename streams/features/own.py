"""What a shopper did with each item: the memory that the behaviour features of a feed are computed from.

Pure: values of one shopper, by item place. ``remember.lua`` keeps the same values in Redis. Knows nothing of how items
are scored.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from streams.features.items import DAY_MS, Floats, Places, forward

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
    """

    places: Places
    times: Floats
    demand: Floats
    first_ms: Floats
    last_ms: Floats
    touched_ms: Floats
    visits_ms: Floats

    @classmethod
    def of(cls, places: Places, rows: Rows, visits_s: Sequence[int]) -> "OwnItems":
        """From the rows of items, [m] of :data:`ROW`, and the times of visits. Items that were touched last at the same
        time keep their order."""
        order = np.argsort(-rows["touched"].astype(np.int64), kind="stable")
        places, rows = places[order], rows[order]
        bought = rows["times"] > 0
        return cls(
            places,
            rows["times"].astype(np.float64),
            np.where(np.isfinite(rows["demand"]), rows["demand"], 0.0),
            np.where(bought, rows["first"] * 1000.0, np.nan),
            np.where(bought, rows["last"] * 1000.0, np.nan),
            rows["touched"] * 1000.0,
            np.sort(np.asarray(visits_s, np.float64)) * 1000.0,
        )

    def since(self, ts: int) -> Floats:
        """Days since each item was touched last, float64 [m]; never below zero."""
        found: Floats = np.maximum(0.0, ts - self.touched_ms) / DAY_MS
        return found

    def gap(self) -> float:
        """Mean days between visits; NaN for one visit or none."""
        visits = self.visits_ms
        return float((visits[-1] - visits[0]) / DAY_MS / (len(visits) - 1)) if len(visits) > 1 else float("nan")


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
