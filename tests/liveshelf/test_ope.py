"""``liveshelf ope`` on the Open Bandit data, and what it says of files that are no logs."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from liveshelf.cli import app
from liveshelf.terminal import console

MAP = ("action=item_id", "place=position", "reward=click", "propensity=propensity_score")


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "width", 200)


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, ["ope", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_the_value_of_thompson_sampling_from_uniform_logs_covers_what_it_earned(data_folder: Path) -> None:
    folder = data_folder / "open_bandit"
    mapped = [word for one in MAP for word in ("--map", one)]
    files = (str(folder / "random_men.csv.xz"), "--policy", str(folder / "bts_men.csv.xz"))
    result = run(*files, *mapped, "--json", "--draws", "500")
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["decisions"] == 10_000 and found["truth"] == pytest.approx(0.0069)
    for name, one in found["estimates"].items():
        assert one["low"] < found["truth"] < one["high"], name
        assert one["low"] < one["value"] < one["high"] and 500 < one["effective"] < 10_000
    table = run(*files, *mapped, "--draws", "100")
    assert "snips" in table.output and "in its own log" in table.output


def test_mistakes_are_one_paragraph(tmp_path: Path) -> None:
    good = {"action": "a", "place": 0, "reward": 1, "propensity": 0.5}
    file = tmp_path / "logs.jsonl"
    file.write_text(json.dumps(good) + "\n")
    for row, said in [
        (good | {"propensity": 0}, "above 0"),
        (good | {"reward": "much"}, "much"),
        ({"action": "a"}, "place"),
    ]:
        bad = tmp_path / "bad.jsonl"
        bad.write_text(json.dumps(good) + "\n" + json.dumps(row) + "\n")
        result = run(str(bad), "--policy", str(file))
        assert result.exit_code == 1 and said in result.output and "record 2" in result.output, result.output
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert "holds no decisions" in run(str(empty), "--policy", str(file)).output
    assert "there are reward" in run(str(file), "--policy", str(file), "--map", "price=x").output
