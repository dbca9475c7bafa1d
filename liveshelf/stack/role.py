"""A role of Liveshelf, such as a worker, as a process that can be started again and again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from liveshelf.stack.process import STOP_TIMEOUT_S, Process
from liveshelf.stack.service import Service


@dataclass(frozen=True)
class Role:
    """What to run: a name for people and logs, the program with its arguments, additions to the environment, and, for
    people, where it can be reached."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    where: str = ""


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
        self.name, self.where = role.name, role.where
        self.log = log
        self._role = role
        self._env = {**env, **role.env}
        self._echo = echo

    def start(self) -> None:
        """Start it, without waiting for anything."""
        self._process = Process(self._role.argv, log=self.log, env=self._env, echo=self._echo)

    def terminate(self) -> None:
        """Ask it to end, without waiting."""
        if self._process:
            self._process.terminate()
