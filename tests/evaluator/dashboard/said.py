"""Snapshots as processes would send them."""

from collections.abc import Iterable

from streams.telemetry.meter import Meter, Series, Snapshot

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


def evaluator(at: int, series: Iterable[Series], name: str = "e1", partitions: Iterable[int] = ()) -> Snapshot:
    """An evaluator's snapshot of the second that ends at ``at``."""
    meter = Meter("evaluator", name, at - 1_000)
    meter.gauges = {"lag": 1.0}
    meter.series, meter.partitions = list(series), list(partitions)
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


def trainer(at: int, stage: str, progress: float = 0.0, *, reached: float = 0.0, **labels: str) -> Snapshot:
    """A trainer's snapshot of the second that ends at ``at``; clicks fell five minutes ago."""
    meter = Meter("trainer", "t1", at - 1_000)
    meter.labels = {
        "stage": stage,
        "trigger": "fewer clicks than before on feed shelves",
        "trigger_reason": "click_rate",
        "held_back": "",
        "verdict": "passed",
        "verdict_sentence": "nDCG@10 is 0.031 better (0.012 to 0.049)",
        "decision": "",
        "challenger": "",
        "champion": MODEL,
    } | labels
    gauges = {"trigger_at": at - 300_000.0, "champion_at": 0.0, "new_examples": 1_234.0, "runs_today": 2.0}
    meter.gauges = gauges | {"progress": progress, "canary_log10_evalue": reached, "canary_share": 0.0}
    return meter.snapshot(at)


def experiment(challenger: str, counts: dict[str, tuple[int, int]], log10: float, *ratio: float) -> list[Series]:
    """An experiment of a challenger: impressions and clicks by arm, evidence, and the ratio with its bounds."""
    found = []
    for arm, (shown, clicks) in counts.items():
        labels = {"arm": arm, "challenger": challenger}
        told = {"impressions": shown, "clicks": clicks, "shoppers": shown // 20}
        found += [Series(f"experiment_{name}", labels, value) for name, value in told.items()]
    labels = {"arm": "canary", "challenger": challenger}
    evidence = (("clicks", log10), ("traffic", -0.3))
    found += [Series("experiment_log10_evalue", {"test": test, **labels}, value) for test, value in evidence]
    names = ("ratio", "ratio_low", "ratio_high")
    return found + [Series(f"experiment_{name}", labels, value) for name, value in zip(names, ratio, strict=False)]
