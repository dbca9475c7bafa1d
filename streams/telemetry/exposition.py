"""Converts a role's snapshots to the metrics that Prometheus reads.

Pure: takes snapshots and a clock, returns metric families; ``streams.telemetry.metrics_server`` serves them. Names are
``liveshelf_{role}_…``; ``docs/metrics.md`` lists them.
"""

import re
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)

from streams.clock import wall_ms
from streams.telemetry.meter import Snapshot, label_value
from streams.telemetry.sketch import Sketch

SPAN_MS = 60_000
"""The time span of quantiles, up to now."""


@dataclass(frozen=True, slots=True)
class Timing:
    """A stage's durations: their count, their sum in milliseconds, and quantiles of the recent ones."""

    count: float
    sum: float
    quantiles: dict[float, float]


class Stage:
    """Durations of one stage.

    Examples
    --------
    >>> from streams.telemetry.meter import Meter
    >>> meter, stage = Meter("worker", "w1", now_ms=0), Stage()
    >>> for ms in (1.0, 2.0, 9.0): meter.time("score", ms)
    >>> stage.update(1_000, meter.snapshot(1_000).sketches["score"])
    >>> timing = stage.get(2_000, (0.5,))
    >>> timing.count, round(timing.sum), round(timing.quantiles[0.5], 1)
    (3.0, 12, 2.0)
    >>> stage.get(62_000, (0.5,)).quantiles
    {0.5: nan}
    """

    def __init__(self) -> None:
        self._count = self._sum = 0.0
        self._parts: deque[tuple[int, Sketch]] = deque()

    def update(self, at_ms: int, sketch: bytes) -> None:
        """Add a snapshot's sketch."""
        part = Sketch()
        part.add(sketch)
        self._count += part.count
        self._sum += part.sum
        self._parts.append((at_ms, part))
        self._forget(at_ms)

    def get(self, now_ms: int, levels: Sequence[float]) -> Timing:
        """The timing now; a quantile of no durations is NaN."""
        self._forget(now_ms)
        together = Sketch()
        for _, part in self._parts:
            together.merge(part)
        return Timing(self._count, self._sum, dict(zip(levels, together.quantiles(levels), strict=True)))

    def _forget(self, now_ms: int) -> None:
        while self._parts and self._parts[0][0] <= now_ms - SPAN_MS:
            self._parts.popleft()


LEVELS = (0.5, 0.9, 0.99)

SENTENCES = {"decision", "held_back", "trigger", "verdict_sentence"}
"""Labels that are not exposed: each new text would make another series, for ever."""

_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_]")


def metric_name(role: str, name: str) -> str:
    """A metric name that is valid in Prometheus.

    Examples
    --------
    >>> metric_name("worker", "model.refused")
    'liveshelf_worker_model_refused'
    """
    return _NOT_IN_A_NAME.sub("_", f"liveshelf_{role}_{name}")


def label_name(name: str) -> str:
    """A label name that is valid in Prometheus, which reserves names that begin with two underscores.

    Examples
    --------
    >>> label_name("window"), label_name("2nd-arm"), label_name("__name__")
    ('window', '_2nd_arm', '_name__')
    """
    safe = _NOT_IN_A_NAME.sub("_", name)
    return f"_{safe}" if not safe or safe[0].isdigit() else re.sub("^__+", "_", safe)


class Exposition:
    """One process's metrics: counts since its start, gauges of its last snapshot, stage times of the last minute.

    A collector of prometheus-client. One thread may collect while another updates.

    Examples
    --------
    >>> from prometheus_client import generate_latest
    >>> exposition = Exposition(clock=lambda: 2_000)
    >>> for to_ms in (1_000, 2_000):
    ...     exposition.update(Snapshot(role="worker", id="w1", from_ms=to_ms - 1_000, to_ms=to_ms,
    ...         counts={"events": 3}, gauges={"lag": 7.0}, sketches={}, labels={"model": "m1"}))
    >>> shown = [line for line in generate_latest(exposition).decode().splitlines() if not line.startswith("#")]
    >>> print(*shown, sep="\\n")
    liveshelf_worker_info{id="w1",model="m1"} 1.0
    liveshelf_worker_snapshot_timestamp_seconds 2.0
    liveshelf_worker_events_total 6.0
    liveshelf_worker_lag 7.0
    """

    def __init__(self, clock: Callable[[], int] = wall_ms) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last: Snapshot | None = None
        self._totals: Counter[str] = Counter()
        self._stages: dict[str, Stage] = {}

    def update(self, snapshot: Snapshot) -> None:
        """Add the newest snapshot."""
        with self._lock:
            self._last = snapshot
            self._totals.update(snapshot.counts)
            for name, sketch in snapshot.sketches.items():
                self._stages.setdefault(name, Stage()).update(snapshot.to_ms, sketch)

    @property
    def age_s(self) -> float:
        """Seconds since the last snapshot; infinite before the first."""
        last = self._last
        return float("inf") if last is None else (self._clock() - last.to_ms) / 1000

    def collect(self) -> Iterator[Metric]:
        """All families; none before the first snapshot."""
        with self._lock:
            last = self._last
            if last is None:
                return
            totals = dict(self._totals)
            timings = {name: stage.get(self._clock(), LEVELS) for name, stage in self._stages.items()}
        yield from _about(last)
        yield from _counters(last.role, totals)
        yield from _gauges(last)
        if timings:
            yield _summary(last.role, timings)


def _about(last: Snapshot) -> Iterator[Metric]:
    labels = {label_name(name): label_value(value) for name, value in last.labels.items() if name not in SENTENCES}
    info = metric_name(last.role, "info").removesuffix("_info")
    yield InfoMetricFamily(info, "Who reports, and what it has to say in words.", labels | {"id": label_value(last.id)})
    name = metric_name(last.role, "snapshot_timestamp_seconds")
    yield GaugeMetricFamily(name, "When the role last reported, since the epoch.", last.to_ms / 1000)


def _counters(role: str, totals: Mapping[str, int]) -> Iterator[Metric]:
    for name, value in sorted(totals.items()):
        yield CounterMetricFamily(metric_name(role, name), f"{name}, since the process began.", value)


def _gauges(last: Snapshot) -> Iterator[Metric]:
    """Gauges with and without labels; gauges of one name are one family, and none appears twice."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for name, value in last.gauges.items():
        found.setdefault(name, {})[()] = value
    for series in last.series:
        labels = {label_name(name): label_value(value) for name, value in series.labels.items()}
        found.setdefault(series.name, {})[tuple(sorted(labels.items()))] = series.value
    for name, values in sorted(found.items()):
        family = GaugeMetricFamily(metric_name(last.role, name), f"{name}, now.")
        for pairs, value in values.items():
            family.add_sample(family.name, dict(pairs), value)
        yield family


def _summary(role: str, timings: Mapping[str, Timing]) -> Metric:
    name = metric_name(role, "stage_seconds")
    family = SummaryMetricFamily(name, "Time by stage; quantiles of the last minute.", labels=["stage"])
    for stage, timing in sorted(timings.items()):
        for level, ms in timing.quantiles.items():
            family.add_sample(name, {"stage": stage, "quantile": f"{level:g}"}, ms / 1000)
        family.add_metric([stage], count_value=round(timing.count), sum_value=timing.sum / 1000)
    return family
