"""The roles of a local stack: which processes there are, their commands and environments, and a restartable process.

Knows the program's own commands; nothing of when a role is restarted.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from evaluator.config import DashboardConfig, page_address
from liveshelf.collect.config import CollectConfig
from liveshelf.settings import Settings
from liveshelf.stack import ports
from liveshelf.stack.process import STOP_TIMEOUT_S, Process, tail
from liveshelf.stack.service import Service
from streams.runtime.lifecycle import VARIABLE, bounded, read_last_words
from streams.telemetry.metrics_server import metrics_address


@dataclass(frozen=True)
class Role:
    """What to run: a name for messages and logs, the program with its arguments, additions to the environment, and the
    address to show. A role that ``lasts`` should not end by itself, not even with exit code 0."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    where: str = ""
    lasts: bool = False


class RoleProcess(Service):
    """The process of a role, with the same interface as the local servers.

    Parameters
    ----------
    role : Role
        What to run.
    log : Path
        The file for its output.
    env : mapping
        The addresses of Kafka and Redis; the role's own ``env`` wins.
    echo : callable, optional
        Called with every line of output, from another thread.
    """

    def __init__(
        self,
        role: Role,
        log: Path,
        env: Mapping[str, str],
        echo: Callable[[str], None] | None = None,
        stop_timeout_s: float = STOP_TIMEOUT_S,
    ) -> None:
        super().__init__(stop_timeout_s)
        self.name, self.where, self.lasts = role.name, role.where, role.lasts
        self.log = log
        self._words = log.absolute().with_suffix(".last")
        self._role = role
        self._env = {**env, **role.env, VARIABLE: str(self._words)}
        self._echo = echo or (lambda _: None)  # output always passes through this process, so that the log is bounded
        self._began_at = 0

    def start(self) -> None:
        """Start it, without waiting."""
        self._began_at = self.log.stat().st_size if self.log.exists() else 0
        self._process = Process(self._role.argv, log=self.log, env=self._env, echo=self._echo)

    @property
    def last_words(self) -> str:
        """Why the latest run ended: the reason that it reported, else its last line of output; empty when a signal
        ended it or it wrote nothing."""
        if words := read_last_words(self._words, self.pid):
            return words
        code = self.exit_code
        if self._process:
            self._process.drain()
        if code is None or code <= 0 or not self.log.exists() or self.log.stat().st_size == self._began_at:
            return ""
        return bounded(tail(self.log, 1))

    def terminate(self) -> None:
        """Ask it to end, without waiting."""
        if self._process:
            self._process.terminate()


def program(*arguments: str) -> tuple[str, ...]:
    """The command line that runs this program, without importing modules from the working directory: there may be a
    folder ``models``, or something else with the name of a module.

    Examples
    --------
    >>> program("worker")[1:]
    ('-P', '-m', 'liveshelf', 'worker')
    """
    return (sys.executable, "-P", "-m", "liveshelf", *arguments)


def worker_roles(count: int) -> list[Role]:
    """The worker processes of a local stack.

    Each is a static member of its consumer group. A crashed worker that is restarted gets its partitions back at once,
    without waiting for a session timeout.
    """
    command = program("worker")
    names = [f"worker-{number}" for number in range(1, count + 1)]
    return [Role(name, command, {"LIVESHELF_WORKER__INSTANCE": name}, lasts=True) for name in names]


def evaluator_role() -> Role:
    """The evaluator process of a local stack."""
    command = program("evaluator")
    return Role("evaluator-1", command, {"LIVESHELF_EVALUATOR__INSTANCE": "evaluator-1"}, lasts=True)


def trainer_role() -> Role:
    """The trainer process of a local stack."""
    command = program("trainer")
    return Role("trainer-1", command, {"LIVESHELF_LEARNING__INSTANCE": "trainer-1"}, lasts=True)


def dashboard_role(config: DashboardConfig) -> Role:
    """The live page of a local stack: on the port of the settings, or any free one if that is taken."""
    return _served("dashboard", "dashboard", config.host, config.port)


def collector_role(config: CollectConfig) -> Role:
    """The collector of a local stack: on the port of the settings, or any free one if that is taken."""
    return _served("collector", "collect", config.host, config.port)


def _served(name: str, command: str, host: str, port: int) -> Role:
    free = port if port and ports.is_free(port) else ports.several(1, 0, "", "")[0]
    env = {f"LIVESHELF_{command.upper()}__PORT": str(free)}
    return Role(name, program(command), env, page_address(host, free), lasts=True)


def with_metrics(roles: Sequence[Role], settings: Settings) -> list[Role]:
    """The same roles, each with its own port for Prometheus.

    Raises
    ------
    StackError
        When the ports that ``stack.metrics_port`` asks for are taken.
    """
    numbers = ports.several(len(roles), settings.stack.metrics_port, "A role", "stack.metrics_port")
    return [
        replace(
            role,
            env={**role.env, "LIVESHELF_METRICS__PORT": str(port)},
            where=metrics_address(settings.metrics.host, port),
        )
        for role, port in zip(roles, numbers, strict=True)
    ]
