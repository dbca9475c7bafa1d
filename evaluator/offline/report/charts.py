"""Where the parts of the reports' charts stand: axes, dots with whiskers, the front of quality against cost, lines.

Pure geometry in units of the drawing; templates draw it. Knows numbers and names; nothing of measures or languages.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

ROW_WIDTH = 240.0
"""Width of a chart in a table's row."""

PAD = 8.0

FRONT_WIDTH, FRONT_HEIGHT = 640.0, 340.0
LEFT, RIGHT, TOP, BOTTOM = 62.0, 150.0, 14.0, 46.0
"""Margins of the chart of quality against cost; the names stand at the right of their dots."""

LABEL_HEIGHT = 16.0

LINE_WIDTH, LINE_HEIGHT = 180.0, 44.0


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark of an axis."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Axis:
    """A scale from figures to places in a drawing.

    Attributes
    ----------
    start, end
        The places of ``low`` and ``high``.
    log
        Whether equal ratios have equal lengths.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """A figure's place, to a tenth; what lies outside stands at the edge."""
        low, high, here = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, here = math.log10(low), math.log10(high), math.log10(here)
        share = (here - low) / (high - low) if high > low else 0.5
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self, most: int = 5) -> list[Tick]:
        """Marks at round figures.

        Examples
        --------
        >>> [tick.text for tick in Axis(0.71, 0.94, 0, 100).ticks()]
        ['0.75', '0.80', '0.85', '0.90']
        >>> [tick.text for tick in Axis(0.2, 300, 0, 100, log=True).ticks()]
        ['1', '10', '100']
        """
        if self.log:
            found = _log_ticks(self.low, self.high)
            found = found[:: math.ceil(len(found) / (most + 1))]
            return [Tick(self.at(value), f"{value:g}") for value in found]
        step = _step((self.high - self.low) / most)
        digits = max(0, -math.floor(math.log10(step)))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [Tick(self.at(n * step), f"{n * step:.{digits}f}") for n in range(first, last + 1)]


def _step(least: float) -> float:
    """The smallest of 1, 2, 5, 10 times a power of ten that is not less."""
    power = 10.0 ** math.floor(math.log10(least)) if least > 0 else 1.0
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9))


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    few = high / low < 100
    every = [factor * 10.0**power for power in powers for factor in ((1, 2, 5) if few else (1,))]
    return [value for value in every if low <= value <= high]


def axis(figures: Iterable[float | None], start: float, end: float, *, log: bool = False) -> Axis:
    """An axis that has all figures well inside.

    Examples
    --------
    >>> axis([1.0, None, 2.0], 0, 100)
    Axis(low=0.92, high=2.08, start=0, end=100, log=False)
    """
    known = [value for value in figures if value is not None and math.isfinite(value) and (value > 0 or not log)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if log:
        return Axis(low / 1.5 if known else 0.1, high * 1.5, start, end, log=True)
    margin = 0.08 * (high - low) or abs(high) * 0.05 or 1.0
    return Axis(low - margin, high + margin, start, end)


@dataclass(frozen=True, slots=True)
class Whisker:
    """A dot with its interval, lying in a row; the bounds are None where there is no interval.

    Attributes
    ----------
    mark
        Which colour and shape it has.
    """

    x: float
    y: float
    low: float | None
    high: float | None
    mark: int


def _bounds(scale: Axis, low: float | None, high: float | None) -> tuple[float | None, float | None]:
    return (None, None) if low is None or high is None else (scale.at(low), scale.at(high))


def whisker(
    scale: Axis, value: float | None, low: float | None, high: float | None, mark: int, y: float = 13.0
) -> Whisker | None:
    """A figure as a dot and whisker; None where there is no figure."""
    if value is None:
        return None
    return Whisker(scale.at(value), y, *_bounds(scale, low, high), mark)


@dataclass(frozen=True, slots=True)
class Point:
    """A contender on the chart of quality against cost.

    Attributes
    ----------
    label_y
        Where its name stands, so that no two names overlap.
    """

    name: str
    x: float
    y: float
    low: float | None
    high: float | None
    label_y: float
    mark: int
    front: bool


@dataclass(frozen=True, slots=True)
class Front:
    """The chart of quality against cost.

    Attributes
    ----------
    path
        The corners of the line that joins those on the front.
    """

    points: list[Point]
    path: str
    across: list[Tick]
    up: list[Tick]


@dataclass(frozen=True, slots=True)
class Costed:
    """What is known of a contender: what it costs, how good it is."""

    name: str
    cost: float
    value: float
    low: float | None
    high: float | None
    mark: int


def on_front(some: Sequence[Costed]) -> list[Costed]:
    """Those that no other beats in both cost and quality, cheapest first.

    Examples
    --------
    >>> some = [Costed(name, cost, value, None, None, 0) for name, cost, value in
    ...         (("slow", 9, 0.9), ("poor", 2, 0.4), ("cheap", 1, 0.5), ("worse", 10, 0.8))]
    >>> [one.name for one in on_front(some)]
    ['cheap', 'slow']
    """
    found: list[Costed] = []
    for one in sorted(some, key=lambda one: (one.cost, -one.value)):
        if not found or one.value > found[-1].value:
            found.append(one)
    return found


def front(some: Sequence[Costed]) -> Front:
    """The chart; costs are positive and their axis is logarithmic."""
    across = axis([one.cost for one in some], LEFT, FRONT_WIDTH - RIGHT, log=True)
    figures = [figure for one in some for figure in (one.low, one.value, one.high)]
    up = axis(figures, FRONT_HEIGHT - BOTTOM, TOP)
    best = on_front(some)
    labels = _apart([up.at(one.value) for one in some])
    points = [
        Point(
            one.name,
            across.at(one.cost),
            up.at(one.value),
            None if one.low is None else up.at(one.low),
            None if one.high is None else up.at(one.high),
            label,
            one.mark,
            one in best,
        )
        for one, label in zip(some, labels, strict=True)
    ]
    path, last = "", None
    for one in best:
        x, y = across.at(one.cost), up.at(one.value)
        path += f"M{x} {y}" if last is None else f"H{x}V{y}"
        last = one
    if last is not None:
        path += f"H{FRONT_WIDTH - RIGHT}"
    return Front(points, path, across.ticks(), up.ticks())


def _apart(places: Sequence[float]) -> list[float]:
    """The same places moved as little as keeps them a label's height apart, in the drawing.

    Examples
    --------
    >>> _apart([100.0, 101.0, 50.0])
    [92.5, 108.5, 50.0]
    """
    order = sorted(range(len(places)), key=lambda place: places[place])
    clusters: list[list[int]] = []
    for place in order:
        clusters.append([place])
        while len(clusters) > 1 and _top(clusters[-1], places) - _top(clusters[-2], places) < LABEL_HEIGHT * len(
            clusters[-2]
        ):
            last = clusters.pop()
            clusters[-1] += last
    found = [0.0] * len(places)
    for cluster in clusters:
        for number, place in enumerate(cluster):
            found[place] = round(_top(cluster, places) + LABEL_HEIGHT * number, 1)
    return found


def _top(cluster: Sequence[int], places: Sequence[float]) -> float:
    middle = sum(places[place] for place in cluster) / len(cluster)
    return max(TOP, middle - LABEL_HEIGHT * (len(cluster) - 1) / 2)


@dataclass(frozen=True, slots=True)
class Line:
    """A figure over several runs: a small line with whiskers; gaps where a run has none."""

    path: str
    points: list[Whisker]


def line(figures: Sequence[tuple[float | None, float | None, float | None]], mark: int = 0) -> Line:
    """A line through figures given as value, low and high. The whiskers' bounds are heights.

    Examples
    --------
    >>> line([(1.0, None, None), (None, None, None), (2.0, None, None)]).path
    'M8.0 35.8M172.0 8.2'
    """
    up = axis([one for some in figures for one in some], LINE_HEIGHT - 6, 6)
    along = Axis(0, max(1, len(figures) - 1), PAD, LINE_WIDTH - PAD)
    path, points, joined = "", list[Whisker](), False
    for place, (value, low, high) in enumerate(figures):
        if value is None:
            joined = False
            continue
        x, y = along.at(place), up.at(value)
        path += f"{'L' if joined else 'M'}{x} {y}"
        joined = True
        points.append(Whisker(x, y, *_bounds(up, low, high), mark))
    return Line(path, points)


def spark(figures: Sequence[float]) -> str:
    """The path of a curve's figures, as wide as a row's chart."""
    up = axis(figures, LINE_HEIGHT - 6, 6)
    along = Axis(0, max(1, len(figures) - 1), PAD, ROW_WIDTH - PAD)
    places = (f"{along.at(place)} {up.at(value)}" for place, value in enumerate(figures) if math.isfinite(value))
    return "M" + "L".join(places)
