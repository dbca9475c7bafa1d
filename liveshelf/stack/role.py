"""A role of Liveshelf, such as a worker, as a process that can be started again and again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from liveshelf.stack.process import STOP_TIMEOUT_S, Process


@dataclass(frozen=True)
class Role:
    """What to run: a name for people and logs, the program with its arguments, and additions to the environment."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


class RoleProcess:
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
        self.name = role.name
        self.log = log
        self._role = role
        self._env = {**env, **role.env}
        self._echo = echo
        self._stop_timeout_s = stop_timeout_s
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        """Of the latest run."""
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.running

    @property
    def exit_code(self) -> int | None:
        """Of the latest run; None while it runs."""
        return self._process.exit_code if self._process else None

    def start(self) -> None:
        """Start it, without waiting for anything."""
        self._process = Process(self._role.argv, log=self.log, env=self._env, echo=self._echo)

    def terminate(self) -> None:
        """Ask it to end, without waiting."""
        if self._process:
            self._process.terminate()

    def stop(self) -> None:
        """End it and whatever it started."""
        if self._process:
            self._process.stop(self._stop_timeout_s)
