"""What workers and evaluators say of themselves while a challenger is tried."""

from ddsketch import DDSketch
from ddsketch.pb.proto import DDSketchProto

from streams.telemetry.meter import Series, Snapshot

VERSION = "20261124-160000-lora-5e6f7081"
CHAMPION = "20261124-153000-head-1a2b3c4d"


def sketch(ms: float, n: int = 10) -> bytes:
    made = DDSketch(0.01)
    made.add(ms, n)
    data: bytes = DDSketchProto.to_proto(made).SerializeToString()
    return data


def worker(
    name: str,
    to_ms: int,
    *,
    ready: bool = True,
    counts: dict[str, int] | None = None,
    ms: tuple[float, float] | None = None,
    version: str = VERSION,
) -> Snapshot:
    """``ms`` are the champion's and the challenger's."""
    return Snapshot(
        role="worker",
        id=name,
        from_ms=to_ms - 1_000,
        to_ms=to_ms,
        counts=counts or {},
        gauges={"challenger_ready": float(ready)},
        labels={"model": CHAMPION, "next": "", "challenger": version},
        sketches={} if ms is None else {"shadow.champion": sketch(ms[0]), "shadow.challenger": sketch(ms[1])},
    )


def evaluator(
    name: str,
    to_ms: int,
    *,
    canary: tuple[int, int],
    champion: tuple[int, int],
    clicks: float,
    traffic: float = -0.5,
    ratio: float = 1.0,
    version: str = VERSION,
    instance: str = "",
) -> Snapshot:
    """Arms are impressions and clicks; ``clicks`` and ``traffic`` log10 e-values."""
    series = [
        Series(f"experiment_{what}", {"arm": arm, "challenger": version}, value)
        for arm, values in (("canary", canary), ("champion", champion))
        for what, value in zip(("impressions", "clicks"), values, strict=True)
    ]
    for test, value in (("clicks", clicks), ("traffic", traffic)):
        series += [
            Series("experiment_log10_evalue", {"test": test, "arm": arm, "challenger": version}, of)
            for arm, of in (("champion", 0.0 if test == "clicks" else value), ("canary", value))
        ]
    for what, value in (("ratio", ratio), ("dispersion", 2.0)):
        series.append(Series(f"experiment_{what}", {"arm": "canary", "challenger": version}, value))
    return Snapshot(
        role="evaluator",
        id=name,
        from_ms=to_ms - 1_000,
        to_ms=to_ms,
        counts={},
        gauges={},
        sketches={},
        labels={"instance": instance} if instance else {},
        series=series,
    )
