"""Rolling rates of attributed impressions: click rate, conversion, revenue, with intervals, over several windows.

Pure: takes attributed impressions and event time, no clock of its own. Impressions count only once they are attributed,
so pending outcomes never lower a rate. A window ends at the attributed event time, not now.
Intervals take impressions as independent: they are too narrow where shoppers differ.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, Self, TypeVar

from evaluator.metrics.impression import AttributedImpression
from evaluator.metrics.intervals import Interval, wilson
from streams.telemetry.meter import label_value

WINDOWS = {"1m": 60_000, "15m": 900_000, "1h": 3_600_000, "24h": 86_400_000}
"""Lengths of the windows, milliseconds."""

STEPS = 60
"""A window of rates moves by a sixtieth of its length."""

PLACES = ((0, "1"), (2, "2-3"), (5, "4-6"), (11, "7-12"))
BUCKETS = (*(name for _, name in PLACES), "13+")


class Slice(NamedTuple):
    """The labels of a rate; ``position`` is one of :func:`bucket`'s."""

    surface: str
    arm: str
    model: str
    position: str


@dataclass(slots=True)
class Tally:
    """Sums over impressions; sums of squares are for intervals. ``debiased`` sums clicks by inverse propensity. It is
    set by :meth:`RollingRates.by`, because estimated propensities change after the clicks were counted."""

    impressions: int = 0
    clicks: int = 0
    purchases: int = 0
    revenue: float = 0.0
    revenue_squared: float = 0.0
    debiased: float = 0.0
    debiased_squared: float = 0.0

    def add(self, other: "Tally") -> None:
        """Take another's sums in."""
        self.impressions += other.impressions
        self.clicks += other.clicks
        self.purchases += other.purchases
        self.revenue += other.revenue
        self.revenue_squared += other.revenue_squared
        self.debiased += other.debiased
        self.debiased_squared += other.debiased_squared

    @property
    def ctr(self) -> Interval:
        """Impressions with any outcome, with Wilson's 95 % interval for independent impressions."""
        return wilson(self.clicks, self.impressions)

    @property
    def cvr(self) -> Interval:
        """Impressions that led to a purchase, with Wilson's 95 % interval for independent impressions."""
        return wilson(self.purchases, self.impressions)

    @property
    def revenue_per_impression(self) -> Interval:
        """In the shop's currency, with a 95 % interval; without purchases it has no upper bound."""
        return _mean(self.revenue, self.revenue_squared, self.impressions)

    @property
    def debiased_ctr(self) -> Interval:
        """The click rate if every item were at the first position: clicks by inverse examination propensity."""
        return _mean(self.debiased, self.debiased_squared, self.impressions)


def bucket(position: int) -> str:
    """The range of positions that a position is reported in.

    Examples
    --------
    >>> [bucket(position) for position in (0, 1, 5, 11, 40)]
    ['1', '2-3', '4-6', '7-12', '13+']
    """
    return next((name for last, name in PLACES if position <= last), BUCKETS[-1])


def cut(impression: AttributedImpression, arm: str, model: str) -> Slice:
    """The slice that an attributed impression counts in."""
    return Slice(label_value(impression.surface), label_value(arm), label_value(model), bucket(impression.position))


def tally(impression: AttributedImpression) -> Tally:
    """The sums of one attributed impression."""
    clicked = int(bool(impression.outcomes))
    bought = int(any(outcome.kind == "purchase" for outcome in impression.outcomes))
    return Tally(1, clicked, bought, impression.revenue, impression.revenue**2)


class Sums(Protocol):
    """Values that can be summed."""

    def add(self, other: Self, /) -> None:
        """Take another's sums in."""


S = TypeVar("S", bound=Sums)


class Rolling(Generic[S]):
    """One window's sums, in parts that expire one by one.

    Parameters
    ----------
    length_ms
        The window's length.
    empty
        Creates empty sums.
    steps
        Number of parts.

    Examples
    --------
    >>> window = Rolling(60_000, Tally)
    >>> for ts in (0, 30_000, 59_000, 61_000): window.part(ts).add(Tally(impressions=1))
    >>> window.get(62_000).impressions, window.get(120_000).impressions
    (3, 1)
    """

    def __init__(self, length_ms: int, empty: Callable[[], S], steps: int = STEPS) -> None:
        self.step, self.steps, self.empty = length_ms // steps, steps, empty
        self._parts: dict[int, S] = {}

    def part(self, ts: int) -> S:
        """The sums of the part that ``ts`` (ms) is in, to be added to."""
        number = ts // self.step
        found = self._parts.get(number)
        if found is None:
            found = self._parts[number] = self.empty()
        return found

    def get(self, until: int) -> S:
        """Sums of the window that ends with the step of ``until`` (ms); older parts are dropped."""
        last = until // self.step
        for number in [number for number in self._parts if number <= last - self.steps]:
            del self._parts[number]
        found = self.empty()
        for number, part in self._parts.items():
            if number <= last:
                found.add(part)
        return found

    def __len__(self) -> int:
        return len(self._parts)


class RollingRates:
    """Rolling rates of every recent slice.

    Parameters
    ----------
    windows
        Lengths in milliseconds, by name.
    most
        Most slices that are kept; beyond that, those longest without an impression are dropped and counted in
        ``dropped``.

    Examples
    --------
    >>> rates = RollingRates()
    >>> rates.update(AttributedImpression("u", "i", "s", "feed", 0, ts=1_000), arm="champion", model="m1")
    >>> rates.get("1h", until=2_000).ctr
    Interval(rate=0.0, low=0.0, high=0.7934506856227626)
    >>> rates.by("1h", until=2_000, fields=("surface", "arm")).keys()
    dict_keys([('feed', 'champion')])
    """

    def __init__(self, windows: Mapping[str, int] = WINDOWS, most: int = 10_000) -> None:
        self.windows, self.most = dict(windows), most
        self.dropped = 0
        self._slices: dict[Slice, dict[str, Rolling[Tally]]] = {}

    def update(self, impression: AttributedImpression, *, arm: str, model: str) -> None:
        """Count one attributed impression."""
        self.add(cut(impression, arm, model), impression.ts, tally(impression))

    def add(self, key: Slice, ts: int, sums: Tally) -> None:
        """Add sums of a slice at ``ts`` (ms)."""
        rolling = self._slices.pop(key, None) or {name: Rolling(length, Tally) for name, length in self.windows.items()}
        self._slices[key] = rolling  # the most recent slice comes last
        for window in rolling.values():
            window.part(ts).add(sums)
        if len(self._slices) > self.most:
            self._slices.pop(next(iter(self._slices)))
            self.dropped += 1

    def get(self, window: str, until: int, **fields: str) -> Tally:
        """Sums over one window of all slices with these fields, such as ``arm="champion"``."""
        return self.by(window, until, (), None, **fields).get((), Tally())

    def by(
        self, window: str, until: int, fields: Sequence[str], weights: Mapping[str, float] | None = None, **only: str
    ) -> dict[tuple[str, ...], Tally]:
        """Sums over one window for each combination of some fields that has impressions in it.

        Parameters
        ----------
        weights
            Inverse propensity of each position; one where there is none.
        only
            Fields that slices must have to count.
        """
        found: dict[tuple[str, ...], Tally] = {}
        for key, rolling in self._slices.items():
            if any(getattr(key, name) != value for name, value in only.items()):
                continue
            sums = rolling[window].get(until)
            if sums.impressions:
                weight = (weights or {}).get(key.position, 1.0)
                sums.debiased, sums.debiased_squared = sums.clicks * weight, sums.clicks * weight**2
                found.setdefault(tuple(getattr(key, name) for name in fields), Tally()).add(sums)
        return found


def _mean(total: float, squares: float, count: int) -> Interval:
    """A mean of values of which few are above zero, with a 95 % interval, from sums.

    It is Wilson's interval for equal values with the same sum and the same sum of squares. For ten purchases it covers
    88 % where a normal interval covers 83 %; from fifty on it covers about 95 %.
    """
    if not total:
        return Interval(0.0 if count else math.nan, 0.0, math.inf)
    each = squares / total
    return Interval(*(each * bound for bound in wilson(min(total / each, count), count)))
