"""A compiled function works whatever lies where its code is kept."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import numpy as np
from models.item_store import restore
out = np.empty(1, np.float32)
restore(np.array([1.5], np.float16).view(np.uint16), out)
print(out[0], sum(restore.stats.cache_hits.values()))
"""


def run(cache: Path) -> subprocess.CompletedProcess[str]:
    """The program, which keeps its code in a folder."""
    env = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    return subprocess.run([sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=True)


def said(cache: Path) -> str:
    """What it says."""
    return run(cache).stdout.strip()


def test_only_a_process_that_compiles_says_so(tmp_path: Path) -> None:
    assert ["compiling loops" in run(tmp_path).stderr for _ in range(2)] == [True, False]


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_code_that_was_cut_off_is_compiled_and_kept_anew(tmp_path: Path, kind: str) -> None:
    assert said(tmp_path) == "1.5 0"
    [path] = tmp_path.rglob(f"item_store.restore-*.{kind}")
    path.write_bytes(path.read_bytes()[:40])
    assert [said(tmp_path), said(tmp_path)] == ["1.5 0", "1.5 1"]
