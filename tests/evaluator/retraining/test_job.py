"""A job that was cut off near its end: what is left is done, and no second version is put."""

from pathlib import Path

import pytest

from evaluator.gate.report import conclude, encode
from evaluator.retraining import run_spec
from evaluator.retraining.dataset import TrainingDataset
from evaluator.retraining.job import ABOUT, CHALLENGER, DATASET, Job, work
from evaluator.retraining.run_spec import RESULT, SPEC, RunSpec
from evaluator.retraining.training_run import Trigger
from liveshelf.settings import Settings
from models.late_interaction import LateInteraction
from models.store import Data, Description, ModelStore
from models.store.errors import StoreError
from models.training.examples import Example

TRIGGER = Trigger(reason="schedule", summary="No run for 24 h", evidence={}, at=5, examples=9)
SHOWN = [Example(query="hose", item="Garden hose", intent="look")]


def trained(folder: Path, id: str) -> Path:
    """A run's folder as it is once the gate has spoken."""
    run = folder / id
    (run / CHALLENGER).mkdir(parents=True)
    run_spec.write(run / SPEC, RunSpec(id=id, by="t", trigger=TRIGGER, champion=None))
    told = TrainingDataset(
        train=SHOWN, calibrate=SHOWN, gate=SHOWN, rehearsed=0, without_text=0, since=1, until=2, through=4
    )
    run_spec.write(run / DATASET, told)
    LateInteraction().save(run / CHALLENGER / "head")
    about = Description(
        method="head",
        architecture="late_interaction",
        encoder="packaged",
        encoder_fingerprint="0a1b2c3d",
        data=Data("liveshelf.examples", examples=1),
    )
    run_spec.write(run / ABOUT, about)
    run_spec.write(run / CHALLENGER / "trigger.json", {"run": id})
    (run / CHALLENGER / "gate.json").write_bytes(
        encode(conclude([], [], shoppers=8, queries=10, contexts=12, config={}))
    )
    return run


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        model={"store": str(tmp_path / "models")},
        learning={"folder": str(tmp_path / "learning")},
        examples={"folder": str(tmp_path / "examples")},
    )


def test_cut_off_after_the_store_it_finds_its_version_again(settings: Settings, tmp_path: Path) -> None:
    run = trained(tmp_path / "learning" / "runs", "r1")
    said: list[tuple[str, float]] = []
    made = Job(run, settings.loop(), lambda stage, done: said.append((stage, done))).run()
    assert (made.decision, made.through) == ("passed", 4)
    store = ModelStore(settings.model.store)
    manifest = store.manifest(made.version)
    assert {"gate.json", "trigger.json"} < set(manifest.files)
    assert manifest.notes.startswith("No run for 24 h. Gate passed: ")
    (run / RESULT).unlink()
    assert Job(run, settings.loop(), lambda *_: None).run() == made and store.ids() == [made.version]
    assert Job(run, settings.loop(), lambda *_: pytest.fail("nothing is left")).run() == made
    other = trained(tmp_path / "learning" / "runs", "r2")
    assert Job(other, settings.loop(), lambda *_: None).run().version != made.version
    assert said == [("training", 0.0), ("gate", 0.0)]


def test_what_cannot_be_mended_by_trying_again_is_told(settings: Settings, tmp_path: Path) -> None:
    run = trained(tmp_path / "learning" / "runs", "r1")
    run_spec.write(run / SPEC, RunSpec(id="r1", by="t", trigger=TRIGGER, champion="20200101-000000-head-00000000"))
    told: list[str] = []
    assert work(run, settings.loop(), lambda stage, error="": told.append(f"{stage}: {error}")) == 3
    assert told[0].startswith("failed: No version in") and "20200101-000000-head-00000000" in told[0]


def test_a_disk_that_fails_once_does_not_end_the_run(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(tmp_path / "learning" / "runs", "r1")

    def unreadable(*_: object) -> None:
        raise StoreError("head/model.safetensors cannot be read") from OSError(5, "Input/output error")

    monkeypatch.setattr(ModelStore, "put", unreadable)
    assert work(run, settings.loop(), lambda *_, **__: None) == 1
    monkeypatch.undo()
    assert work(run, settings.loop(), lambda *_, **__: None) == 0
