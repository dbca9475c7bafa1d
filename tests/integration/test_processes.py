"""Roles as processes: what they take from where they are started, what they log, and what they leave behind."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from liveshelf.stack.roles import program
from streams.config import KafkaConfig, TopicsConfig
from streams.redis import keys
from tests.integration.test_worker import ITEMS, search
from tests.shop import Shop, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1_800)]

TORCH_CACHE = "torchinductor_"
"""One folder for all processes of a user, where torch keeps what it compiled."""
LINES, SECONDS = 200, 20.0
"""What a worker may log at most while it cannot write."""


@pytest.fixture
def shop(kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, tmp_path: Path) -> Iterator[Shop]:
    with Shop(kafka, redis_db, topics_config, tmp_path).open() as shop:
        shop.put_items(ITEMS)
        yield shop


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A working directory that has everything a role imports, and tells when it was run."""
    here = tmp_path / "here"
    for name in ("models", "streams", "evaluator", "json", "torch", "sitecustomize"):
        (here / name).mkdir(parents=True)
        (here / name / "__init__.py").write_text(f"open({str(here / 'RUN')!r}, 'w'); raise SystemExit(9)")
    for name in ("numpy", "aiokafka", "faust", "logging"):
        (here / f"{name}.py").write_text(f"open({str(here / 'RUN')!r}, 'w'); raise SystemExit(9)")
    return here


@contextmanager
def started(shop: Shop, role: str, here: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A role in a working directory, with a folder for temporary files of its own; and its log."""
    log, temporary = here.parent / f"{role}.txt", here.parent / "tmp"
    temporary.mkdir(exist_ok=True)
    env = os.environ | shop.env | {"TMPDIR": str(temporary)}
    with log.open("wb") as out:
        process = subprocess.Popen(program(role), cwd=here, env=env, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield process, log
    finally:
        process.kill()
        process.wait()


def test_a_role_takes_no_module_from_where_it_is_started_and_leaves_nothing_when_killed(
    shop: Shop, hostile: Path
) -> None:
    for role in ("worker", "evaluator", "trainer"):
        with started(shop, role, hostile) as (process, log):
            if role == "worker":
                shop.ready(len(ITEMS))  # a search of nothing makes no shelf
                shop.produce(shop.topics.events, [search("usb cable", "e1", "u1")])
                until(lambda: shop.shelf(keys.feed("u1")), log.read_text)
            else:
                from streams import reporting

                until(lambda role=role: reporting.snapshots(shop.config, 0, role), log.read_text)  # type: ignore[misc]
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert not (hostile / "RUN").exists(), role
        left = [path.name for path in (hostile.parent / "tmp").iterdir() if not path.name.startswith(TORCH_CACHE)]
        assert not left, f"{role} left {left}"


def test_the_module_run_by_hand_takes_no_module_from_there_either(hostile: Path) -> None:
    command = [*program("config")[:1], *program("config")[2:]]
    assert command[1:] == ["-m", "liveshelf", "config"]
    done = subprocess.run(command, cwd=hostile, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0 and "[worker]" in done.stdout, done.stderr
    assert not (hostile / "RUN").exists()


def test_a_worker_whose_topic_is_deleted_keeps_its_log_short(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    with started(shop, "worker", tmp_path / "here") as (process, log):
        until(lambda: "is ready" in log.read_text(), log.read_text)
        shop.admin.delete_topics([shop.topics.shelves])
        until(lambda: shop.topics.shelves not in shop.admin.list_topics())
        began, end = len(log.read_text().splitlines()), time.monotonic() + SECONDS
        number = 0
        while time.monotonic() < end and process.poll() is None:
            number += 1
            shop.produce(shop.topics.events, [search("usb cable", f"e{number}", f"u{number}")])
            time.sleep(0.1)
        written = log.read_text().splitlines()[began:]
        assert len(written) < LINES, "\n".join(written[:100])
        assert process.poll() is not None or written, "it says what is wrong"
