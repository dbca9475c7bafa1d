"""Does training starve the worker? Event to shelf while runs are made beside it, and while none is.

A local stack with everything in it, simulated shoppers, runs that follow each other with breaks.
``python -m benchmarks.training_load --json F --visits 40``
"""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from benchmarks.report import Report
from benchmarks.shopping import ITEMS, shop_of, shopping
from benchmarks.smoke import Scale, smoke
from liveshelf.demo.environment import demo_environment
from liveshelf.settings import Settings, StackConfig
from streams.telemetry.meter import Snapshot, quantiles, total

TARGET = 3.0
WARM_UP_S, LATEST_S = 20.0, 600.0
BUSY = ("training", "gate")

EXAMPLES = 5_000
BREAK_S = 40.0
ENV = {
    "LEARNING__MOST_EXAMPLES": "40000",
    "GATE__LOSS_MARGIN": "0",
    "GATE__LOSS_EFFECT": "0.000001",
    "ROLLOUT__HORIZON_S": "1",
}
"""Runs with a break after each, of a size that takes a while; what they make is given up at once."""


@smoke(items=60, seconds=4.0, visits=20.0, scale=0.02)
def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures there.")] = None,
    items: Annotated[int, typer.Option(min=24, help="Size of the catalogue.")] = ITEMS,
    visits: Annotated[float, typer.Option(min=1, help="Visits a second.")] = 40.0,
    seconds: Annotated[
        float, typer.Option(min=1, help="How long at least, from the opening on; until a run is made.")
    ] = 300.0,
    niceness: Annotated[int, typer.Option(min=0, max=19, help="Of the runs.")] = 10,
    scale: Scale = 1.0,
) -> None:
    """Run it."""
    report = Report("training load", visits_per_s=visits, seconds=seconds, niceness=niceness)
    with tempfile.TemporaryDirectory() as folder, Progress() as bar:
        settings = Settings(stack=StackConfig(folder=Path(folder)))
        enough = {f"TRIGGERS__{what}_EXAMPLES": str(round(scale * EXAMPLES)) for what in ("LEAST", "ENOUGH")}
        env = ENV | enough | {"TRIGGERS__COOLDOWN_S": str(scale * BREAK_S), "LEARNING__NICENESS": str(niceness)}
        with demo_environment(settings, "training", lambda _: None, env=env) as there:
            shop = shop_of(there, 1, per_s=visits, items=items, shoppers=300)
            task = bar.add_task("shopping", total=seconds)
            stages: list[tuple[int, str]] = []
            with shop.running():
                for second in shopping(there, shop, LATEST_S):
                    bar.update(task, completed=second)
                    for news in shop.listener.news():
                        if isinstance(news, Snapshot) and news.role == "trainer":
                            stages.append((news.to_ms, news.labels.get("stage", "")))
                    both = (seconds_of(list(shop.listener.workers), stages, busy=busy) for busy in (True, False))
                    if second >= seconds and all(both):
                        break
            since = shop.world.start_ms + int(scale * WARM_UP_S * 1_000)
            taken = [one for one in shop.listener.workers if one.from_ms >= since]
    told = {"usual": seconds_of(taken, stages, busy=False), "while training": seconds_of(taken, stages, busy=True)}
    usual = quantiles(told["usual"], "end_to_end", (0.99,))[0]
    for name, some in told.items():
        p50, p99 = quantiles(some, "end_to_end", (0.5, 0.99))
        report.row(
            when=name, seconds=len(some), events=total(some, "events"), p50_ms=p50, p99_ms=p99, times=p99 / usual
        )
    report.facts["target"] = f"p99 while training below {TARGET:g} times the usual"
    report.write(json)


def seconds_of(taken: list[Snapshot], stages: list[tuple[int, str]], *, busy: bool) -> list[Snapshot]:
    """A worker's snapshots of seconds in which a run was under way, or of those in which none was."""
    found = []
    for one in taken:
        during = {stage in BUSY for at, stage in stages if one.from_ms - 1_000 <= at <= one.to_ms + 1_000}
        if during == {busy}:
            found.append(one)
    return found


if __name__ == "__main__":
    typer.run(main)
