"""A separate stack for simulated shoppers: servers, roles with fast settings, and the page, in an empty folder.

What takes hours in a shop takes seconds here: impressions close soon, detectors learn soon, runs follow each other.
"""

import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from evaluator.monitoring.alerts.topic import PublishedAlert
from evaluator.monitoring.alerts.topic import guard as alerts_guard
from liveshelf.settings import Settings
from liveshelf.stack.roles import Role, dashboard_role, evaluator_role, trainer_role, worker_roles
from liveshelf.stack.servers import stack
from liveshelf.stack.supervisor import Supervisor
from liveshelf.stack_record import clear_leftovers, locked
from models.store import ModelStore
from streams.config import KafkaConfig, RedisConfig
from streams.kafka import topics
from streams.kafka.admin import newest_consumer
from streams.kafka.guard import Guard
from streams.kafka.topics import Topics
from streams.serving.announcement import announce_now
from streams.telemetry.meter import Snapshot, parse

FAST_SETTINGS = {
    "EVALUATOR__WINDOW_S": "4",
    "EVALUATOR__GRACE_S": "1",
    "EVALUATOR__WATCH_LEARN": "4000",
    "EVALUATOR__WATCH_RUN_LENGTH": "1000000",
    "EVALUATOR__WATCH_RECOVER": "4000",
    "EVALUATOR__EXPERIMENT_BLOCK_S": "2",
    "STATE__EFFECTS_HALF_LIFE_S": "20",
    "STATE__EFFECTS_REFRESH_S": "1",
    "EXAMPLES__FLUSH_S": "1",
    "EXAMPLES__REHEARSAL": "500",
    "TRIGGERS__ALARMS": '["click_rate_drop"]',
    "TRIGGERS__LEAST_EXAMPLES": "20000",
    "TRIGGERS__ENOUGH_EXAMPLES": "120000",
    "TRIGGERS__ALARM_AGAIN_S": "15",
    "TRIGGERS__COOLDOWN_S": "2",
    "TRIGGERS__RUNS_A_DAY": "1000",
    "LEARNING__EPOCHS": "3",
    "LEARNING__MOST_EXAMPLES": "40000",
    "LEARNING__GATE_SHARE": "0.25",
    "LEARNING__REHEARSAL": "0",
    "LEARNING__NICENESS": "2",
    "GATE__DRAWS": "300",
    "GATE__LEAST_SHOPPERS": "100",
    "GATE__LEAST_QUERIES": "100",
    "GATE__NDCG_MARGIN": "0.05",
    "GATE__ROBUSTNESS_ORDER": "0.1",
    "GATE__ROBUSTNESS_NDCG": "0.1",
    "GATE__LATENCY_CALLS": "20",
    "GATE__LATENCY_REPEATS": "1",
    "GATE__LATENCY_MEDIAN": "2",
    "GATE__LATENCY_P99": "10",
    "GATE__ROBUSTNESS_CONTEXTS": "60",
    "GATE__EXPOSURE_CONTEXTS": "60",
    "ROLLOUT__SHARE": "0.5",
    "ROLLOUT__SHADOW_SHELVES": "4",
    "ROLLOUT__SLOWER": "4",
    "ROLLOUT__LEAST_IMPRESSIONS": "2000",
    "ROLLOUT__HARM": "0.2",
    "ROLLOUT__HORIZON_S": "90",
    "MODEL__WATCH_S": "1",
}
"""Settings of the roles: like a shop's, but in seconds instead of hours."""


@dataclass(frozen=True)
class DemoEnvironment:
    """What runs: the settings to reach it, its supervisor, its model store, and the page's address."""

    settings: Settings
    supervisor: Supervisor
    store: ModelStore
    page: str

    def promote(self, version: str, reason: str, slot: str, share: float = 1.0) -> None:
        """Put a version in a slot, and announce it."""
        made = self.store.slots.promote(version, reason, slot, share)
        announce_now(self.settings.kafka, self.settings.topics, slot, made)


@contextmanager
def demo_environment(
    settings: Settings,
    name: str,
    say: Callable[[str], None],
    *,
    env: Mapping[str, str] | None = None,
    roles: Sequence[Callable[[Settings], Sequence[Role]]] = (),
) -> Iterator[DemoEnvironment]:
    """Start everything; leaving the block stops it.

    Parameters
    ----------
    name
        The name of its folder in the stack's folder.
    env
        Settings of the roles, without their prefix; they override :data:`FAST_SETTINGS`.
    roles
        The roles to run; by default worker, evaluator, trainer and page.

    Raises
    ------
    StackError
        When a server does not start, or another one runs in the same folder.
    """
    config = settings.stack.model_copy(update={"folder": settings.stack.folder / name})
    with locked(config.folder):
        clear_leftovers(config.folder)
        for left in ("kafka", "redis", "logs", "models", "examples", "learning", "catalogue"):
            shutil.rmtree(config.folder / left, ignore_errors=True)
    say(f"starting Kafka and Redis in {config.folder}")
    with stack(config, say=say) as servers:
        models = str(config.folder / "models")
        here = settings.model_copy(
            update={
                "stack": config,
                "kafka": KafkaConfig(bootstrap_servers=servers.bootstrap_servers),
                "redis": RedisConfig(url=SecretStr(servers.redis_url)),
                "model": settings.model.model_copy(update={"store": models}),
            }
        )
        topics.create(here.kafka, here.topics)
        given = FAST_SETTINGS | dict(env or {}) | _places(config.folder)
        ours = {f"LIVESHELF_{key}": value for key, value in given.items()}
        made = [role for kind in roles or ALL for role in kind(here)]
        configured = [replace(role, env=ours | dict(role.env)) for role in made]
        with Supervisor(servers, configured, say=say, stop_timeout_s=config.stop_timeout_s) as supervisor:
            page = next((role.where for role in configured if role.name == "dashboard"), "")
            yield DemoEnvironment(here, supervisor, ModelStore(models), page)


def _places(folder: Path) -> dict[str, str]:
    return {
        "MODEL__STORE": str(folder / "models"),
        "CATALOGUE__FOLDER": str(folder / "catalogue"),
        "EXAMPLES__FOLDER": str(folder / "examples"),
        "LEARNING__FOLDER": str(folder / "learning"),
        "KAFKA__SECURITY_PROTOCOL": "PLAINTEXT",  # whatever the settings of a shop's own broker are
    }


ALL: tuple[Callable[[Settings], Sequence[Role]], ...] = (
    lambda _: worker_roles(1),
    lambda _: [evaluator_role()],
    lambda _: [trainer_role()],
    lambda settings: [dashboard_role(settings.dashboard)],
)

LAST = 5
"""How many snapshots of a worker, one a second, its live numbers cover."""


class SnapshotListener:
    """Follows ``liveshelf.metrics`` and ``liveshelf.alerts``; other threads read its attributes."""

    def __init__(self, settings: Settings) -> None:
        self._kafka = settings.kafka
        self._topics = Topics(settings.topics.prefix)
        self._alerts, self._snapshots = alerts_guard(), Guard("snapshots", parse)
        self._news: deque[Snapshot | PublishedAlert] = deque()
        self.workers: deque[Snapshot] = deque(maxlen=3_600)

    @property
    def lately(self) -> list[Snapshot]:
        """The workers' last snapshots."""
        return list(self.workers)[-LAST:]

    def news(self) -> Iterator[Snapshot | PublishedAlert]:
        """Snapshots of the trainer and the evaluators, and alerts, since the last call; in order."""
        while self._news:
            yield self._news.popleft()

    def run(self, closing: threading.Event) -> None:
        """Follow the topics until ``closing`` is set."""
        consumer = newest_consumer(self._kafka, self._topics.metrics, self._topics.alerts)
        try:
            while not closing.is_set():
                for messages in consumer.poll(timeout_ms=250).values():
                    for message in messages:
                        self._take(message)
        finally:
            consumer.close()

    def _take(self, message: Any) -> None:
        if message.topic == self._topics.alerts:
            self._alerts.hand(message, self._news.append)
        else:
            self._snapshots.hand(message, self._snapshot)

    def _snapshot(self, taken: Snapshot) -> None:
        if taken.role == "worker":
            self.workers.append(taken)
        elif taken.role in ("trainer", "evaluator"):
            self._news.append(taken)
