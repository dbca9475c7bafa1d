"""Does the loop close? Shops with known truth, hit by a drift: the loop, a frozen model, blind retraining.

``python -m benchmarks.closed_loop --json F --seeds 5`` runs each strategy on a stack of its own, six minutes each;
``--calm 10`` runs the loop without a drift, to see what its promotions do. Rates are expected ones, known in closed
form (``docs/simulation.md``), so shoppers' luck is not in them.
"""

import math
import statistics
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.report import Report, Value
from liveshelf.catalogues import made_up
from liveshelf.settings import Settings, StackConfig
from liveshelf.shop import Shop
from liveshelf.simulation.drift import Drift, Fashion
from liveshelf.story.notes import Notes
from liveshelf.story.scene import Scene, scene
from liveshelf.story.story import SEARCHES, SHOPPERS, VISITS_PER_S
from liveshelf.story.tape import Kind, Tape

OLD, NEW = Fashion(0.0, factor=0.1), Fashion(math.inf, factor=0.1)
WINDOW_S = 20.0
READY_S = 300.0
TICK_S = 0.2

LAX = {
    "GATE__LOSS_MARGIN": "10",
    "GATE__NDCG_MARGIN": "1",
    "GATE__CALIBRATION_MARGIN": "1",
    "GATE__ROBUSTNESS_ORDER": "2",
    "GATE__ROBUSTNESS_NDCG": "1",
    "GATE__EXPOSURE_ITEM": "1",
    "GATE__EXPOSURE_BRAND": "1",
    "GATE__LATENCY_MEDIAN": "100",
    "GATE__LATENCY_P99": "100",
    "ROLLOUT__SHADOW_SHELVES": "1",
    "ROLLOUT__LEAST_IMPRESSIONS": "1",
    "ROLLOUT__HARM": "1",
    "ROLLOUT__SLOWER": "100",
}
"""A gate and a canary that let everything pass."""

BLIND = LAX | {
    "TRIGGERS__ALARMS": "[]",
    "TRIGGERS__ENOUGH_EXAMPLES": "1000000000",
    "TRIGGERS__LEAST_EXAMPLES": "1000",
    "TRIGGERS__EVERY_S": "90",
}


@dataclass(frozen=True)
class Strategy:
    """What runs, and the shop's fashions before and after the drift; ``frozen`` stops learning at the drift."""

    name: str
    env: Mapping[str, str]
    fashions: tuple[Drift, ...] = (OLD, NEW)
    frozen: bool = False


STRATEGIES = (
    Strategy("loop", {}),
    Strategy("frozen", {}, frozen=True),
    Strategy("blind", BLIND),
    Strategy("knew", {}, (Fashion(math.inf), OLD)),
)
"""``knew``: the world after the drift has been there from the beginning, so nothing old is in any model's way."""


@dataclass
class Run:
    """One shop's run: what was on the tape, and when the drift began."""

    tape: Tape
    drift_s: float
    end_s: float

    def share(self, since_s: float, until_s: float) -> float:
        """Expected clicks in those of the best there could be."""
        return self.tape.of_oracle(since_s, until_s)

    def before(self) -> float:
        """Of the best, in the last seconds before the drift."""
        return self.share(self.drift_s - WINDOW_S, self.drift_s)

    def trough(self) -> float:
        """Of the best, in the worst window after the drift."""
        starts = range(int(self.drift_s), int(self.end_s - WINDOW_S))
        return min((self.share(start, start + WINDOW_S) for start in starts), default=math.nan)

    def after(self) -> float:
        """Of the best, in the last seconds."""
        return self.share(self.end_s - WINDOW_S, self.end_s)

    def since_drift(self, kind: Kind) -> float:
        """Seconds from the drift to something; NaN where it did not happen."""
        mark = self.tape.first(kind, self.drift_s)
        return mark.at_s - self.drift_s if mark else math.nan

    def promotions(self) -> Iterable[tuple[float, float]]:
        """The share of the best before and after each promotion."""
        for mark in self.tape.marks:
            if mark.kind == "promoted" and WINDOW_S <= mark.at_s <= self.end_s - WINDOW_S:
                yield self.share(mark.at_s - WINDOW_S, mark.at_s), self.share(mark.at_s, mark.at_s + WINDOW_S)


def perform(strategy: Strategy, seed: int, drift_s: float, end_s: float, console: Console, folder: Path) -> Run:
    """Run one shop from its opening to its end; NaN for the drift's moment means none."""
    settings = Settings(stack=StackConfig(folder=folder))
    with scene(settings, f"{strategy.name}-{seed}", lambda _: None, env=strategy.env) as there:
        shop = Shop(
            there.settings,
            made_up(seed),
            seed,
            shoppers=SHOPPERS,
            per_s=VISITS_PER_S,
            drifts=strategy.fashions,
            searches=SEARCHES,
        )
        with shop.staffed():
            _shop(there, shop, strategy, drift_s, end_s, console)
        return Run(shop.tape, drift_s, end_s)


def _shop(there: Scene, shop: Shop, strategy: Strategy, drift_s: float, end_s: float, console: Console) -> None:
    notes, ready_by, drifted = Notes(), time.monotonic() + READY_S, False
    while shop.second < end_s:
        time.sleep(TICK_S)
        there.supervisor.tick()
        shop.check()
        if not shop.open.is_set():
            if any(one.gauges.get("items", 0) >= len(shop.world.items) for one in shop.watching.lately):
                shop.open.set()
            elif time.monotonic() > ready_by:
                raise RuntimeError("the worker was not ready in time")
        if not drifted and shop.second >= drift_s:
            drifted = True
            shop.drift(1)
            shop.tape.mark(shop.second, "drift", strategy.name)
            if strategy.frozen:
                there.supervisor.end("trainer-1")
        for news in shop.watching.news():
            for note in notes.update(news):
                shop.tape.mark(shop.second, note.kind, note.text)
                console.print(f"{strategy.name} {shop.second:4.0f} s {note.text}", soft_wrap=True, markup=False)


def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures there.")] = None,
    seeds: Annotated[int, typer.Option(min=0, help="Shops, each with all strategies.")] = 5,
    calm: Annotated[int, typer.Option(min=0, help="Runs of the loop without a drift.")] = 0,
    drift_s: Annotated[float, typer.Option(help="Seconds from the opening to the drift.")] = 120.0,
    end_s: Annotated[float, typer.Option(help="Seconds from the opening to the end.")] = 330.0,
    only: Annotated[list[str] | None, typer.Option(help="Only these strategies.")] = None,
) -> None:
    """Run it."""
    console = Console()
    report = Report("closed loop", shoppers=SHOPPERS, visits_per_s=VISITS_PER_S, drift_s=drift_s, end_s=end_s)
    chosen = [one for one in STRATEGIES if not only or one.name in only]
    with tempfile.TemporaryDirectory() as name:
        for seed in range(1, seeds + 1):
            for strategy in chosen:
                run = perform(strategy, seed, drift_s, end_s, console, Path(name))
                report.row(strategy=strategy.name, seed=seed, **figures(run))
        for seed in range(1, calm + 1):
            run = perform(Strategy("calm", {}), seed, math.inf, end_s, console, Path(name))
            for before, after in run.promotions():
                report.row(strategy="calm", seed=seed, before=before, after=after, ratio=after / before)
    for strategy in chosen:
        mine = [row for row in report.rows if row["strategy"] == strategy.name]
        if len(mine) > 1:
            report.row(strategy=f"{strategy.name}, median", **medians(mine))
    report.write(json)


def figures(run: Run) -> dict[str, Value]:
    """What there is to say of a run."""
    alarm, promoted = run.since_drift("alarm"), run.since_drift("promoted")
    return {
        "before": run.before(),
        "trough": run.trough(),
        "after": run.after(),
        "after_of_before": run.after() / run.before(),
        "drift_to_alarm_s": alarm,
        "impressions_to_alarm": (
            run.tape.impressions(run.drift_s, run.drift_s + alarm) if math.isfinite(alarm) else None
        ),
        "alarm_to_promoted_s": promoted - alarm,
        "promotions": sum(mark.kind == "promoted" for mark in run.tape.marks),
    }


def medians(rows: list[dict[str, Value]]) -> dict[str, Value]:
    """The median of each figure over seeds."""
    found: dict[str, Value] = {}
    for name in rows[0]:
        values = [row[name] for row in rows if isinstance(row[name], float) and not math.isnan(float(row[name] or 0))]
        if values and name not in ("strategy", "seed"):
            found[name] = statistics.median(float(value or 0) for value in values)
    return found


if __name__ == "__main__":
    typer.run(main)
