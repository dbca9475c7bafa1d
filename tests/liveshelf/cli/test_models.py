"""``liveshelf models …``: what people see, and what programs read with --json."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from liveshelf.cli.app import app
from models.late_interaction import HeadConfig, LateInteraction
from models.store import Manifest, ModelStore
from tests.models.store.conftest import description


@pytest.fixture(autouse=True)
def here(no_settings: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")  # where nobody answers
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def store() -> ModelStore:
    return ModelStore(".liveshelf/models")


def headed(folder: Path, slope: float) -> Path:
    """A folder with a head of this slope, which serves."""
    LateInteraction(HeadConfig(slope=slope)).save(folder / "head")
    return folder


@pytest.fixture
def two(store: ModelStore, tmp_path: Path) -> tuple[Manifest, Manifest]:
    """A version and one trained from it."""
    first = store.put(headed(tmp_path / "one", 1.0), description(metrics={"spearman": 0.41}))
    second = store.put(
        headed(tmp_path / "two", 2.0), description("lora", metrics={"spearman": 0.45}, parent=first.id, notes="a try")
    )
    return first, second


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["models", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.output
    return result


def test_an_empty_store_is_no_error() -> None:
    assert json.loads(run("ls", "--json").stdout) == []
    run("ls")


def test_versions_are_listed_newest_first_with_their_slot(two: tuple[Manifest, Manifest]) -> None:
    first, second = two
    run("promote", first.id, "--reason", "the first")
    shown = run("ls", "--metric", "spearman").stdout
    assert shown.index(second.id) < shown.index(first.id)
    assert "champion" in shown and "0.45" in shown
    records = json.loads(run("ls", "--json").stdout)
    assert [one["id"] for one in records] == [second.id, first.id]


def test_a_damaged_version_is_told_and_the_others_are_listed(store: ModelStore, two: tuple[Manifest, Manifest]) -> None:
    first, second = two
    store.storage.write(f"versions/{first.id}/manifest.json", b"{")
    result = run("ls", code=1)
    assert second.id in result.stdout and "is no manifest" in result.stderr


def test_one_is_shown_and_two_are_compared(two: tuple[Manifest, Manifest]) -> None:
    first, second = two
    shown = run("show", second.id).stdout
    assert "a try" in shown and first.id in shown and "head/model.safetensors" in shown
    assert json.loads(run("show", second.id, "--json").stdout)["parent"] == first.id
    compared = run("diff", first.id, second.id).stdout
    assert "0.41" in compared and "0.45" in compared and "lora" in compared
    found = json.loads(run("diff", first.id, second.id, "--json").stdout)
    assert found["encoder"] == "shared" and found["fields"]["method"] == {"before": "head", "after": "lora"}


def test_promotion_and_the_way_back(two: tuple[Manifest, Manifest]) -> None:
    first, second = two
    assert "the first" in run("promote", first.id).stdout
    assert first.id in run("promote", second.id).stdout
    assert "clicks fell" in run("rollback", "--reason", "clicks fell").stdout
    assert json.loads(run("show", "champion", "--json").stdout)["id"] == first.id
    assert "champion: none (rolled back" in run("rollback").stdout
    assert "nothing to roll back" in run("rollback", code=1).output


def test_a_challenger_is_tried_and_promoted_or_stopped(store: ModelStore, two: tuple[Manifest, Manifest]) -> None:
    first, second = two
    run("promote", first.id)
    assert "a shadow" in run("canary", second.id, "--share", "0").stdout
    assert "for 10 % of the shoppers" in run("canary", second.id).stdout
    assert "challenger 10 %" in run("ls").stdout
    [newest, _] = json.loads(run("ls", "--json").stdout)
    assert (newest["slots"], newest["shares"]) == (["challenger"], {"challenger": 0.1})
    assert f"before: {second.id}" in run("stop", "--reason", "clicks fell").stdout
    assert "there was none" in run("stop").stdout
    run("canary", second.id, "--share", "0.5")
    run("promote", second.id)
    assert store.slots.read("champion").current.version == second.id  # type: ignore[union-attr]
    assert store.slots.read("challenger").current is None, "it is no challenger any more"
    assert "cannot challenge itself" in run("canary", second.id, code=1).output


def test_what_fails_a_check_comes_into_no_slot(
    store: ModelStore, two: tuple[Manifest, Manifest], tmp_path: Path
) -> None:
    run("promote", two[0].id)
    dull = store.put(headed(tmp_path / "dull", 0.0), description())
    for command in ("promote", "canary"):
        told = run(command, dull.id, code=1).output
        assert f"{dull.id} is refused: all items get the same score" in told
    assert store.slots.read("champion").current.version == two[0].id  # type: ignore[union-attr]
    assert store.slots.read("challenger").current is None


def test_without_kafka_it_is_said_when_workers_will_know(two: tuple[Manifest, Manifest]) -> None:
    told = " ".join(run("promote", two[0].id).stdout.split())
    assert "nothing listens there" in told and "every 5 s" in told


def test_clearing_up_keeps_the_champion(store: ModelStore, two: tuple[Manifest, Manifest]) -> None:
    first, second = two
    run("promote", first.id)
    assert second.id in run("gc", "--keep", "0", "--dry-run").stdout
    assert store.ids() == [first.id, second.id]
    run("gc", "--keep", "0")
    assert store.ids() == [first.id]


def test_clearing_up_keeps_the_challenger_and_what_settings_name(
    store: ModelStore, two: tuple[Manifest, Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = two
    third = store.put(headed(tmp_path / "three", 3.0), description())
    run("canary", first.id, "--share", "0")
    monkeypatch.setenv("LIVESHELF_MODEL__HOLDBACK_VERSION", second.id)
    run("gc", "--keep", "0")
    assert set(store.ids()) == {first.id, second.id} and third.id not in store.ids()


def test_mistakes_are_one_paragraph(two: tuple[Manifest, Manifest]) -> None:
    assert "No version" in run("show", "1999", code=1).output
    assert "No version" in run("promote", "1999", code=1).output
    shutil.rmtree(".liveshelf/models/versions")
    assert "No version" in run("diff", "2026", "2026", code=1).output


@pytest.mark.parametrize("command", ["ls", "show", "diff", "promote", "rollback", "canary", "stop", "gc"])
def test_help_has_an_example(command: str) -> None:
    assert f"liveshelf models {command}" in run(command, "--help").stdout
