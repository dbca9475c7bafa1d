"""Time series for the page: the sums of all processes' snapshots by step, over one axis of fixed length.

Pure: knows keys, steps, values and quantile sketches; nothing of what they mean. Memory is bounded. The axis ends where
it was last advanced to, so a silent system shows as a gap.
"""

import math
from array import array
from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from streams.telemetry.meter import Snapshot
from streams.telemetry.sketch import Sketch

Key = tuple[str, ...]


class Line(msgspec.Struct, frozen=True):
    """One series as sent; ``values`` lie on the axis of :meth:`SeriesBuffer.times`, NaN where nothing is known."""

    id: int
    key: Key
    values: list[float]


class Point(msgspec.Struct, frozen=True, array_like=True):
    """A series' last two values: those that may still change."""

    id: int
    before: float
    now: float


class _Row:
    def __init__(self, number: int, steps: int) -> None:
        self.number, self.newest = number, 0
        self.values: array[float] = array("d", [math.nan]) * steps


class SeriesBuffer:
    """Values by key and step; a step is a period of time and has its last value.

    Parameters
    ----------
    step_ms, steps
        Length of a step, and the number of steps.
    most
        Most series that are kept; others are counted in ``dropped``.

    Attributes
    ----------
    revision
        Changes whenever a value older than the last two steps was set.

    Examples
    --------
    >>> ring = SeriesBuffer(step_ms=1_000, steps=3)
    >>> for step, value in ((5, 0.5), (6, 0.25), (6, 0.75)): ring.put(("lag", "w"), step, value)
    >>> ring.advance(7_500)
    >>> ring.times(), [(line.key, line.values) for line in ring.get()]
    ([5000, 6000, 7000], [(('lag', 'w'), [0.5, 0.75, nan])])
    >>> ring.last()
    [Point(id=1, before=0.75, now=nan)]
    """

    def __init__(self, step_ms: int = 10_000, steps: int = 360, most: int = 2_000) -> None:
        self.step_ms, self.steps, self.most = step_ms, steps, most
        self.newest = self.revision = self.dropped = 0
        self._rows: dict[Key, _Row] = {}
        self._numbers = 0

    def step(self, at: int) -> int:
        """The step that a moment (epoch ms) is in."""
        return at // self.step_ms

    def advance(self, now: int) -> None:
        """Let the axis end with the step of ``now``; series without a value on it are dropped."""
        step = self.step(now)
        if step <= self.newest:
            return
        emptied = {number % self.steps for number in range(max(self.newest + 1, step - self.steps + 1), step + 1)}
        self.newest = step
        for key, row in list(self._rows.items()):
            if row.newest <= step - self.steps:
                del self._rows[key]
            for column in emptied:
                row.values[column] = math.nan

    def put(self, key: Key, step: int, value: float) -> None:
        """Set a series' value at a step; values that are not finite or older than the axis are ignored."""
        self.advance(step * self.step_ms)
        if not math.isfinite(value) or step <= self.newest - self.steps:
            return
        row = self._rows.get(key)
        if row is None:
            if len(self._rows) >= self.most:
                self.dropped += 1
                return
            self._numbers += 1
            row = self._rows[key] = _Row(self._numbers, self.steps)
        row.newest = max(row.newest, step)
        row.values[step % self.steps] = float(f"{value:.6g}")
        if step < self.newest - 1:
            self.revision += 1

    def times(self) -> list[int]:
        """When each step of the axis begins, epoch ms."""
        return [number * self.step_ms for number in range(self.newest - self.steps + 1, self.newest + 1)]

    def get(self) -> list[Line]:
        """All series in full."""
        turn = (self.newest + 1) % self.steps
        return [
            Line(row.number, key, (row.values[turn:] + row.values[:turn]).tolist()) for key, row in self._rows.items()
        ]

    def last(self) -> list[Point]:
        """The last two values of all series that have one."""
        now, before = self.newest % self.steps, (self.newest - 1) % self.steps
        return [
            Point(row.number, row.values[before], row.values[now])
            for row in self._rows.values()
            if row.newest >= self.newest - 1
        ]

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: Any) -> bool:
        return key in self._rows


MOST_STAGES = 64


class Step:
    """Counts and timings of one step.

    Examples
    --------
    >>> step = Step(7)
    >>> for name in ("w1", "w2"):
    ...     step.update(Snapshot(role="worker", id=name, from_ms=0, to_ms=500, counts={"events": 50}, gauges={},
    ...         sketches={}))
    >>> step.rate("worker", "events"), step.rate("worker", "refused"), step.rate("evaluator", "events")
    (200.0, 0.0, 0)
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.sketches: dict[tuple[str, str], Sketch] = {}
        self._counts: dict[tuple[str, str], Counter[str]] = {}
        self._spans: Counter[tuple[str, str]] = Counter()

    def update(self, snapshot: Snapshot) -> None:
        """Take a snapshot in."""
        process = snapshot.role, snapshot.id
        self._counts.setdefault(process, Counter()).update(snapshot.counts)
        self._spans[process] += snapshot.to_ms - snapshot.from_ms
        for stage, raw in snapshot.sketches.items():
            key = snapshot.role, stage
            if key in self.sketches or len(self.sketches) < MOST_STAGES:
                self.sketches.setdefault(key, Sketch()).add(raw)

    def rate(self, role: str, name: str) -> float:
        """A count a second, summed over a role's processes."""
        return sum(
            1_000.0 * counts[name] / max(1, self._spans[process])
            for process, counts in self._counts.items()
            if process[0] == role
        )


def stages(steps: Iterable[Step]) -> dict[tuple[str, str], Sketch]:
    """Timings by role and stage over several steps."""
    found: dict[tuple[str, str], Sketch] = {}
    for step in steps:
        for key, sketch in step.sketches.items():
            found.setdefault(key, Sketch()).merge(sketch)
    return found
