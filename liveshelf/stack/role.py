"""A role of Liveshelf, such as a worker, as a process that can be started again and again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from liveshelf.stack.process import STOP_TIMEOUT_S, Process, tail
from liveshelf.stack.service import Service
from streams.telemetry.lifecycle import VARIABLE, bounded, left


@dataclass(frozen=True)
class Role:
    """What to run: a name for people and logs, the program with its arguments, additions to the environment, and, for
    people, where it can be reached. One that ``lasts`` has no reason to end by itself, not even with exit code 0."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    where: str = ""
    lasts: bool = False


class RoleProcess(Service):
    """A role's process, in the shape that the local servers have too.

    Parameters
    ----------
    role : Role
        What to run.
    log : Path
        Gets its output.
    env : mapping
        Where Kafka and Redis are; the role's own ``env`` wins.
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
        self._echo = echo or (lambda _: None)  # always through us, so that the log is bounded
        self._began_at = 0

    def start(self) -> None:
        """Start it, without waiting for anything."""
        self._began_at = self.log.stat().st_size if self.log.exists() else 0
        self._process = Process(self._role.argv, log=self.log, env=self._env, echo=self._echo)

    @property
    def last_words(self) -> str:
        """Why the latest run ended, as it said itself; else the last line that it wrote; empty when a signal ended it
        or it wrote nothing."""
        if words := left(self._words, self.pid):
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
