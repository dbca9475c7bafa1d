"""Limits of label values: which surfaces, arms and models are counted by name, and which together as ``other``.

Shops send them as free text, so their number is unbounded. Pure: takes slices and sums in the order in which
impressions are attributed; the same order gives the same names.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from evaluator.metrics.rates import Slice, Tally
from streams.ranking.assignment import CANARY, CHAMPION, HOLDBACK, SHARED

MOST = 50
"""Most values of one field that are counted by name, of a partition in an hour and of all partitions in a window."""

ROWS = 64
"""Most combinations of values that are reported of a window."""

OTHER = "other"
"""The value that stands for all others."""

FIELDS = ("surface", "arm", "model")
HOUR_MS = 3_600_000

OURS = {
    "surface": {"", "feed", "search", "similar", "popular"},
    "arm": {"", CHAMPION, CANARY, HOLDBACK, SHARED},
    "model": {""},
}
"""Values that are always counted by name: surfaces and arms of our own shelves, and the empty ones of other shelves."""


class LabelLimiter:
    """Chooses the names of one partition, hour by hour.

    In each hour the first values are counted by name. Half of the names are reserved for the largest ones of the hour
    before, so that a flood of new values does not displace known ones. Our own shelves' values always have a name.

    Parameters
    ----------
    most
        Most names of a field in an hour.

    Examples
    --------
    >>> names = LabelLimiter(most=2)
    >>> [names.of(0, Slice(surface, "champion", "m", "1")).surface for surface in ("a", "b", "c", "feed", "a")]
    ['a', 'b', 'other', 'feed', 'a']
    """

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self._hour = 0
        self._now: dict[str, Counter[str]] = {name: Counter() for name in FIELDS}
        self._kept: dict[str, set[str]] = {name: set() for name in FIELDS}

    def of(self, ts: int, cut: Slice) -> Slice:
        """The slice of an impression at ``ts`` (ms) that is attributed now; times never go back by an hour."""
        self._turn(ts // HOUR_MS)
        return cut._replace(**{name: self._count(name, getattr(cut, name)) for name in FIELDS})

    def restore(self, sums: Mapping[tuple[int, Slice], Tally]) -> None:
        """Go on from sums by time and slice that were counted before; those of the last two hours are enough."""
        for (ts, cut), tally in sorted(sums.items(), key=lambda one: one[0]):
            self._turn(ts // HOUR_MS)
            for name in FIELDS:
                if (value := getattr(cut, name)) != OTHER:
                    self._now[name][value] += tally.impressions

    def _turn(self, hour: int) -> None:
        if hour <= self._hour:
            return
        for name in FIELDS:
            before = self._now[name] if hour == self._hour + 1 else Counter[str]()
            self._now[name] = Counter()
            before = Counter({value: count for value, count in before.items() if value not in OURS[name]})
            self._kept[name] = set(_largest(before, self.most // 2))
        self._hour = hour

    def _count(self, name: str, value: str) -> str:
        now = self._now[name]
        if value not in now and not self._has_place(name, value):
            return OTHER
        now[value] += 1
        return value

    def _has_place(self, name: str, value: str) -> bool:
        if value in OURS[name] or value in self._kept[name]:
            return True
        new = self._now[name].keys() - OURS[name] - self._kept[name]
        return value != OTHER and len(self._kept[name]) + len(new) < self.most


def capped(found: Mapping[tuple[str, ...], Tally], most: int = MOST, rows: int = ROWS) -> dict[tuple[str, ...], Tally]:
    """Sums by some fields' values, with at most so many values of each field and so many rows; the largest by
    impressions keep their names.

    Examples
    --------
    >>> sums = {("a",): Tally(3), ("b",): Tally(1), ("c",): Tally(2), ("other",): Tally(5)}
    >>> {name: one.impressions for (name,), one in capped(sums, most=1).items()}
    {'a': 3, 'other': 8}
    """
    if not found:
        return {}
    width = len(next(iter(found)))
    kept = [_largest(_totals(found, place), most) for place in range(width)]
    named = _merged(
        (tuple(value if value in kept[place] else OTHER for place, value in enumerate(row)), sums)
        for row, sums in found.items()
    )
    largest = sorted(named, key=lambda row: (-named[row].impressions, row))[:rows]
    return _merged((row if row in largest else (OTHER,) * width, sums) for row, sums in named.items())


def _totals(found: Mapping[tuple[str, ...], Tally], place: int) -> Counter[str]:
    totals: Counter[str] = Counter()
    for row, sums in found.items():
        if row[place] != OTHER:
            totals[row[place]] += sums.impressions
    return totals


def _largest(counts: Counter[str], most: int) -> list[str]:
    return sorted(counts, key=lambda value: (-counts[value], value))[:most]


def _merged(rows: Iterable[tuple[tuple[str, ...], Tally]]) -> dict[tuple[str, ...], Tally]:
    found: dict[tuple[str, ...], Tally] = {}
    for row, sums in rows:
        found.setdefault(row, Tally()).add(sums)
    return found
