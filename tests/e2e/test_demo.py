"""The demo as a newcomer runs it: shows a shelf, begins to learn, ends when it is told to, leaves nothing running."""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from liveshelf.stack_record import locked
from tests.shop import HANG_S, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1_800)]


def start(folder: Path, *options: str) -> "subprocess.Popen[str]":
    ours = ("LIVESHELF_", "KAFKA_BOOTSTRAP", "REDIS_URL")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    path = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), env.get("PYTHONPATH"))))
    return subprocess.Popen(
        [sys.executable, "-m", "liveshelf", "demo", *options],
        cwd=folder,
        env={**env, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def left_in(folder: Path) -> list[str]:
    """Processes that work in the folder or name it."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if str(folder) in " ".join([process.cwd(), *process.cmdline()]):
                found.append(" ".join(process.cmdline())[:200])
    return found


def test_the_demo_shows_a_shelf_learns_and_ends_with_a_picture(tmp_path: Path) -> None:
    demo = start(tmp_path)
    assert demo.stdout is not None
    lines = []
    for line in demo.stdout:
        lines.append(line)
        if "training begins" in line:
            break
    demo.send_signal(signal.SIGINT)
    output = "".join(lines) + demo.communicate(timeout=HANG_S)[0]
    assert demo.returncode == 130, output
    assert re.search(r"broken off\s+│ in the chapter 'It learns'", output), output
    assert re.search(r"event to shelf\s+│ median \d+\.\d ms, 99 % \d+\.\d ms", output), output
    assert "nan" not in output
    assert re.search(r"the live page is at http://127\.0\.0\.1:\d+", output), output
    assert re.search(r"shopper-1 clicks .+ ms later the new feed is in Redis", output), output
    assert re.search(r"first shelf\s+│ \d+\.\d s after the start", output), output
    assert (tmp_path / "liveshelf-demo.png").read_bytes().startswith(b"\x89PNG")
    until(lambda: not left_in(tmp_path), lambda: f"{left_in(tmp_path)} are left")  # what is killed is gone soon


def test_ctrl_c_during_the_start_leaves_nothing(tmp_path: Path) -> None:
    demo = start(tmp_path)
    assert demo.stdout is not None
    assert any("starting Kafka" in line for line in demo.stdout)
    demo.send_signal(signal.SIGINT)
    output, _ = demo.communicate(timeout=HANG_S)
    assert demo.returncode == 130, output
    until(lambda: not left_in(tmp_path), lambda: f"{left_in(tmp_path)} are left")  # what is killed is gone soon


def test_a_second_demo_in_the_folder_says_so(tmp_path: Path) -> None:
    with locked(tmp_path / ".liveshelf" / "demo"):
        output, _ = start(tmp_path).communicate(timeout=HANG_S)
    assert "already running" in output and "starting Kafka" not in output
