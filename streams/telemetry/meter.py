"""A role's metrics: counts, gauges, one quantile sketch for each stage; and snapshots of them that can be merged.

Pure: takes values, returns values. Knows nothing of how snapshots are sent.
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
from ddsketch import DDSketch
from ddsketch.pb.proto import DDSketchProto
from msgspec import Meta

from streams.clock import Moment, not_ahead
from streams.telemetry.sketch import ACCURACY, Sketch, unfit

Name = Annotated[str, Meta(max_length=256)]
Words = Annotated[str, Meta(max_length=10_000)]

Value = Annotated[float, Meta(ge=-1e60, le=1e60)]
"""The bounds are far above anything measured, and low enough that sums and squares stay finite."""

LABEL_LETTERS = 128
"""The most characters of a label's value."""

_NOT_SHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def label_value(text: str) -> str:
    """A text as a label's value: without control characters, and cut if it is long. Different texts stay different.

    Examples
    --------
    >>> label_value("home\\npage"), len(label_value("x" * 10_000)), label_value("x" * 200) == label_value("x" * 201)
    ('home\ufffdpage', 128, False)
    """
    shown = _NOT_SHOWN.sub("\ufffd", text)
    if len(shown) <= LABEL_LETTERS:
        return shown
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return f"{shown[: LABEL_LETTERS - len(digest) - 1]}…{digest}"


class Series(msgspec.Struct, frozen=True, array_like=True):
    """One of many values that share a name and differ in labels."""

    name: Name
    labels: Annotated[dict[Name, Words], Meta(max_length=64)]
    value: Value


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A role's metrics between two times (epoch ms). Sketches are in DDSketch's protobuf form, labels are text gauges,
    series are gauges with their own labels, partitions are those of the events that the series describe."""

    role: Name
    id: Name
    from_ms: Moment
    to_ms: Moment
    counts: Annotated[dict[Name, Annotated[int, Meta(ge=0, le=1 << 53)]], Meta(max_length=1_000)]
    gauges: Annotated[dict[Name, Value], Meta(max_length=1_000)]
    sketches: Annotated[dict[Name, bytes], Meta(max_length=256)]
    labels: Annotated[dict[Name, Words], Meta(max_length=256)] = {}
    series: Annotated[list[Series], Meta(max_length=10_000)] = []
    partitions: Annotated[list[Annotated[int, Meta(ge=0)]], Meta(max_length=10_000)] = []


encoder = msgspec.json.Encoder()
decoder = msgspec.json.Decoder(Snapshot)


def latest(snapshots: Iterable[Snapshot]) -> list[Snapshot]:
    """The last snapshot of each process of a role, without those whose partitions a later snapshot of another covers.

    When a process is killed or gives partitions up, its successor's snapshot covers the same events: the sum of both
    would count them twice.

    Examples
    --------
    >>> def one(id, to_ms, *partitions):
    ...     return Snapshot(role="evaluator", id=id, from_ms=0, to_ms=to_ms, counts={}, gauges={}, sketches={},
    ...         partitions=list(partitions))
    >>> [snapshot.id for snapshot in latest([one("a", 1, 0, 1), one("b", 2, 2), one("c", 3, 1), one("b", 4, 2)])]
    ['c', 'b']
    """
    last = {snapshot.id: snapshot for snapshot in sorted(snapshots, key=lambda snapshot: snapshot.to_ms)}
    covered, found = set[int](), list[Snapshot]()
    for snapshot in sorted(last.values(), key=lambda snapshot: -snapshot.to_ms):
        if covered.isdisjoint(snapshot.partitions):
            found.append(snapshot)
        covered.update(snapshot.partitions)
    return found[::-1]


def parse(message: Any, came_ms: int) -> Snapshot:
    """The snapshot of a consumed Kafka message; for :class:`streams.kafka.guard.Guard`.

    Raises
    ------
    ValueError, google.protobuf.message.DecodeError
        When it is no valid snapshot: it is from the future, or has a sketch that cannot be added to others.
    """
    snapshot = decoder.decode(message.value or b"")
    not_ahead(max(snapshot.from_ms, snapshot.to_ms), came_ms, "the snapshot")
    for name, raw in snapshot.sketches.items():
        if problem := unfit(raw):
            raise ValueError(f"sketch {name!r} {problem}")
    return snapshot


class Meter:
    """Counts and timings since the last snapshot.

    Examples
    --------
    >>> meter = Meter("worker", "w1", now_ms=0)
    >>> meter.count("events", 3)
    >>> meter.time("score", 2.0, weight=3)
    >>> snapshot = meter.snapshot(now_ms=1000)
    >>> snapshot.counts, round(quantiles([snapshot], "score", (0.5,))[0], 1)
    ({'events': 3}, 2.0)
    >>> meter.snapshot(now_ms=2000).counts
    {}
    """

    def __init__(self, role: str, id: str, now_ms: int) -> None:
        self.role, self.id = role, id
        self.gauges: dict[str, float] = {}
        self.labels: dict[str, str] = {}
        self.series: list[Series] = []
        self.partitions: list[int] = []
        self._since = now_ms
        self._counts: Counter[str] = Counter()
        self._sketches: dict[str, DDSketch] = {}

    def count(self, name: str, n: int = 1) -> None:
        """Add to a count."""
        self._counts[name] += n

    def time(self, stage: str, ms: float, weight: int = 1) -> None:
        """Add a duration in milliseconds, for ``weight`` events."""
        if stage not in self._sketches:
            self._sketches[stage] = DDSketch(ACCURACY)
        self._sketches[stage].add(max(ms, 0.0), weight)

    def times(self, stage: str, ms: Iterable[int]) -> None:
        """Add whole durations in milliseconds, each of one event; equal ones cost no more than one of them."""
        for one, weight in Counter(ms).items():
            self.time(stage, one, weight)

    def snapshot(self, now_ms: int) -> Snapshot:
        """A snapshot of all since the last one. Counts and times restart; gauges, labels, series, partitions stay."""
        taken = Snapshot(
            role=self.role,
            id=self.id,
            from_ms=self._since,
            to_ms=now_ms,
            counts=dict(self._counts),
            gauges=dict(self.gauges),
            labels=dict(self.labels),
            series=list(self.series),
            partitions=list(self.partitions),
            sketches={
                name: DDSketchProto.to_proto(sketch).SerializeToString() for name, sketch in self._sketches.items()
            },
        )
        self._since = now_ms
        self._counts.clear()
        self._sketches.clear()
        return taken


def fitted(snapshot: Snapshot, max_bytes: int) -> bytes:
    """The snapshot's JSON, with as many of its series as fit into ``max_bytes``; series of rare names are kept first.

    The gauge ``series_left_out`` says how many are left out. Values that are not finite are left out: JSON cannot
    represent them.

    Examples
    --------
    >>> many = [Series("rate", {"surface": "x" * 100}, 1.0)] * 99 + [Series("alarm", {}, 1.0)]
    >>> snapshot = Snapshot(role="worker", id="w", from_ms=0, to_ms=1, counts={}, gauges={}, sketches={}, series=many)
    >>> found = decoder.decode(fitted(snapshot, 2_000))
    >>> found.series[0].name, len(found.series) + int(found.gauges["series_left_out"])
    ('alarm', 100)
    """
    every = [one for one in snapshot.series if math.isfinite(one.value)]
    finite = {name: value for name, value in snapshot.gauges.items() if math.isfinite(value)}
    snapshot = msgspec.structs.replace(snapshot, gauges=finite, series=every)
    value = encoder.encode(snapshot)
    if len(value) > max_bytes:
        often = Counter(one.name for one in every)
        snapshot = msgspec.structs.replace(snapshot, series=sorted(every, key=lambda one: often[one.name]))
    while len(value) > max_bytes and snapshot.series:
        kept = snapshot.series[: len(snapshot.series) * max_bytes // (len(value) + 1)]
        gauges = snapshot.gauges | {"series_left_out": float(len(every) - len(kept))}
        snapshot = msgspec.structs.replace(snapshot, series=kept, gauges=gauges)
        value = encoder.encode(snapshot)
    return value


def total(snapshots: Iterable[Snapshot], name: str) -> int:
    """The sum of a count over snapshots."""
    return sum(snapshot.counts.get(name, 0) for snapshot in snapshots)


def quantiles(snapshots: Iterable[Snapshot], stage: str, levels: Iterable[float]) -> list[float]:
    """Quantiles of a stage in milliseconds over many snapshots, from any number of workers; NaN without durations."""
    sketch = Sketch()
    for snapshot in snapshots:
        if (raw := snapshot.sketches.get(stage)) is not None:
            sketch.add(raw)
    return sketch.quantiles(tuple(levels))


Sums = dict[tuple[str, ...], dict[str, float]]


def added(snapshots: Iterable[Snapshot], prefix: str, by: tuple[str, ...], least: float = -math.inf) -> Sums:
    """Sums over processes of all series whose name begins with ``prefix``, by labels and the rest of the name. A value
    below ``least`` is raised to it, such as a negative count to 0.

    Examples
    --------
    >>> from streams.telemetry.meter import Series
    >>> labels = {"surface": "feed", "arm": "a"}
    >>> one = Snapshot(role="evaluator", id="e", from_ms=0, to_ms=1, counts={}, gauges={}, sketches={},
    ...     series=[Series("rate_clicks", labels, 2), Series("rate_clicks", labels | {"arm": "b"}, 3)])
    >>> added([one, one], "rate_", ("surface",)), added([one], "rate_", ("arm",))
    ({('feed',): {'clicks': 10.0}}, {('a',): {'clicks': 2.0}, ('b',): {'clicks': 3.0}})
    """
    found: Sums = {}
    for snapshot in snapshots:
        for series in snapshot.series:
            if series.name.startswith(prefix):
                sums = found.setdefault(tuple(series.labels.get(label, "") for label in by), {})
                name = series.name[len(prefix) :]
                sums[name] = sums.get(name, 0.0) + max(least, series.value)
    return found
