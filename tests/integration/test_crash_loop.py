"""A worker that cannot start, under the real supervisor on real servers: all are told of it, and of its end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from evaluator.config import DashboardConfig
from evaluator.monitoring.alerts import topic as alerts
from evaluator.monitoring.alerts.topic import PublishedAlert
from liveshelf.settings import StackConfig
from liveshelf.stack import process
from liveshelf.stack.alerts import AlertSender
from liveshelf.stack.roles import dashboard_role, evaluator_role, worker_roles
from liveshelf.stack.servers import stack
from liveshelf.stack.supervisor import TICK_S, Supervisor, restart_backoff
from streams.config import KafkaConfig, RedisConfig, StreamsConfig, TopicsConfig
from streams.kafka import topics
from tests.benchmark import popen

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

LIMIT_S = 400.0
LONG_S, SHORT_S = 600.0, 5.0
"""How long a restart counts, before and after the worker is mended: a busy machine takes a minute for a start."""
MISSING = "20260101-000000-head-00000000"


def ticking(supervisor: Supervisor, holds: Callable[[], object], why: Callable[[], str]) -> None:
    """Let the supervisor do its work until something holds."""
    deadline = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < deadline, why()
        supervisor.tick()
        time.sleep(TICK_S)


def liveshelf(folder: Path, env: Mapping[str, str], *words: str) -> tuple[int, str]:
    """A command in another terminal: its exit code, and all that it said."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LIVESHELF_")}
    done = subprocess.run(
        [sys.executable, "-m", "liveshelf", *words],
        env=clean | {"COLUMNS": "2000"} | env,
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_loop_is_told_everywhere_and_its_end_too(
    kafka: KafkaConfig,
    redis_db: str,
    topics_config: TopicsConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "subprocess", SimpleNamespace(**vars(subprocess) | {"Popen": popen}))  # roles' alone
    config = StreamsConfig(kafka=kafka, redis=RedisConfig(url=redis_db), topics=topics_config)
    topics.create(kafka, topics_config)
    env = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "REDIS_URL": redis_db,
        "LIVESHELF_TOPICS__PREFIX": topics_config.prefix,
        "LIVESHELF_WORKER__GROUP": f"{topics_config.prefix}workers",
        "LIVESHELF_EVALUATOR__GROUP": f"{topics_config.prefix}evaluators",
        "LIVESHELF_STACK__FOLDER": str(tmp_path),
        "LIVESHELF_MODEL__STORE": str(tmp_path / "models"),
    }
    broken = {"LIVESHELF_MODEL__VERSION": MISSING}
    page = dashboard_role(DashboardConfig(port=0))
    made = [*worker_roles(1), evaluator_role(), page]
    roles = [replace(role, env=env | dict(role.env) | (broken if "worker" in role.name else {})) for role in made]
    said: list[str] = []

    def told(state: str) -> list[PublishedAlert]:
        found = list(alerts.read(kafka, topics_config))
        return [one for one in found if one.alert.name == "crash_loop" and one.alert.state == state]

    def state() -> str:
        try:
            health = httpx.get(f"{page.where}/api/state", trust_env=False, timeout=30).json()["page"]["health"]
        except httpx.HTTPError:
            return ""
        return f"{health['level']}: {health['sentence']}"

    def log() -> str:
        logs = "\n".join(f"{file.name}: {file.read_text()[-1500:]}" for file in (tmp_path / "logs").glob("*.log"))
        return "\n".join([*said[-20:], logs])

    with (
        stack(StackConfig(folder=tmp_path), bootstrap_servers=kafka.bootstrap_servers, redis_url=redis_db) as servers,
        AlertSender(config, "supervisor-here") as sender,
        Supervisor(
            servers,
            roles,
            say=said.append,
            stop_timeout_s=30,
            backoff=lambda: restart_backoff(0.5, 2.0),
            alarm=sender.send,
            window_s=LONG_S,
        ) as supervisor,
    ):
        worker = supervisor.roles[0]
        ticking(supervisor, lambda: {one.source for one in told("firing")} >= {"supervisor-here", "partition-0"}, log)
        loop = [line for line in said if line.startswith("worker-1 restarted 3 times in ")]
        assert loop and MISSING in loop[0], said
        for one in told("firing"):
            assert one.alert.labels == {"role": "worker", "instance": "worker-1"}
            assert MISSING in str(one.alert.evidence["reason"])
        ticking(supervisor, lambda: state().startswith("bad: Worker-1 restarted"), lambda: f"{state()}\n{log()}")
        code, words = liveshelf(tmp_path, env, "health")
        assert code == 1 and "No worker of this host has reported" in words and "worker-1 restarted" in words, words
        assert MISSING in words
        code, words = liveshelf(tmp_path, env, "status")
        assert code == 0 and "worker-1 restarted" in words and MISSING in words, words

        worker._role = replace(worker._role, env=env | {"LIVESHELF_WORKER__INSTANCE": "worker-1"})
        worker._env |= {"LIVESHELF_MODEL__VERSION": "champion"}
        ticking(supervisor, lambda: "1 worker and 1 evaluator up" in state(), lambda: f"{state()}\n{log()}")
        for kept in supervisor._kept:
            kept.restarts.window_s = SHORT_S
        ticking(supervisor, lambda: [one.source for one in told("resolved")] == ["supervisor-here"], log)
        assert f"worker-1 runs again: not restarted for {SHORT_S:g} s" in said

        pid = worker.pid
        assert pid
        os.kill(pid, signal.SIGSTOP)  # it hangs: nobody restarts it, everybody is told
        try:
            ticking(supervisor, lambda: "No worker reports" in state(), lambda: f"{state()}\n{log()}")
            code, words = liveshelf(tmp_path, env, "status")
            assert code == 0 and "stopped by a signal" in words and "No worker has reported for" in words, words
            code, words = liveshelf(tmp_path, env, "health")
            assert code == 1 and "No worker of this host has reported for" in words, words
        finally:
            os.kill(pid, signal.SIGCONT)
        ticking(supervisor, lambda: "1 worker and 1 evaluator up" in state(), lambda: f"{state()}\n{log()}")
