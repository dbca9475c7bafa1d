"""A run: contenders that crash, exit or give NaN are rows that say so, and a run that is killed goes on.

Contenders are classes of a module beside the test, in processes of their own.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from evaluator.offline.run import Result, collected, prepare, run
from evaluator.offline.spec import Spec
from evaluator.offline.summary import summarise

MODULE = """
import os, time
import numpy as np

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
        time.sleep(0.5)
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
        names[0]: "scoring: IndexError in own_contenders.py, line 10",
        names[1]: "process: its process ended with exit code 7",
        names[2]: "scoring: gave a score that is no finite number for case q0",
    }
    measured = {row.contender for row in summary.rows if row.value is not None}
    assert measured == {"python:own_contenders:Honest"} and summary.winner in measured


STARTED = """
import sys
import msgspec
from pathlib import Path
from evaluator.offline.run import prepare, run
from evaluator.offline.spec import Spec

if __name__ == "__main__":
    spec = msgspec.json.decode(sys.argv[1], type=Spec)
    sys.path.insert(0, str(Path(__file__).parent))
    prepare(spec, Path(sys.argv[2]))
    run(spec, Path(sys.argv[2]), lambda *_: None)
"""


def figures(results: list[Result]) -> list[object]:
    return [(one.contender, one.parts, one.failures) for one in results]


def test_a_run_that_is_killed_goes_on_to_the_same_results(spec: Spec, tmp_path: Path) -> None:
    asked = msgspec.structs.replace(spec, contenders=["random", "python:own_contenders:Slow"])
    (tmp_path / "started.py").write_text(STARTED)
    killed = tmp_path / "killed"
    argv = [sys.executable, str(tmp_path / "started.py"), msgspec.json.encode(asked).decode(), str(killed)]
    with subprocess.Popen(argv, start_new_session=True) as process:
        while not (killed / "contenders" / "random" / "effect.json").is_file():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    left = next(iter((killed / "contenders" / "random").glob("effect.json"))).stat().st_mtime_ns
    prepare(asked, killed)
    resumed = run(asked, killed, lambda *_: None)
    assert (killed / "contenders" / "random" / "effect.json").stat().st_mtime_ns == left, "it is not done again"
    prepare(asked, tmp_path / "whole")
    assert figures(resumed) == figures(run(asked, tmp_path / "whole", lambda *_: None))
    assert not list(killed.rglob("*.part"))
    assert figures([collected(asked, killed, "random")]) == figures(resumed[:1])
    deadline = time.monotonic() + 30
    while _members(process.pid):
        assert time.monotonic() < deadline, "the killed run's own processes end too"
        time.sleep(0.05)


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
