"""Snapshots as processes would send them."""

from collections.abc import Iterable

from streams.meter import Meter, Series, Snapshot

MODEL = "20261124-153000-head-1a2b3c4d"


def worker(
    at: int, name: str = "w1", *, events: int = 10, model: str = MODEL, ms: Iterable[float] = (5.0,)
) -> Snapshot:
    """A worker's snapshot of the second that ends at ``at``."""
    meter = Meter("worker", name, at - 1_000)
    meter.count("events", events)
    meter.count("shelves", 2 * events)
    meter.gauges = {"items": 100.0, "lag": 3.0, "redis_paused": 0.0, "items_behind": 0.0, "switch_progress": 1.0}
    meter.labels = {"model": model, "next": ""}
    for value in ms:
        meter.time("end_to_end", value)
    return meter.snapshot(at)


def evaluator(at: int, series: Iterable[Series], name: str = "e1") -> Snapshot:
    """An evaluator's snapshot of the second that ends at ``at``."""
    meter = Meter("evaluator", name, at - 1_000)
    meter.gauges = {"lag": 1.0}
    meter.series = list(series)
    return meter.snapshot(at)


def rate(window: str, surface: str, arm: str, model: str, impressions: int, clicks: int) -> list[Series]:
    """The sums of one slice."""
    labels = {"window": window, "surface": surface, "arm": arm, "model": model}
    sums = {
        "impressions": impressions,
        "clicks": clicks,
        "purchases": clicks // 10,
        "revenue": 2.0 * clicks,
        "revenue_squared": 40.0 * clicks,
        "debiased": 1.5 * clicks,
        "debiased_squared": 2.5 * clicks,
    }
    return [Series(f"rate_{name}", labels, value) for name, value in sums.items()]


def drift(watch: str, statistic: float, limit: float, alarm: bool = False, surface: str = "feed") -> list[Series]:
    """Where one detector stands."""
    labels = {"watch": watch, "surface": surface, "arm": "champion"}
    values = {"statistic": statistic, "limit": limit, "alarm": float(alarm)}
    return [Series(f"drift_{name}", labels, value) for name, value in values.items()]
