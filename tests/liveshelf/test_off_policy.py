"""``liveshelf ope`` on the Open Bandit data, and what it says of files that are no logs."""

import gzip
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from liveshelf.cli.app import app

MAP = ("action=item_id", "place=position", "reward=click", "propensity=propensity_score")


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


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
        (good | {"reward": "nan"}, "not from -1e+09 to 1e+09"),
        (good | {"reward": 1e308}, "not from -1e+09 to 1e+09"),
        (good | {"reward": "-inf"}, "not from"),
        (good | {"reward": 10**400}, "too large"),
        (good | {"reward": [1]}, "'list' is no number"),
        (good | {"action": [1]}, "neither text nor a number"),
    ]:
        bad = tmp_path / "bad.jsonl"
        bad.write_text(json.dumps(good) + "\n" + json.dumps(row) + "\n")
        result = run(str(bad), "--policy", str(file))
        assert result.exit_code == 1 and said in result.output and "line 2" in result.output, result.output
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert "holds no decisions" in run(str(empty), "--policy", str(file)).output
    assert "there are reward" in run(str(file), "--policy", str(file), "--map", "price=x").output


HEADER = b"action,place,reward,propensity\n"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", HEADER + "é,0,1,0.5\n".encode() * 2 + b"caf\xe9,0,1,0.5\n", "line 4: the row is not UTF-8"),
        ("a.csv", HEADER + b"a,0,1,0.5,9\n", "line 2: 5 cells; the header has 4"),
        ("a.csv", HEADER + b"a,0,1\n", "line 2: 3 cells; the header has 4"),
        ("a.csv", HEADER + b"a,0," + b"9" * 400 + b",0.5\n", "line 2: the reward inf is not from"),
        ("a.csv", b"action,place,reward,reward,propensity\na,0,1,2,0.5\n", "has reward more than once"),
        ("a.jsonl", b"caf\xe9\n", "line 1: DecodeError"),
        ("a.jsonl", b'{"action": ' + b"[" * 100_000, "line 1: RecursionError"),
        ("a.jsonl.gz", gzip.compress(b'{"action": "a"}', mtime=0)[:-4], "damaged and cannot be read beyond line 0"),
    ],
)
def test_a_file_that_is_no_log_is_one_paragraph(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    result = run(str(path), "--policy", str(path))
    assert result.exit_code == 1 and said in " ".join(result.output.split()), result.output
