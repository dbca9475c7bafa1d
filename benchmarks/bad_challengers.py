"""Does the gate refuse what learned from noise, and does the canary take it back where the gate lets it through?

A simulated shop, live, makes examples; of the same ones the trainer's own job then makes run after run, some with
labels as they are, the others with labels shuffled but for the gate's slice. Last, a challenger that knows nothing but
shuffled labels is put in front of half of the shoppers, with a model of right labels as champion.
``python -m benchmarks.bad_challengers --json F --runs 20``
"""

import math
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.progress import Progress

from benchmarks.report import Report
from benchmarks.shopping import ITEMS, shop_of, shopping
from benchmarks.smoke import Scale, smoke
from evaluator.gate.config import GateConfig
from evaluator.gate.report import Verdict, decode
from evaluator.retraining import run_spec
from evaluator.retraining.config import LearningConfig
from evaluator.retraining.dataset import TrainingDataset
from evaluator.retraining.job import BRANDS, DATASET, Job
from evaluator.retraining.run_spec import SPEC, RunResult, RunSpec
from evaluator.retraining.training_run import Trigger
from liveshelf.demo.environment import FAST_SETTINGS, DemoEnvironment, demo_environment
from liveshelf.demo.log import StoryLog
from liveshelf.demo.shop import Shop
from liveshelf.demo.story import VISITS_PER_S
from liveshelf.settings import Settings, StackConfig
from liveshelf.simulation.drift import Fashion
from models.measures.names import LOG_LOSS
from models.store.slots import CHALLENGER, CHAMPION
from models.training.examples import Example
from streams.telemetry.meter import Snapshot

EXAMPLES = 40_000
LEARN_S, HORIZON_S, MORE_S = 300.0, 480.0, 40.0
"""How many examples are waited for, how long at most, how long a canary may take, and how long its end."""

FASHIONS = (Fashion(0.0),)
"""Half of the brands are liked a quarter as much: something that there is to learn."""

LEARNED = "right-0"
NEVER = "1000000000"
ENV = {
    "TRIGGERS__ALARMS": "[]",
    "TRIGGERS__ENOUGH_EXAMPLES": NEVER,
    "TRIGGERS__LEAST_EXAMPLES": NEVER,
    "ROLLOUT__HARM": "0.02",
}
"""The trainer keeps examples and rolls out, no challenger that may be worse; it begins no run of its own."""

TRIGGER = Trigger(reason="schedule", summary="A benchmark's run", evidence={}, at=0, examples=0)
ENDS = ("promoted", "rolled back", "gave up")


class Runs:
    """Runs of one shop's examples, with the settings of its trainer."""

    def __init__(self, there: DemoEnvironment, folder: Path, scale: float, tick: Callable[[], None]) -> None:
        learning = LearningConfig.model_validate(hurry("LEARNING") | {"folder": str(folder / "bench")})
        examples = there.settings.examples.model_copy(update={"folder": str(folder / "examples")})
        wanted = hurry("GATE")
        gate = GateConfig.model_validate(
            wanted | {"least_queries": max(2, round(scale * int(wanted["least_queries"])))}
        )
        settings = there.settings.model_copy(update={"learning": learning, "examples": examples, "gate": gate})
        self.config = settings.loop()
        self.folder = folder / "bench"
        self.tick = tick

    def make(self, name: str, champion: str | None, lesson: Path | None = None, seed: int = 0) -> RunResult:
        """One run: with a lesson of its own, or with another run's, its labels shuffled by a seed."""
        run = self.folder / name
        run.mkdir(parents=True)
        run_spec.write(run / SPEC, RunSpec(id=name, by="benchmark", trigger=TRIGGER, champion=champion))
        if lesson is not None:
            told = run_spec.read(lesson / DATASET, TrainingDataset)
            assert told is not None
            train, calibrate = (shuffled(some, seed) for some in (told.train, told.calibrate))
            run_spec.write(run / DATASET, msgspec.structs.replace(told, train=train, calibrate=calibrate))
            run_spec.write(run / BRANDS, run_spec.read(lesson / BRANDS, dict[str, str]))
        outcome = Job(run, self.config, lambda *_: None).run()
        self.tick()
        return outcome

    def verdict(self, name: str) -> Verdict:
        """What the gate found of a run's challenger."""
        return decode((self.folder / name / "challenger" / "gate.json").read_bytes())

    def loss(self, name: str) -> float:
        """By how much a run's challenger has a larger log loss than the champion; nothing where too few were seen."""
        found = (one.difference for one in self.verdict(name).figures if one.measure == LOG_LOSS)
        return next((one for one in found if one is not None), -math.inf)


def hurry(section: str) -> dict[str, str]:
    """A section of the settings that the scene's roles have."""
    prefix = f"{section}__"
    return {
        name.removeprefix(prefix).lower(): value for name, value in FAST_SETTINGS.items() if name.startswith(prefix)
    }


def shuffled(examples: Sequence[Example], seed: int) -> list[Example]:
    """The same impressions, each with what became of another one.

    Examples
    --------
    >>> some = [Example(query="hose", item=str(n), intent="look" if n < 2 else "ignore") for n in range(6)]
    >>> found = shuffled(some, 1)
    >>> [one.item for one in found] == [one.item for one in some], sorted(one.intent for one in found)
    (True, ['ignore', 'ignore', 'ignore', 'ignore', 'look', 'look'])
    """
    labels = [(one.intent, one.weight) for one in examples]
    random.Random(seed).shuffle(labels)
    return [
        msgspec.structs.replace(one, intent=intent, weight=weight)
        for one, (intent, weight) in zip(examples, labels, strict=True)
    ]


def trial(there: DemoEnvironment, shop: Shop, version: str, until_s: float) -> dict[str, str | float]:
    """Half of the shoppers get a challenger: what becomes of it, when, and after how many impressions."""
    notes, pushed_s = StoryLog(), math.nan
    with shop.running():
        for now in shopping(there, shop, until_s):
            if math.isnan(pushed_s):
                there.promote(version, "past the gate, on purpose", CHALLENGER, share=0.5)
                pushed_s = now
            for note in (note for news in shop.listener.news() for note in notes.update(news)):
                if note.kind in ENDS:
                    shown = shop.recorder.impressions(pushed_s, now)
                    return {"end": note.kind, "seconds": now - pushed_s, "impressions": shown, "why": note.text}
    return {"end": "none", "seconds": until_s, "impressions": 0, "why": ""}


def learn(there: DemoEnvironment, shop: Shop, enough: int, tell: Callable[[float], None]) -> None:
    """Shop until there are examples enough; told how many there are."""
    examples = 0.0
    with shop.running():
        for _ in shopping(there, shop, LEARN_S):
            said = [news.gauges for news in shop.listener.news() if isinstance(news, Snapshot)]
            examples = max([examples, *(one.get("new_examples", 0) for one in said)])
            tell(examples)
            if examples >= enough:
                return


def several(made: Runs, report: Report, name: str, champion: str | None, count: int, labels: str) -> list[RunResult]:
    """Runs of one kind, and a row of the report: their outcomes."""
    outcomes, failed = list[RunResult](), Counter[str]()
    for number in range(count):
        lesson = made.folder / LEARNED if labels == "shuffled" else None
        outcomes.append(made.make(f"{name}-{number}", champion, lesson, number))
        checks = made.verdict(f"{name}-{number}").checks
        failed.update(check.measure for check in checks if check.outcome != "passed")
    # ``too_few`` goes no further than ``refused`` does: to no shopper.
    decided = {kind: sum(one.decision == kind for one in outcomes) for kind in ("passed", "refused", "too_few")}
    why = ", ".join(f"{check} {times}" for check, times in failed.most_common(4))
    report.row(champion="trained" if champion else "untrained", labels=labels, runs=count, **decided, failed=why)
    return outcomes


@smoke(items=60, runs=1, visits=20.0, scale=0.005)
def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures there.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Challengers of shuffled labels, for each champion.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the shop.")] = 1,
    items: Annotated[int, typer.Option(min=24, help="Size of the catalogue.")] = ITEMS,
    visits: Annotated[float, typer.Option(min=1, help="Visits a second.")] = VISITS_PER_S,
    scale: Scale = 1.0,
) -> None:
    """Run it."""
    enough, horizon_s = round(scale * EXAMPLES), scale * HORIZON_S
    report = Report("bad challengers", examples=enough, seed=seed)
    with tempfile.TemporaryDirectory() as folder, Progress(transient=True) as bar:
        settings = Settings(stack=StackConfig(folder=Path(folder)))
        with demo_environment(
            settings, "bad", lambda _: None, env=ENV | {"ROLLOUT__HORIZON_S": str(horizon_s)}
        ) as there:
            task = bar.add_task("shopping", total=enough)
            shop = shop_of(there, seed, FASHIONS, visits, items=items)
            learn(there, shop, enough, lambda examples: bar.update(task, completed=examples))
            bar.update(task, description="runs", completed=0, total=1 + 2 * runs)
            made = Runs(there, Path(folder) / "bad", scale, lambda: bar.advance(task))
            [good] = several(made, report, "right", None, 1, "right")
            noise = several(made, report, "untrained", None, runs, "shuffled")
            bad = noise + several(made, report, "trained", good.version, runs, "shuffled")
            there.promote(good.version, "learned from right labels", CHAMPION)
            bar.update(task, description="canary")
            losses = [made.loss(f"untrained-{number}") for number in range(runs)]
            worst = noise[losses.index(max(losses))]
            shop = shop_of(there, seed, FASHIONS, visits, items=items)
            ended = trial(there, shop, worst.version, horizon_s + MORE_S)
            report.facts |= {f"canary {name}": value for name, value in ended.items()}
    report.write(json)
    stopped = report.facts["canary end"] in ("rolled back", "gave up")
    if scale >= 1 and (any(one.decision == "passed" for one in bad) or not stopped):  # fewer examples decide nothing
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
