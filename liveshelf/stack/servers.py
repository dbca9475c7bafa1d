"""The stack's servers: Kafka and Redis, started unless the settings name others, in a folder that this process locks.

Knows nothing of topics, workers or the screen. Used by the supervisor, the demo and the tests.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import psutil

from evaluator.monitoring.alerts.restarts import Restarted
from liveshelf.settings import StackConfig
from liveshelf.stack.service import Service
from liveshelf.stack_record import RunningProcess, StackRecord, clear_leftovers, locked


@dataclass(frozen=True)
class Servers:
    """Where Kafka and Redis are, and which of them this process started."""

    folder: Path
    bootstrap_servers: str
    redis_url: str
    started: tuple[Service, ...]
    since: str

    def write_record(
        self, roles: tuple[Service, ...] = (), restarts: Mapping[str, Restarted] = MappingProxyType({})
    ) -> None:
        """Write ``stack.json``, where other commands in this folder find the stack."""
        processes = {}
        for member in (*self.started, *roles):
            if member.pid and member.running:
                try:
                    processes[member.name] = RunningProcess.of(member.pid)
                except psutil.NoSuchProcess:  # it ended just now
                    continue
        StackRecord(
            bootstrap_servers=self.bootstrap_servers,
            redis_url=self.redis_url,
            since=self.since,
            supervisor=RunningProcess.of(psutil.Process().pid),
            processes=processes,
            restarts=dict(restarts),
        ).write(self.folder)


@contextmanager
def stack(
    config: StackConfig,
    *,
    bootstrap_servers: str | None = None,
    redis_url: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Servers]:
    """Lock the folder and run the servers in it; on leaving, stop them and unlock it.

    Call it from a thread that lives as long as the stack, best the main thread (see `liveshelf.stack.process`).

    Parameters
    ----------
    config : StackConfig
        Folder, ports, memory.
    bootstrap_servers, redis_url : str, optional
        Existing servers: used, not started.
    say : callable
        Called with messages about what takes long or is unusual.

    Raises
    ------
    AlreadyRunningError
        When another process has a stack in the folder.
    StackError
        When a server cannot be started; then nothing is left running.

    Examples
    --------
    ``with stack(StackConfig(folder=Path("somewhere"))) as servers: print(servers.redis_url)``
    """
    folder = config.folder
    with ExitStack() as running:
        running.enter_context(locked(folder))
        if left := clear_leftovers(folder):
            say(f"an earlier stack here was killed; ended what it left: {', '.join(left)}")
        started: list[Service] = []
        if redis_url is None:
            from liveshelf.stack.redis import LocalRedis  # needs an extra, as Kafka does

            redis = LocalRedis(folder / "redis", config.redis_port, memory_mb=config.redis_memory_mb)
            running.enter_context(redis)
            started.append(redis)
            redis_url = redis.address
        if bootstrap_servers is None:
            from liveshelf.stack.kafka import LocalKafka

            kafka = LocalKafka(folder / "kafka", config.kafka_port, heap_mb=config.kafka_heap_mb, say=say)
            running.enter_context(kafka)
            started.append(kafka)
            bootstrap_servers = kafka.address
        since = datetime.now(UTC).isoformat(timespec="seconds")
        servers = Servers(folder, bootstrap_servers, redis_url, tuple(started), since)
        running.callback(StackRecord.remove, folder)
        servers.write_record()
        yield servers
