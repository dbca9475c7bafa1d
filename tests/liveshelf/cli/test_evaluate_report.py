"""What ``liveshelf evaluate`` leaves and how it ends: report, gate, JUnit XML, exports, runs over time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from junitparser import JUnitXml
from typer.testing import CliRunner

from liveshelf.cli.app import app
from tests.evaluator.offline.test_history import finished

SMALL = ("--dimension", "effect", "--draws", "100")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on forty queries of five items, with its report."""
    folder = tmp_path_factory.mktemp("evaluate")
    rows = [
        {"query": f"query {query}", "item_id": f"{query}-{place}", "title": f"item {place}", "relevance": 1 + place % 3}
        for query in range(40)
        for place in range(5)
    ]
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = evaluate(folder, "--out", str(folder / "run"))
    assert done[0] == 0, done[1]
    assert "report.zh.html" in done[1]
    return folder


def evaluate(folder: Path, *options: str) -> tuple[int, str]:
    """Exit code and output of the command."""
    arguments = ["evaluate", "random", "--data", str(folder / "data.jsonl"), *SMALL, *options]
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments)
    return done.exit_code, done.output


def gate(folder: Path, text: str) -> tuple[int, str]:
    """The same with a gate file, on the run that there is."""
    (folder / "gate.toml").write_text(text)
    junit = str(folder / "junit.xml")
    options = ("--resume", "--out", str(folder / "run"), "--gate", str(folder / "gate.toml"), "--junit", junit)
    return evaluate(folder, *options)


def test_a_run_leaves_a_report_beside_its_figures(run: Path) -> None:
    names = {path.name for path in (run / "run").iterdir()}
    assert {"report.html", "report.zh.html", "summary.json", "per_query.parquet", "provenance.json"} <= names
    assert not [name for name in names if name.endswith(".part")]


def test_the_gate_says_pass_or_fail(run: Path) -> None:
    code, said = gate(run, "[[threshold]]\nmeasure = 'ndcg@10'\nmin = 0.1\n")
    assert code == 0 and "The gate is passed" in said, said
    code, said = gate(run, "[[threshold]]\nmeasure = 'ndcg@10'\ncontender = 'random'\nmin = 0.999\n")
    assert code == 1 and "The gate is not passed: 1 of 1 checks fail" in said, said
    xml = JUnitXml.fromfile(str(run / "junit.xml"))
    assert [(suite.name, suite.failures) for suite in xml] == [("random", 1)]


def test_what_is_wrong_is_told_before_anything_is_evaluated(run: Path) -> None:
    (run / "bad.toml").write_text("[[threshold]]\nmeasure = 'mrr'\n")
    code, said = evaluate(run, "--out", str(run / "other"), "--gate", str(run / "bad.toml"))
    assert code == 1 and "has no bound" in said and "Traceback" not in said
    code, said = evaluate(run, "--out", str(run / "other"), "--export", "comet")
    assert code == 1 and "There is no export 'comet'" in said
    code, said = evaluate(run, "--out", str(run / "other"), "--junit", str(run / "junit.xml"))
    assert code == 2 and "--gate" in said
    assert not (run / "other").exists()


LIGHT = """
import sys
from liveshelf.cli.app import app

try:
    app({words})
except SystemExit as ended:
    print(ended.code, [one for one in ("torch", "scipy", "polars", "sklearn", "jinja2") if one in sys.modules])
"""


@pytest.mark.parametrize(("words", "code"), [(["evaluate"], 0), (["evaluate", "random", "--wrong"], 2)])
def test_what_needs_no_library_loads_none(words: list[str], code: int) -> None:
    """Of the kinds of contenders only the names are shown: importing them takes seconds."""
    done = subprocess.run([sys.executable, "-c", LIGHT.format(words=words)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"{code} []"


def test_a_run_without_data_is_asked_for_it() -> None:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["evaluate", "random"])
    assert done.exit_code == 2 and "--data" in done.output


def test_a_run_in_which_nothing_could_be_measured_fails(run: Path) -> None:
    (run / "broken_contender.py").write_text(
        "class Broken:\n    def fit(self, data): 1 / 0\n    def score(self, c): 0\n"
    )
    words = [sys.executable, "-m", "liveshelf", "evaluate", "python:broken_contender:Broken", "--data", "data.jsonl"]
    done = subprocess.run([*words, *SMALL, "--out", "broken"], cwd=run, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "ZeroDivisionError" in done.stdout and (run / "broken" / "report.html").is_file()


def test_runs_are_compared_over_time(tmp_path: Path) -> None:
    runs = [finished(tmp_path / f"{year}-run", f"{year}-01-01T00:00:00+00:00", year - 2025) for year in (2025, 2026)]
    done = compare(tmp_path, *runs)
    assert done[0] == 0 and "Runs over time" in done[1] and "2026-run" in done[1], done
    assert {path.name for path in (tmp_path / "compared").iterdir()} == {"compare.html", "compare.zh.html"}
    code, said = compare(tmp_path, runs[0], tmp_path)
    assert code == 1 and "holds no finished evaluation" in " ".join(said.split())


def compare(folder: Path, *runs: Path) -> tuple[int, str]:
    """Exit code and output of the comparison."""
    arguments = ["evaluate", "--compare", *map(str, runs), "--out", str(folder / "compared")]
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments)
    return done.exit_code, done.output
