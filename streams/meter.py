"""What a role measures of itself: counts, gauges, a quantile sketch a stage; and snapshots of them that merge.

Pure: takes values, gives values. Sending snapshots to ``liveshelf.metrics`` is the worker's business.
"""

from collections import Counter
from collections.abc import Iterable

import msgspec
from ddsketch import DDSketch
from ddsketch.pb.ddsketch_pb2 import DDSketch as SketchMessage
from ddsketch.pb.proto import DDSketchProto

ACCURACY = 0.01
"""Relative error of every quantile (DDSketch: Masson, Rim and Lee 2019)."""


class Series(msgspec.Struct, frozen=True, array_like=True):
    """One value of many that share a name, told apart by labels."""

    name: str
    labels: dict[str, str]
    value: float


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What happened between two moments (epoch ms); sketches in DDSketch's protobuf form, labels gauges in words,
    series gauges with labels of their own."""

    role: str
    id: str
    from_ms: int
    to_ms: int
    counts: dict[str, int]
    gauges: dict[str, float]
    sketches: dict[str, bytes]
    labels: dict[str, str] = {}
    series: list[Series] = []


encoder = msgspec.json.Encoder()
decoder = msgspec.json.Decoder(Snapshot)


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
        self._since = now_ms
        self._counts: Counter[str] = Counter()
        self._sketches: dict[str, DDSketch] = {}

    def count(self, name: str, n: int = 1) -> None:
        """Add to a count."""
        self._counts[name] += n

    def time(self, stage: str, ms: float, weight: int = 1) -> None:
        """Take a duration in milliseconds, for ``weight`` events alike."""
        if stage not in self._sketches:
            self._sketches[stage] = DDSketch(ACCURACY)
        self._sketches[stage].add(max(ms, 0.0), weight)

    def snapshot(self, now_ms: int) -> Snapshot:
        """All since the last snapshot; gauges, labels and series stay, the rest begins anew."""
        taken = Snapshot(
            role=self.role,
            id=self.id,
            from_ms=self._since,
            to_ms=now_ms,
            counts=dict(self._counts),
            gauges=dict(self.gauges),
            labels=dict(self.labels),
            series=list(self.series),
            sketches={
                name: DDSketchProto.to_proto(sketch).SerializeToString() for name, sketch in self._sketches.items()
            },
        )
        self._since = now_ms
        self._counts.clear()
        self._sketches.clear()
        return taken


def total(snapshots: Iterable[Snapshot], name: str) -> int:
    """A count summed over snapshots."""
    return sum(snapshot.counts.get(name, 0) for snapshot in snapshots)


def quantiles(snapshots: Iterable[Snapshot], stage: str, levels: Iterable[float]) -> list[float]:
    """Quantiles in milliseconds of a stage over many snapshots, from any number of workers; NaN when never timed."""
    merged: DDSketch | None = None
    for snapshot in snapshots:
        if (raw := snapshot.sketches.get(stage)) is None:
            continue
        sketch = DDSketchProto.from_proto(SketchMessage.FromString(raw))
        if merged is None:
            merged = sketch
        else:
            merged.merge(sketch)
    return [float("nan") if merged is None else float(merged.get_quantile_value(level)) for level in levels]
