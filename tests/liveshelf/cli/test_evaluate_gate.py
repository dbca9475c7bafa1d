"""The trainer's gate and ``liveshelf evaluate --gate`` on its held-out slice: the same figures, the same decisions."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from junitparser import Error, Failure, JUnitXml
from typer.testing import CliRunner

from evaluator.gate import held_out
from evaluator.gate.report import Verdict, decode
from evaluator.offline.summary import Row, Summary
from evaluator.retraining import run_spec
from evaluator.retraining.dataset import TrainingDataset, training_dataset
from evaluator.retraining.job import BRANDS, CHALLENGER, DATASET, Job
from evaluator.retraining.run_spec import SPEC, RunSpec
from evaluator.retraining.training_run import Trigger
from liveshelf.cli.app import app
from liveshelf.settings import Settings
from models.training.examples import Example
from streams.catalog.embedding import text
from tests import lessons

pytestmark = pytest.mark.timeout(900)

VIEWS = 600
TRIGGER = Trigger(reason="schedule", summary="A test's run", evidence={}, at=0, examples=0)
TIMES = ("latency p50", "latency p99")

GATE = {
    "least_shoppers": 50,
    "least_queries": 50,
    "draws": 200,
    "latency_calls": 5,
    "latency_repeats": 1,
    "latency_median": 100,
    "latency_p99": 100,
    "robustness_contexts": 40,
    "exposure_contexts": 40,
    "exposure_item": 1,
    "exposure_brand": 1,
    "pool": 100,
}


@dataclass
class Trained:
    """Three versions of a store, the verdicts on the last two beside the first, and the trainer's slice."""

    folder: Path
    versions: dict[str, str]
    verdicts: dict[str, Verdict]

    def name(self, run: str) -> str:
        """As a contender."""
        return f"version:{self.folder / 'models'}#{self.versions[run]}"


def shuffled(examples: list[Example], seed: int) -> list[Example]:
    labels = [one.intent for one in examples]
    random.Random(seed).shuffle(labels)
    return [msgspec.structs.replace(one, intent=label) for one, label in zip(examples, labels, strict=True)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    """Heads trained by the trainer's own job: the champion on a few views, one on all, one on shuffled labels."""
    folder = tmp_path_factory.mktemp("gate")
    settings = Settings(
        model={"store": str(folder / "models")},
        learning={"folder": str(folder / "learning"), "epochs": 2},
        examples={"folder": str(folder / "examples")},
        gate=GATE,
    )
    items = lessons.items(104)
    texts, brands = {one.item_id: text(one) for one in items}, {text(one): one.brand or "" for one in items}
    whole = training_dataset(lessons.views(items, VIEWS, 1_000), [], texts.get, settings.learning)
    few = msgspec.structs.replace(whole, train=shuffled(whole.train[: 6 * 40], 1))
    noise = msgspec.structs.replace(whole, train=shuffled(whole.train, 2), calibrate=shuffled(whole.calibrate, 3))
    found = Trained(folder, {}, {})
    for name, dataset in (("champion", few), ("good", whole), ("noise", noise)):
        found.versions[name], found.verdicts[name] = made(folder, name, dataset, brands, settings, found)
    yield found


def made(
    folder: Path, name: str, dataset: TrainingDataset, brands: dict[str, str], settings: Settings, before: Trained
) -> tuple[str, Verdict]:
    run = folder / name
    run.mkdir()
    champion = before.versions.get("champion")
    run_spec.write(run / SPEC, RunSpec(id=name, by="test", trigger=TRIGGER, champion=champion))
    run_spec.write(run / DATASET, dataset)
    run_spec.write(run / BRANDS, brands)
    result = Job(run, settings.loop(), lambda *_: None).run()
    return result.version, decode((run / CHALLENGER / "gate.json").read_bytes())


@pytest.fixture(scope="module")
def evaluated(trained: Trained) -> Path:
    """A run of ``liveshelf evaluate`` on the slice, checked against the trainer's exported thresholds."""
    environment = {f"LIVESHELF_GATE__{name.upper()}": str(value) for name, value in GATE.items()}
    command = CliRunner(env={"COLUMNS": "200", **environment})
    exported = command.invoke(app, ["config", "--gate"])
    assert exported.exit_code == 0, exported.output
    (trained.folder / "gate.toml").write_text(exported.stdout)
    done = command.invoke(
        app,
        [
            *("evaluate", *(trained.name(run) for run in ("champion", "good", "noise"))),
            *("--data", str(trained.folder / "good" / held_out.FILE), "--out", str(trained.folder / "out")),
            *("--gate", str(trained.folder / "gate.toml"), "--junit", str(trained.folder / "junit.xml")),
            *("--dimension", "effect", "--draws", "100"),
        ],
    )
    assert done.exit_code == 1 and "The gate is not passed" in done.output, done.output
    return trained.folder


def rows(folder: Path, contender: str) -> dict[tuple[str, str], Row]:
    summary = msgspec.json.decode((folder / "out" / "summary.json").read_bytes(), type=Summary)
    return {(row.measure, row.segment): row for row in summary.rows if row.contender == contender}


def test_the_trainer_passes_what_learned_and_refuses_noise(trained: Trained) -> None:
    assert trained.verdicts["good"].decision == "passed", trained.verdicts["good"].sentence
    assert trained.verdicts["noise"].decision == "refused", trained.verdicts["noise"].sentence


def test_both_gates_decide_alike_check_by_check(trained: Trained, evaluated: Path) -> None:
    xml = JUnitXml.fromfile(str(evaluated / "junit.xml"))
    told = {
        (suite.name, case.name): {Failure: "failed", Error: "too_few"}[type(case.result[0])]
        if case.result
        else "passed"
        for suite in xml
        for case in suite
    }
    for run in ("good", "noise"):
        checks = trained.verdicts[run].checks
        assert len(checks) > 15
        for check in checks:
            if check.measure not in TIMES:
                assert told[trained.name(run), check.asked] == check.outcome, (run, check)
    assert {outcome for (name, _), outcome in told.items() if name == trained.name("good")} == {"passed"}
    assert not any(name == trained.name("champion") for name, _ in told), "the reference is asked nothing"


def test_figures_of_one_name_are_the_same(trained: Trained, evaluated: Path) -> None:
    for run in ("good", "noise"):
        own, of_champion = rows(evaluated, trained.name(run)), rows(evaluated, trained.name("champion"))
        for figure in trained.verdicts[run].figures:
            if figure.measure in TIMES:
                continue
            row = own[figure.measure, figure.segment]
            for name in ("value", "reference", "difference", "difference_low", "difference_high"):
                assert getattr(row, name) == pytest.approx(getattr(figure, name), abs=1e-9), (name, figure)
            if figure.reference is not None:
                assert of_champion[figure.measure, figure.segment].value == pytest.approx(figure.reference, abs=1e-9)


def test_what_effect_measures_by_itself_is_what_the_gate_measures(trained: Trained, evaluated: Path) -> None:
    """Each contender in a process of its own, from the cases: before the gate's figures are put in their place."""
    for run in ("good", "noise"):
        [folder] = (evaluated / "out" / "contenders").glob(f"*{trained.versions[run]}*")
        readings = json.loads((folder / "effect.json").read_bytes())["readings"]
        found = {one["measure"]: one["value"] for one in readings if not one["segment"]}
        for figure in trained.verdicts[run].figures:
            if not figure.segment and figure.value is not None:
                assert found[figure.measure] == pytest.approx(figure.value, abs=1e-6), figure.measure
