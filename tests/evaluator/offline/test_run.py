"""A run: contenders that crash, exit or give NaN are rows that say so, and a run that is killed goes on.

Contenders are classes of a module beside the test, in processes of their own.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from evaluator.offline.dimensions import dimension as dimensions
from evaluator.offline.run import SPEC, collected, prepare, run, slug
from evaluator.offline.spec import Spec
from evaluator.offline.summary import summarise
from evaluator.preparation.tables import DataError

MODULE = """
import multiprocessing, os, sys, time
from pathlib import Path
import numpy as np

HERE = Path(__file__).parent

class Honest:
    def fit(self, data): self.data = data
    def score(self, cases): return [np.arange(len(case.items), dtype=float) for case in cases]

class Crashes(Honest):
    def score(self, cases): raise IndexError("list index out of range")

class Exits(Honest):
    def score(self, cases): os._exit(7)

class GivesNaN(Honest):
    def score(self, cases): return [np.full(len(case.items), np.nan) for case in cases]

class Slow(Honest):
    def score(self, cases):
        open("scoring", "w").close()
        time.sleep(3)
        return super().score(cases)

class Mended(Honest):
    def score(self, cases):
        mood = open(HERE / "mood").read()
        if mood == "crash": raise IndexError("list index out of range")
        if mood == "exit": os._exit(7)
        if mood == "fail safety":
            from evaluator.offline.dimensions import safety
            def fail(bench): raise ValueError("no words")
            safety.DIMENSION.measure = fail
        return super().score(cases)

class Leaves(Honest):
    def score(self, cases): os._exit(0)

class Quits(Honest):
    def fit(self, data): sys.exit(0)

class Text(Honest):
    def score(self, cases): return [["high"] * len(case.items) for case in cases]

class Imaginary(Honest):
    def score(self, cases): return [np.arange(len(case.items)) * 1j for case in cases]

class Nothing(Honest):
    def score(self, cases): return None

class NoChances(Honest):
    def probabilities(self, cases): return [np.full((len(case.items), 4), np.nan) for case in cases]

class Moves(Honest):
    def fit(self, data):
        self.data = data
        os.chdir("/")

class Bytes(Honest):
    def score(self, cases): return [np.arange(len(case.items), dtype=np.uint8) for case in cases]

class Lists(Honest):
    def score(self, cases): return (list(range(len(case.items))) for case in cases)

def places(case): return np.arange(len(case.items), dtype=float)

class Splits(Honest):
    def score(self, cases):
        with multiprocessing.get_context("fork").Pool(1) as pool:
            return pool.map(places, cases)

class LeavesChild(Honest):
    def fit(self, data):
        self.data = data
        if not (child := os.fork()):
            time.sleep(600)
            os._exit(0)
        (HERE / "child").write_text(str(child))

class Light(Honest):
    def score(self, cases):
        heavy = {"torch", "transformers", "sklearn", "lightgbm", "captum"} & set(sys.modules)
        (HERE / "modules").write_text(" ".join(heavy))
        return super().score(cases)
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Spec:
    rows = ["query,id,title,grade"]
    rows += [f"query {n % 12},{n},title {n} of {n % 5},{1 + (n // 12 + n) % 3}" for n in range(90)]
    (tmp_path / "judged.csv").write_text("\n".join(rows))
    (tmp_path / "own_contenders.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return Spec(
        data=str(tmp_path / "judged.csv"), task="graded", contenders=["random"], dimensions=["effect"], draws=100
    )


def test_contenders_that_fail_are_rows_that_say_so(spec: Spec, tmp_path: Path) -> None:
    names = [f"python:own_contenders:{name}" for name in ("Crashes", "Exits", "GivesNaN")]
    asked = msgspec.structs.replace(spec, contenders=[*names, "python:own_contenders:Honest"])
    prepare(asked, tmp_path / "out")
    results = run(asked, tmp_path / "out", lambda *_: None)
    summary = summarise(results, "graded")
    assert {name: said[0] for name, said in summary.failures.items()} == {
        names[0]: "scoring: IndexError in own_contenders.py, line 13",
        names[1]: "process: its process ended with exit code 7",
        names[2]: "scoring: gave a score that is no finite number for case q0",
    }
    measured = {row.contender for row in summary.rows if row.value is not None}
    assert measured == {"python:own_contenders:Honest"} and summary.winner in measured


ODD = {
    "Leaves": "process: its process ended with exit code 0",
    "Quits": "process: its process ended with exit code 0",
    "Text": "scoring: gave scores that are no numbers for case q0",
    "Imaginary": "scoring: gave scores that are no numbers for case q0",
    "Nothing": "scoring: gave no list of scores",
    "NoChances": "scoring: gave probabilities that are none for case q0",
}


def test_contenders_that_end_without_a_word_or_give_no_numbers_are_rows_that_say_so(spec: Spec, tmp_path: Path) -> None:
    asked = msgspec.structs.replace(spec, contenders=[f"python:own_contenders:{name}" for name in ODD])
    prepare(asked, tmp_path / "out")
    summary = summarise(run(asked, tmp_path / "out", lambda *_: None), "graded")
    assert {name.rpartition(":")[2]: said[0] for name, said in summary.failures.items()} == ODD
    assert not summary.rows


def test_scores_of_any_numbers_are_ranked_alike(spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small unsigned numbers, lists, a working folder that changes: the figures are those of plain scores."""
    monkeypatch.chdir(tmp_path)
    names = [f"python:own_contenders:{name}" for name in ("Honest", "Bytes", "Lists", "Moves", "Splits")]
    asked = msgspec.structs.replace(spec, contenders=names)
    prepare(asked, Path("out"))
    honest, *others = run(asked, Path("out"), lambda *_: None)
    assert honest.parts and all(one.parts == honest.parts and not one.failures for one in others)


def test_a_process_that_a_contender_leaves_behind_holds_nothing_up(spec: Spec, tmp_path: Path) -> None:
    asked = msgspec.structs.replace(spec, contenders=["python:own_contenders:LeavesChild"])
    prepare(asked, tmp_path / "out")
    try:
        [found] = run(asked, tmp_path / "out", lambda *_: None)
        os.kill(child := int((tmp_path / "child").read_text()), 0)  # it still runs
    finally:
        os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)
    assert child and found.parts and not found.failures


def command(spec: Spec, out: Path, *options: str) -> list[str]:
    """The real command that evaluates a specification."""
    words = [sys.executable, "-m", "liveshelf", "evaluate", *spec.contenders, "--data", spec.data, "--out", str(out)]
    words += [word for name in spec.dimensions for word in ("--dimension", name)]
    return [*words, "--draws", str(spec.draws), *options]


def figures(folder: Path) -> dict[str, object]:
    """What a run found, without how long it took."""
    spec = msgspec.json.decode((folder / SPEC).read_bytes(), type=Spec)
    results = [collected(spec, folder, name) for name in spec.contenders]
    summary = msgspec.json.decode((folder / "summary.json").read_bytes())
    return {"results": [(one.contender, one.parts, one.failures) for one in results], "summary": summary}


def test_a_command_that_is_killed_goes_on_to_the_same_results(spec: Spec, tmp_path: Path) -> None:
    asked = msgspec.structs.replace(spec, contenders=["random", "python:own_contenders:Slow", "popularity"])
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    first = killed / "contenders" / "random" / "effect.json"
    slow = killed / "contenders" / slug("python:own_contenders:Slow")
    with subprocess.Popen(command(asked, killed), cwd=tmp_path, start_new_session=True) as process:
        wait(lambda: first.is_file() and (tmp_path / "scoring").exists(), process)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL and not (slow / "effect.json").exists()
    wait(lambda: not _members(process.pid))  # the killed run's own processes end too
    left = first.stat().st_mtime_ns
    subprocess.run(command(asked, killed, "--resume"), cwd=tmp_path, check=True, capture_output=True)
    assert first.stat().st_mtime_ns == left, "what is finished is not done again"
    subprocess.run(command(asked, whole), cwd=tmp_path, check=True, capture_output=True)
    assert figures(killed) == figures(whole) and len(figures(whole)["results"]) == 3
    names = sorted(path.relative_to(whole) for path in whole.rglob("*"))
    assert sorted(path.relative_to(killed) for path in killed.rglob("*")) == names, "no half of a file is left"


def test_ctrl_c_ends_all_at_once_without_a_traceback(spec: Spec, tmp_path: Path) -> None:
    asked = msgspec.structs.replace(spec, contenders=["python:own_contenders:Slow"])
    with subprocess.Popen(
        command(asked, tmp_path / "out"), cwd=tmp_path, start_new_session=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        wait((tmp_path / "scoring").exists, process)
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate()
    assert process.returncode == 130 and "Traceback" not in said, said
    wait(lambda: not _members(process.pid))


@pytest.mark.parametrize(("one", "other"), [("a:b/c", "a:b_c"), ("x" * 300, "x" * 301)])
def test_every_contender_has_a_folder_of_its_own(one: str, other: str) -> None:
    assert slug(one) != slug(other) and len(slug(one)) < 120


def wait(condition: Callable[[], bool], process: subprocess.Popen[bytes] | None = None) -> None:
    """Wait until something is so, while a process runs."""
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline and (process is None or process.poll() is None)
        time.sleep(0.01)


def test_what_failed_is_tried_again_and_counts_as_failed_until_it_succeeds(spec: Spec, tmp_path: Path) -> None:
    name, out = "python:own_contenders:Mended", tmp_path / "out"
    asked = msgspec.structs.replace(spec, contenders=[name], dimensions=["effect", "safety"])
    place = out / "contenders" / slug(name)
    said: list[list[str]] = []
    for mood in ("crash", "exit", "fail safety", "well"):
        (tmp_path / "mood").write_text(mood)
        prepare(asked, out)
        stages: list[str] = []
        [result] = run(asked, out, lambda _, stage, __, stages=stages: stages.append(stage))  # type: ignore[misc]
        said.append([one.stage for one in result.failures])
        assert set(result.parts) == {"fail safety": {"effect"}, "well": {"effect", "safety"}}.get(mood, set())
        if mood == "well":
            assert "safety" in stages and "effect" not in stages, "only what failed is done again"
    assert said == [["scoring"], ["process", "scoring"], ["safety"], []]
    assert not list(place.glob("failure-*"))


@pytest.mark.parametrize("same_size", [True, False])
def test_data_that_has_changed_is_refused(spec: Spec, tmp_path: Path, same_size: bool) -> None:
    out, data = tmp_path / "out", Path(spec.data)
    prepare(spec, out)
    text = data.read_text()
    data.write_text(text.replace("title 7 ", "title 8 ") if same_size else f"{text}\nquery 1,99,title,2")
    with pytest.raises(DataError, match=r"judged.csv has changed since the evaluation in .*out began"):
        prepare(spec, out)
    [result] = run(spec, out, lambda *_: None)
    assert "judged.csv has changed" in result.failures[0].error and not result.parts, "while it runs too"
    data.write_text(text)
    prepare(spec, out)
    assert not run(spec, out, lambda *_: None)[0].failures


def test_a_contender_without_torch_is_measured_without_it(spec: Spec, tmp_path: Path) -> None:
    """Torch takes seconds to import, and 600 MB that would count as the contender's memory."""
    asked = msgspec.structs.replace(spec, contenders=["python:own_contenders:Light"], dimensions=[])
    prepare(asked, tmp_path / "out")
    [result] = run(asked, tmp_path / "out", lambda *_: None)
    assert not result.failures and set(result.parts) == set(dimensions.names())
    assert (tmp_path / "modules").read_text().split() == []


def _members(session: int) -> list[str]:
    """Processes of a session that still run."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and os.getsid(int(folder.name)) == session:
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                found += [folder.name] if state != "Z" else []
        except OSError:
            continue
    return found
