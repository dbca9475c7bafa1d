"""Does the gate refuse what learned from noise, and does the canary take it back where the gate lets it through?

A simulated shop, live, makes examples; of the same ones the trainer's own job then makes run after run, some with
labels as they are, the others with labels shuffled but for the gate's slice. Last, a challenger that knows nothing but
shuffled labels is put in front of half of the shoppers, with one of right labels in charge.
``python -m benchmarks.bad_challengers --json F --runs 20``
"""

import math
import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.progress import Progress

from benchmarks.report import Report
from benchmarks.shopping import shop_of, shopping
from evaluator.gate.config import GateConfig
from evaluator.gate.verdict import Verdict
from evaluator.learning import order
from evaluator.learning.config import LearningConfig
from evaluator.learning.job import BRANDS, LESSON, Job
from evaluator.learning.lesson import Lesson
from evaluator.learning.order import ORDER, Order, Outcome
from evaluator.triggers.trigger import Trigger
from liveshelf.settings import Settings, StackConfig
from liveshelf.simulation.drift import Fashion
from liveshelf.story.notes import Notes
from liveshelf.story.scene import HURRY, Scene, scene
from models.store.slots import CHALLENGER, CHAMPION
from models.training.examples import Example
from streams.meter import Snapshot

EXAMPLES = 40_000
LEARN_S, TRIAL_S = 300.0, 280.0
"""How many examples are waited for, how long at most, and how long a canary may take."""

FASHIONS = (Fashion(0.0),)
"""Half of the brands are liked a quarter as much: something that there is to learn."""

NEVER = "1000000000"
ENV = {
    "TRIGGERS__ALARMS": "[]",
    "TRIGGERS__ENOUGH_EXAMPLES": NEVER,
    "TRIGGERS__LEAST_EXAMPLES": NEVER,
    "ROLLOUT__HARM": "0.02",
    "ROLLOUT__HORIZON_S": "240",
}
"""The trainer keeps examples and rolls out, no challenger that may be worse; it begins no run of its own."""

TRIGGER = Trigger(reason="schedule", summary="A benchmark's run", evidence={}, at=0, examples=0)
ENDS = ("promoted", "rolled back", "gave up")


class Runs:
    """Runs of one shop's examples, with the settings of its trainer."""

    def __init__(self, there: Scene, folder: Path) -> None:
        learning = LearningConfig.model_validate(hurry("LEARNING") | {"folder": str(folder / "bench")})
        examples = there.settings.examples.model_copy(update={"folder": str(folder / "examples")})
        gate = GateConfig.model_validate(hurry("GATE"))
        settings = there.settings.model_copy(update={"learning": learning, "examples": examples, "gate": gate})
        self.config = settings.loop()
        self.folder = folder / "bench"

    def make(self, name: str, champion: str | None, lesson: Path | None = None, seed: int | None = None) -> Outcome:
        """One run: with a lesson of its own, or another run's, with labels shuffled by a seed."""
        run = self.folder / name
        run.mkdir(parents=True)
        order.write(run / ORDER, Order(id=name, by="benchmark", trigger=TRIGGER, champion=champion))
        if lesson is not None:
            told = order.read(lesson / LESSON, Lesson)
            assert told is not None
            if seed is not None:
                train, calibrate = (shuffled(some, seed) for some in (told.train, told.calibrate))
                told = msgspec.structs.replace(told, train=train, calibrate=calibrate)
            order.write(run / LESSON, told)
            order.write(run / BRANDS, order.read(lesson / BRANDS, dict[str, str]))
        return Job(run, self.config, lambda *_: None).run()

    def failed(self, name: str) -> list[str]:
        """The checks that a run's challenger did not pass."""
        verdict = order.read(self.folder / name / "challenger" / "gate.json", Verdict)
        return [check.name for check in verdict.checks if not check.passed] if verdict else []


def hurry(section: str) -> dict[str, str]:
    """A section of the settings that the scene's roles have."""
    prefix = f"{section}__"
    return {name.removeprefix(prefix).lower(): value for name, value in HURRY.items() if name.startswith(prefix)}


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


def trial(there: Scene, seed: int, version: str) -> dict[str, str | float]:
    """Half of the shoppers get a challenger: what becomes of it, when, and after how many impressions."""
    shop, notes, pushed_s = shop_of(there, seed, FASHIONS), Notes(), math.nan
    with shop.staffed():
        for now in shopping(there, shop, TRIAL_S):
            if math.isnan(pushed_s):
                there.promote(version, "past the gate, on purpose", CHALLENGER, share=0.5)
                pushed_s = now
            for note in (note for news in shop.watching.news() for note in notes.update(news)):
                if note.kind in ENDS:
                    shown = shop.tape.impressions(pushed_s, now)
                    return {"end": note.kind, "seconds": now - pushed_s, "impressions": shown, "why": note.text}
    return {"end": "none", "seconds": TRIAL_S, "impressions": 0, "why": ""}


def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures there.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Challengers of shuffled labels, for each champion.")] = 20,
    controls: Annotated[int, typer.Option(min=1, help="Challengers of right labels.")] = 3,
    seed: Annotated[int, typer.Option(help="Of the shop.")] = 1,
) -> None:
    """Run it."""
    report = Report("bad challengers", examples=EXAMPLES, seed=seed)
    bad = dict[str, list[Outcome]]()
    with tempfile.TemporaryDirectory() as folder, Progress(transient=True) as bar:
        settings = Settings(stack=StackConfig(folder=Path(folder)))
        with scene(settings, "bad", lambda _: None, env=ENV) as there:
            shop, examples = shop_of(there, seed, FASHIONS), 0.0
            task = bar.add_task("shopping", total=EXAMPLES)
            with shop.staffed():
                for _ in shopping(there, shop, LEARN_S):
                    said = [news.gauges for news in shop.watching.news() if isinstance(news, Snapshot)]
                    examples = max([examples, *(one.get("new_examples", 0) for one in said)])
                    bar.update(task, completed=examples)
                    if examples >= EXAMPLES:
                        break
            made = Runs(there, Path(folder) / "bad")
            bar.update(task, description="runs", completed=0, total=controls + 2 * runs)
            good = made.make("good", None)
            lesson = made.folder / "good"
            bar.advance(task)
            right = [good, *(made.make(f"good-{n}", None, lesson) for n in range(1, controls))]
            report.row(champion="untrained", labels="right", runs=controls, **_decisions(right), failed="")
            for name, champion in (("untrained", None), ("trained", good.version)):
                bad[name], checks = [], Counter[str]()
                for number in range(runs):
                    bad[name].append(made.make(f"{name}-{number}", champion, lesson, number))
                    checks.update(made.failed(f"{name}-{number}"))
                    bar.advance(task)
                failed = ", ".join(f"{check} {count}" for check, count in checks.most_common(4))
                report.row(champion=name, labels="shuffled", runs=runs, **_decisions(bad[name]), failed=failed)
            there.promote(good.version, "learned from right labels", CHAMPION)
            bar.update(task, description="canary")
            ended = trial(there, seed, bad["untrained"][-1].version)
            report.facts |= {f"canary {name}": value for name, value in ended.items()}
    report.write(json)
    passed = any(one.decision == "passed" for some in bad.values() for one in some)
    if passed or report.facts["canary end"] != "rolled back":
        raise typer.Exit(1)


def _decisions(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """``too_few`` goes no further than ``refused`` does: to no shopper."""
    return {name: sum(one.decision == name for one in outcomes) for name in ("passed", "refused", "too_few")}


if __name__ == "__main__":
    typer.run(main)
