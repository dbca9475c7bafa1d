"""``liveshelf train``: from a file of examples to a version that loads, and mistakes answered with one paragraph."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from liveshelf.cli.app import app
from liveshelf.terminal import console
from liveshelf.training.run import searched
from models.encoder import Encoder
from models.late_interaction import LateInteraction
from models.store import Manifest, ModelStore
from models.store.parts import parts
from models.training.config import TrainConfig
from models.training.search import Searched

THINGS = ("hose", "lamp", "drill", "chair", "kettle", "ladder", "fan", "rug")
COLOURS = ("red", "blue", "green")


@pytest.fixture(autouse=True)
def here(no_settings: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def test_a_trial_that_came_to_no_number_has_a_dash_and_is_not_the_best() -> None:
    found = Searched(TrainConfig(), [({"learning_rate": 1.0}, float("nan")), ({"learning_rate": 0.1}, 0.5)])
    with console.capture() as told:
        console.print(searched(found))
    assert "nan" not in told.get() and searched(found).rows[1].style == "bold"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Every thing asked for, shown in its own kind (bought) and another (ignored)."""
    lines = []
    for place, thing in enumerate(THINGS):
        for colour in COLOURS:
            query = f"{colour} {thing}"
            lines.append({"query": query, "item": f"{thing} in {colour}", "intent": "buy"})
            lines.append({"query": query, "item": f"{THINGS[place - 1]} in {colour}", "intent": "ignore"})
    path = tmp_path / "examples.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    return path


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def train(file: Path, *more: str) -> Manifest:
    """Train, and read the manifest of the version that the command names."""
    result = run("train", str(file), "--report-to", "none", "--contexts", "4", *more)
    assert result.exit_code == 0, result.output
    [made] = re.findall(r"liveshelf models promote (\S+)", " ".join(result.output.split()))
    return ModelStore(".liveshelf/models").manifest(made)


@pytest.mark.parametrize("method", ["head", "lora"])
def test_a_file_of_examples_becomes_a_version_that_loads(file: Path, method: str) -> None:
    made = train(file, "--method", method, "--notes", "a try", "--epochs", "1")
    assert (made.method, made.parent, made.encoder, made.notes) == (method, None, "packaged", "a try")
    assert made.data.examples == 44 and len(made.data.hash) == 16  # two of 24 contexts are set aside, four examples
    assert set(made.metrics) >= {"spearman", "rmse", "log_loss", "ece", "train_s"}
    found = parts(ModelStore(".liveshelf/models"), made.id)
    assert found.head is not None and (found.adapter is not None) == (method == "lora")
    assert LateInteraction.load(found.head).fingerprint() != LateInteraction().fingerprint()
    assert Encoder(found.weights, adapter=found.adapter).encode_queries(["red hose"])[0].pooled.shape == (384,)


def test_a_run_goes_on_from_a_version(file: Path) -> None:
    first = train(file, "--method", "lora", "--epochs", "1")
    second = train(file, "--parent", first.id[:20], "--epochs", "1")
    assert second.parent == first.id and second.method == "head"
    assert parts(ModelStore(".liveshelf/models"), second.id).adapter is not None, (
        "the head still needs its queries' reader"
    )


def test_older_examples_are_not_forgotten_unseen(file: Path, tmp_path: Path) -> None:
    first = train(file, "--epochs", "1")
    new, lines = tmp_path / "new.jsonl", []
    for wood in ("oak", "pine", "ash", "elm"):
        lines.append({"query": f"{wood} table", "item": f"Table of {wood}", "intent": "buy"})
        lines.append({"query": f"{wood} table", "item": "Tin bucket", "intent": "ignore"})
    new.write_text("\n".join(map(json.dumps, lines)))
    made = train(
        new, "--parent", first.id, "--older", str(file), "--older-share", "0.5", "--keep", "1", "--epochs", "1"
    )
    assert made.data.examples > 8, "older ones are trained on too"
    before, after = (made.metrics[f"older_log_loss_{when}"] for when in ("before", "after"))
    assert 0 < before < 1.5 and 0 < after < 1.5 and before != after
    alone = train(new, "--parent", first.id, "--keep", "1", "--epochs", "1")
    assert "older_log_loss_before" not in alone.metrics and alone.data.examples < 8


def test_pairs_without_labels_help_out(file: Path) -> None:
    made = train(file, "--limit", "8", "--unlabelled", str(file), "--describe", "look=like {query}", "--epochs", "1")
    assert made.data.examples > 48, "every pair of the file, and those with labels"


def test_a_search_comes_first(file: Path) -> None:
    result = run("train", str(file), "--report-to", "none", "--contexts", "4", "--epochs", "1", "--search", "2")
    assert result.exit_code == 0, result.output
    assert "Search" in result.output and "Stored as" in result.output


def test_two_processes_train_one_version(file: Path, tmp_path: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    train_it = ["-m", "liveshelf", "train", str(file), "--report-to", "none", "--contexts", "4", "--epochs", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [*launch, *train_it], check=False, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    store = ModelStore(".liveshelf/models")
    [made] = store.ids()
    assert ended.stdout.count("examples to train on") == ended.stdout.count("Stored as") == 1
    state = json.loads(next(Path(".liveshelf/training").glob("checkpoint-*/trainer_state.json")).read_text())
    assert state["max_steps"] == 2 * 3, "22 contexts, four to each of two processes at a step"
    alone = store.manifest(train(file, "--epochs", "2").id).metrics
    both = store.manifest(made).metrics
    assert both["log_loss"] == pytest.approx(alone["log_loss"], abs=0.15)


def test_mistakes_are_one_paragraph(file: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"query": "hose", "item": "Hose", "intent": "steal"}\n')
    for arguments, said in [
        ((str(bad),), "line 1"),
        ((str(file), "--parent", "20200101"), "No version"),
        ((str(file), "--grades", "1"), "no number"),
        ((str(file), "--method", "magic"), "magic"),
        ((str(file), "--loss", "hinge=1"), "hinge"),
        ((str(file), "--map", "item"), "NAME=VALUE"),
        ((str(file), "--keep", "1"), "--parent"),
        ((str(file), "--unlabelled", str(file), "--describe", "buy=cheap"), "{query}"),
        ((str(file), "--mine", "magic"), "magic"),
        ((), "--events"),
    ]:
        result = run("train", *arguments)
        assert result.exit_code in {1, 2} and said in result.output, result.output
