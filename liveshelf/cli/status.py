"""What the system reports about itself, as tables for ``liveshelf status``."""

from collections.abc import Sequence

from rich.table import Table

from evaluator.metrics.intervals import wilson
from evaluator.metrics.rates import WINDOWS
from liveshelf.terminal import NONE, add_row, figure
from streams.clock import wall_ms
from streams.config import StreamsConfig
from streams.ranking.candidates import SOURCES
from streams.redis.connection import connect_now
from streams.reporting import snapshots, usage
from streams.telemetry.meter import Snapshot, added, latest, quantiles, total

CUT = ("window", "surface", "arm", "model")
COUNTED = ("lag", "waiting", "closed", "orphans", "late", "alerts")
BOTS = ("bots", "bot_impressions", "bot_clicks")
INDEPENDENT = "intervals for independent impressions; where shoppers differ, rates vary more"
STAGES = ("queue", "state", "wait", "encode", "candidates", "score", "policy", "reasons", "write", "end_to_end")


def serving(snapshot: Snapshot) -> str:
    """The model that a worker serves, its challenger, and the progress of a switch or of encoding missing items.

    Examples
    --------
    >>> import msgspec
    >>> about = Snapshot(role="worker", id="w", from_ms=0, to_ms=1, counts={}, sketches={},
    ...     gauges={"items": 90, "items_behind": 10, "switch_progress": 0.4}, labels={"model": "a", "next": "b"})
    >>> serving(about), serving(msgspec.structs.replace(about, labels={"model": "b"}))
    ('a → b 40 %', 'b (10 items to encode)')
    >>> tried = {"labels": {"model": "a", "challenger": "b"}, "gauges": {"challenger_share": 0.1}}
    >>> serving(msgspec.structs.replace(about, **tried))
    'a, 10 % b'
    """
    model, coming = snapshot.labels.get("model", ""), snapshot.labels.get("next")
    if coming:
        return f"{model} → {coming} {int(100 * snapshot.gauges.get('switch_progress', 0))} %"
    behind, challenger = snapshot.gauges.get("items_behind", 0), snapshot.labels.get("challenger")
    if challenger:
        model += f", {100 * snapshot.gauges.get('challenger_share', 0.0):.0f} % {challenger}"
    return f"{model} ({behind:,.0f} items to encode)" if behind else model


def evaluator_tables(taken: Sequence[Snapshot]) -> list[Table]:
    """The evaluators' counts, and click rates with 95 % intervals by window, surface, arm and model.

    Examples
    --------
    >>> from streams.telemetry.meter import Series
    >>> gauges = {"lag": 0, "waiting": 5, "closed": 100, "orphans": 1, "late": 0}
    >>> labels = {"window": "1h", "surface": "feed", "arm": "champion", "model": "m1"}
    >>> series = [Series("rate_impressions", labels, 100), Series("rate_clicks", labels, 7)]
    >>> one = Snapshot(role="evaluator", id="e", from_ms=0, to_ms=1, counts={}, gauges=gauges, sketches={},
    ...     series=series)
    >>> [table.title for table in evaluator_tables([one])], evaluator_tables([])
    (['Evaluators', 'Click rate'], [])
    """
    last = latest(taken)
    if not last:
        return []
    joined = Table("evaluator", *COUNTED, title="Evaluators")
    for snapshot in last:
        add_row(joined, snapshot.id, *(f"{snapshot.gauges.get(what, 0):,.0f}" for what in COUNTED))
    rates = Table(*CUT, "impressions", "click rate", "95 % interval", title="Click rate", caption=INDEPENDENT)
    for cut, sums in sorted(added(last, "rate_", CUT, least=0.0).items(), key=_by_window):
        if shown := sums.get("impressions", 0.0):
            rate, low, high = wilson(min(sums.get("clicks", 0.0), shown), shown)
            add_row(rates, *cut, f"{shown:,.0f}", f"{rate:.2%}", f"{low:.2%} … {high:.2%}")
    bots = added(last, "bot", ("reason",), least=0.0)
    suspected = Table("reason", "marked now", "impressions aside", "their clicks", title="Suspected bots")
    for (reason,), counts in bots.items():
        add_row(suspected, reason, *(f"{counts.get(name.removeprefix('bot'), 0.0):,.0f}" for name in BOTS))
    return [joined, rates, *([suspected] if bots else [])]


def _by_window(one: tuple[tuple[str, ...], object]) -> tuple[int, tuple[str, ...]]:
    """Rows by the length of their window, then by name."""
    return WINDOWS.get(one[0][0], 0), one[0]


def stage_table(taken: Sequence[Snapshot]) -> Table:
    """The duration of the workers' stages.

    Examples
    --------
    >>> [list(column.cells) for column in stage_table([]).columns][1][:2]
    [<text '-' [] ''>, <text '-' [] ''>]
    """
    table = Table("stage", "p50 ms", "p90 ms", "p99 ms", title="Stages")
    for stage in STAGES:
        add_row(table, stage, *(figure(value, ".1f") for value in quantiles(taken, stage, (0.5, 0.9, 0.99))))
    return table


def status_tables(config: StreamsConfig, seconds: float) -> list[Table]:
    """What the workers did in the last seconds, the duration of their stages, and what Redis holds."""
    taken = snapshots(config, wall_ms() - int(seconds * 1000))
    last = {snapshot.id: snapshot for snapshot in taken}
    workers = Table("worker", "model", "items", "lag", "events/s", "shelves/s", title="Workers")
    for name, snapshot in last.items():
        mine = [one for one in taken if one.id == name]
        span = max(1e-3, (mine[-1].to_ms - mine[0].from_ms) / 1000)
        rates = (f"{total(mine, what) / span:,.1f}" for what in ("events", "shelves"))
        counts = (f"{snapshot.gauges.get(what, 0):,.0f}" for what in ("items", "lag"))
        add_row(workers, name, serving(snapshot), *counts, *rates)
    if not last:
        add_row(workers, "none has reported yet", *[NONE] * 5)
    sources = Table("source", "share of first ten", title="Candidates")
    for source in (*SOURCES, "explore"):
        add_row(sources, source, f"{total(taken, f'top.{source}') / max(1, total(taken, 'top')):.2f}")
    held = Table("what", "keys", "bytes each", title="Redis")
    with connect_now(config.redis) as redis:
        for what, pattern in (
            ("feeds", "shelf:feed:*"),
            ("searches", "shelf:search:*"),
            ("similar", "shelf:similar:*"),
            ("shoppers' items", "ls:*:items:*"),
            ("shoppers' queries", "ls:*:queries:*"),
            ("shoppers' purchases", "ls:*:bought:*"),
            ("what shoppers count for, by hour", "ls:*:cells:*"),
            ("shoppers' clocks", "ls:*:clock:*"),
            ("seen together", "ls:*:with:*"),
            ("what shelves show, by item", "ls:*:shown:*"),
            ("shelves' numbers", "ls:*:numbered:*"),
            ("open impressions, by partition", "ls:*:state"),
            ("their shelves", "ls:*:shelf:*"),
            ("rates, by partition and hour", "ls:*:rates:*"),
        ):
            found = usage(redis, pattern)
            add_row(held, what, f"{found.keys:,}", f"{found.mean_bytes:,.0f}")
    evaluators = evaluator_tables(snapshots(config, wall_ms() - int(seconds * 1000), "evaluator"))
    return [workers, *evaluators, stage_table(taken), sources, held]
