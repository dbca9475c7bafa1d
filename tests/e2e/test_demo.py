"""The demo, run as a newcomer would: it ends by itself, shows a shelf, and leaves nothing running."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]


def test_the_demo_shows_a_shelf_and_leaves_nothing_running(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name not in {"KAFKA_BOOTSTRAP_SERVERS", "REDIS_URL"}}
    ran = subprocess.run(
        [sys.executable, "-m", "liveshelf", "demo", "--minutes", "0.15"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "s after the start" in ran.stdout
    assert "ms from click to shelf" in ran.stdout
    left = [
        process for process in psutil.process_iter(["cwd"]) if str(process.info["cwd"] or "").startswith(str(tmp_path))
    ]
    assert left == []
