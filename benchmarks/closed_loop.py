"""Does the loop close? Shops with known truth, hit by a drift: the loop, a frozen model, blind retraining.

``python -m benchmarks.closed_loop --json F --seeds 5`` runs each strategy on a stack of its own, three to seven minutes
each; ``--calm 10`` runs the loop without a drift, to see what its promotions do. Shares of the best are of expected
clicks, known in closed form (``docs/simulation.md``), so shoppers' luck is not in them.
"""

import math
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from scipy import stats

from benchmarks.limits import TASTES, Sample, Tastes, of_stopped, shares
from benchmarks.report import Report, Value
from benchmarks.shopping import ITEMS, shop_of, shopping
from benchmarks.smoke import Scale, smoke
from evaluator.monitoring.alerts.alert import Alert
from evaluator.monitoring.alerts.topic import PublishedAlert
from evaluator.monitoring.detectors.shiryaev_roberts import ShiryaevRoberts
from liveshelf.demo.environment import FAST_SETTINGS, DemoEnvironment, demo_environment
from liveshelf.demo.log import StoryLog
from liveshelf.demo.recorder import Kind, Recorder
from liveshelf.demo.shop import Shop
from liveshelf.demo.story import SHOPPERS, VISITS_PER_S
from liveshelf.settings import Settings, StackConfig
from liveshelf.simulation.drift import Drift, Fashion

OLD, NEW = Fashion(0.0, factor=0.1), Fashion(math.inf, factor=0.1)
WINDOW_S = 20.0
STEADY_S, LONG_S, SHORT_S = 30.0, 240.0, 80.0
"""From the first promotion, or the end of patience, to the drift, to the end, and to the end of the strategy that no
drift comes to."""

LEAST_WINDOW_S = 3.0
"""So long that some visits fall into it, whatever the scale."""

CLOSING_S = float(FAST_SETTINGS["EVALUATOR__WINDOW_S"]) + float(FAST_SETTINGS["EVALUATOR__GRACE_S"])
"""Until an impression is judged, which no detector can be blamed for."""

STREAMS = 200
"""Simulated streams that a detector's usual delay is the median of."""

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


SCALED = ("TRIGGERS__LEAST_EXAMPLES", "TRIGGERS__ENOUGH_EXAMPLES", "TRIGGERS__EVERY_S")


@dataclass(frozen=True)
class Strategy:
    """What runs, how long after its first promotion, and the shop's fashions before and after the drift, if one comes;
    ``frozen`` stops learning then."""

    name: str
    env: Mapping[str, str] = field(default_factory=dict)
    stays_s: float = LONG_S
    fashions: tuple[Drift, ...] = (OLD, NEW)
    drifts: bool = True
    frozen: bool = False

    def settings(self, scale: float) -> dict[str, str]:
        """Of the roles."""
        env = {**FAST_SETTINGS, **self.env}
        return env | {name: str(round(scale * float(env[name]))) for name in SCALED if name in env}


STRATEGIES = (
    Strategy("loop"),
    Strategy("frozen", frozen=True),
    Strategy("blind", BLIND),
    Strategy("knew", stays_s=SHORT_S, fashions=(Fashion(math.inf), OLD), drifts=False),
)
"""``knew``: the world after the drift is there from the beginning, so nothing old is in any model's way: the oracle of
what retraining can reach."""


@dataclass(frozen=True)
class Pace:
    """How fast it goes: visits a second, seconds until it goes on without a promotion, and the scale of all else."""

    visits: float
    patience_s: float
    scale: float


DAY_MS = 2_000.0
"""A simulated day, so that things are used up and bought again during a run."""


@dataclass(frozen=True)
class Habits:
    """What shoppers like, the probability that a session goes on with a search, on how many visits it is looked at what
    keeps shelves from the best possible, and of how many items they choose."""

    tastes: Tastes = "all"
    searches: float = 0.45
    limits: int = 0
    items: int = ITEMS


CALM = Strategy("calm", {"TRIGGERS__ENOUGH_EXAMPLES": "30000"}, drifts=False)


@dataclass
class Run:
    """One shop's run: what was recorded, and the first alarm after the drift.

    Attributes
    ----------
    window_s
        Length of the windows that are compared.
    start_ms
        When the shop has opened.
    drift_s, end_s
        When the drift began, and it all ended; infinite until then.
    samples
        What keeps shelves from the best possible at the end.
    """

    recorder: Recorder
    window_s: float
    start_ms: int = 0
    alarm: Alert | None = None
    drift_s: float = math.inf
    end_s: float = math.inf
    samples: list[Sample] = field(default_factory=list)

    def share(self, since_s: float, until_s: float) -> float:
        """Expected clicks in those of the best there could be."""
        return self.recorder.of_oracle(since_s, until_s)

    def trough(self) -> float:
        """Of the best, in the worst window after the drift."""
        starts = range(int(self.drift_s), int(self.end_s - self.window_s))
        shares = [self.share(start, start + self.window_s) for start in starts]
        return min((share for share in shares if not math.isnan(share)), default=math.nan)

    def since_drift(self, kind: Kind) -> float:
        """Seconds from the drift to something; NaN where it did not happen."""
        mark = self.recorder.first(kind, self.drift_s) if math.isfinite(self.drift_s) else None
        return mark.at_s - self.drift_s if mark else math.nan

    def judged(self, alarm: Alert) -> int:
        """Impressions of the alarm's surface, from the drift on, that were closed when it fired."""
        fired_s = (alarm.since - self.start_ms) / 1000
        return self.recorder.impressions(self.drift_s, fired_s - CLOSING_S, alarm.labels["surface"])

    def usual_delay(self, alarm: Alert) -> float:
        """Impressions that its detector needs, by simulation, to see what happened to the click rate here."""
        low = self.recorder.ctr(self.drift_s, self.drift_s + self.window_s, alarm.labels["surface"]).rate
        reference, dispersion = (float(alarm.evidence.get(name, 1.0)) for name in ("reference", "dispersion"))
        return statistics.median(_delay(reference, dispersion, low, seed) for seed in range(STREAMS))

    def promotions(self) -> Iterator[tuple[float, float, float]]:
        """Of each promotion: the share of the best before its canary began, after it, and the chance, by Welch's test
        over seconds, of a fall like this or a larger one where there is none."""
        canary, window_s = math.nan, self.window_s
        for mark in self.recorder.marks:
            if mark.kind == "canary":
                canary = mark.at_s
            elif mark.kind == "promoted" and canary >= window_s and mark.at_s <= self.end_s - window_s:
                before, after = ((start, start + window_s) for start in (canary - window_s, mark.at_s + 1))
                found = stats.ttest_ind(
                    self._seconds(*after), self._seconds(*before), equal_var=False, alternative="less"
                )
                yield self.share(*before), self.share(*after), float(found.pvalue)

    def _seconds(self, since_s: float, until_s: float) -> list[float]:
        shares = (self.share(second, second + 1) for second in range(int(since_s), int(until_s)))
        return [share for share in shares if not math.isnan(share)]


def _delay(reference: float, dispersion: float, rate: float, seed: int, most: int = 200_000) -> int:
    run_length = float(FAST_SETTINGS["EVALUATOR__WATCH_RUN_LENGTH"])
    detector = ShiryaevRoberts(reference, run_length, dispersion=dispersion)
    for place, hit in enumerate((np.random.default_rng(seed).random(most) < rate).tolist(), 1):
        detector.update(hit)
        if detector.drifted:
            return place
    return most


def perform(strategy: Strategy, seed: int, pace: Pace, habits: Habits, console: Console, folder: Path) -> Run:
    """Run one shop from its opening to its end."""
    settings = Settings(stack=StackConfig(folder=folder))
    with demo_environment(
        settings, f"{strategy.name}-{seed}", lambda _: None, env=strategy.settings(pace.scale)
    ) as there:
        tastes = replace(TASTES[habits.tastes], day_ms=DAY_MS)
        shop = shop_of(there, seed, strategy.fashions, pace.visits, habits.searches, tastes, habits.items)
        run = Run(shop.recorder, max(LEAST_WINDOW_S, pace.scale * WINDOW_S))
        with shop.running():
            _live(there, shop, strategy, pace, run, console)
        if habits.limits:
            run.samples = of_stopped(there.settings, shop.world, habits.limits, seed)
    return run


def _live(there: DemoEnvironment, shop: Shop, strategy: Strategy, pace: Pace, run: Run, console: Console) -> None:
    notes, promoted, steady_s, limit_s = StoryLog(), False, math.inf, math.inf
    for now in shopping(there, shop, math.inf):
        for news in shop.listener.news():
            for note in notes.update(news):
                shop.recorder.mark(now, note.kind, note.text)
                console.print(f"{strategy.name} {now:4.0f} s {note.text}", soft_wrap=True, markup=False)
                promoted |= note.kind == "promoted"
                if (
                    note.kind == "alarm"
                    and isinstance(news, PublishedAlert)
                    and run.drift_s <= now
                    and run.alarm is None
                ):
                    run.alarm = news.alert
        if math.isinf(steady_s) and (promoted or now >= pace.patience_s):
            steady_s, limit_s = now + pace.scale * STEADY_S, now + pace.scale * strategy.stays_s
        if strategy.drifts and math.isinf(run.drift_s) and now >= steady_s:
            shop.drift(1)
            run.drift_s = now
            if strategy.frozen:
                there.supervisor.end("trainer-1")
        if now >= limit_s:
            run.start_ms, run.end_s = shop.world.start_ms, now
            return


@smoke(items=60, seeds=1, only=["frozen"], visits=20.0, patience=0.0, scale=0.03)
def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures there.")] = None,
    seeds: Annotated[int, typer.Option(min=0, help="Shops, each with all strategies.")] = 5,
    calm: Annotated[int, typer.Option(min=0, help="Runs of the loop without a drift.")] = 0,
    first: Annotated[int, typer.Option(min=1, help="Seed of the first shop.")] = 1,
    only: Annotated[list[str] | None, typer.Option(help="Only these strategies.")] = None,
    items: Annotated[int, typer.Option(min=24, help="Size of the catalogue.")] = ITEMS,
    visits: Annotated[float, typer.Option(min=1, help="Visits a second.")] = VISITS_PER_S,
    patience: Annotated[float, typer.Option(help="Seconds after which it goes on without a promotion.")] = 300.0,
    scale: Scale = 1.0,
    tastes: Annotated[Tastes, typer.Option(help="What shoppers like: also what text does not say, or text.")] = "all",
    searches: Annotated[float, typer.Option(min=0, max=1, help="How often a session goes on with a search.")] = 0.45,
    limits: Annotated[int, typer.Option(min=0, help="Visits to look at what keeps shelves from the best.")] = 0,
) -> None:
    """Run it."""
    console, pace, habits = Console(), Pace(visits, patience, scale), Habits(tastes, searches, limits, items)
    report = Report(
        "closed loop",
        shoppers=SHOPPERS,
        visits_per_s=visits,
        tastes=tastes,
        searches=searches,
        drift_after_s=scale * STEADY_S,
        end_after_s=scale * LONG_S,
    )
    if unknown := sorted({*(only or ())} - {one.name for one in STRATEGIES}):
        known = ", ".join(one.name for one in STRATEGIES)
        raise typer.BadParameter(f"{', '.join(unknown)}: there are {known}", param_hint="--only")
    chosen = [one for one in STRATEGIES if not only or one.name in only]
    with tempfile.TemporaryDirectory() as name:
        for seed in range(first, first + seeds):
            for strategy in chosen:
                run = perform(strategy, seed, pace, habits, console, Path(name))
                report.row(strategy=strategy.name, seed=seed, **figures(run))
                for row in by_page(run):
                    report.row(part="by page", strategy=strategy.name, seed=seed, **row)
                for row in shares(run.samples):
                    report.row(part="limits", strategy=strategy.name, seed=seed, **row)
        for seed in range(first, first + calm):
            run = perform(CALM, seed, pace, habits, console, Path(name))
            for before, after, chance in run.promotions():
                report.row(strategy="calm", seed=seed, before=before, after=after, chance_of_no_fall=chance)
    for strategy in chosen:
        mine = [row for row in report.rows if row["strategy"] == strategy.name and "part" not in row]
        if len(mine) > 1:
            report.row(strategy=f"{strategy.name}, median", **medians(mine))
    report.write(json)


def figures(run: Run) -> dict[str, Value]:
    """What there is to say of a run; nothing of a time in which nobody came."""
    alarm, promoted = run.since_drift("alarm"), run.since_drift("promoted")
    found: dict[str, Value] = {
        "by_chance": run.recorder.of_chance(run.end_s - run.window_s, run.end_s),
        "after": run.share(run.end_s - run.window_s, run.end_s),
        "promotions": sum(mark.kind == "promoted" for mark in run.recorder.marks),
    }
    if math.isfinite(run.drift_s):
        found |= {"before": run.share(run.drift_s - run.window_s, run.drift_s), "trough": run.trough()}
    if run.alarm is not None:
        judged, usual = run.judged(run.alarm), run.usual_delay(run.alarm)
        found |= {
            "drift_to_alarm_s": alarm,
            "impressions_to_alarm": run.recorder.impressions(run.drift_s, run.drift_s + alarm),
            "judged": judged,
            "usual_delay": usual,
            "of_usual": judged / usual,
            "alarm_to_promoted_s": promoted - alarm,
        }
    return {name: value for name, value in found.items() if not (isinstance(value, float) and math.isnan(value))}


def by_page(run: Run) -> Iterator[dict[str, Value]]:
    """Each page's share of the best possible, before the drift and at the end, with 95 % intervals over seconds."""
    times = {"before": run.drift_s, "after": run.end_s}
    for page in ("search", "feed", "similar"):
        for name, until_s in times.items():
            if math.isinf(until_s):
                continue
            window = until_s - run.window_s, until_s, page
            share, low, high = run.recorder.share(*window)
            if not math.isnan(low):
                chance, visits = run.recorder.of_chance(*window), run.recorder.sampled(*window)
                found: dict[str, Value] = {"page": page, "when": name, "share": share, "low": low, "high": high}
                yield found | {"by_chance": chance, "visits": visits}


def medians(rows: list[dict[str, Value]]) -> dict[str, Value]:
    """The median of each figure over seeds, where there is one."""
    found: dict[str, Value] = {}
    for name in dict.fromkeys(name for row in rows for name in row if name not in ("strategy", "seed")):
        values = [float(value) for row in rows if isinstance(value := row.get(name), int | float)]
        if values:
            found[name] = statistics.median(values)
    return found


if __name__ == "__main__":
    typer.run(main)
