"""A local stack with its roles under a supervisor, in a thread beside what is measured.

Knows the stack; a benchmark adds what else happens at each turn.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from liveshelf.stack.process import tail
from liveshelf.stack.roles import Role
from liveshelf.stack.servers import Servers
from liveshelf.stack.supervisor import TICK_S, Supervisor


class System:
    """Servers and roles.

    Parameters
    ----------
    folder
        Where examples, versions and logs go.
    settings
        Variables for every role.
    supervision
        More for :class:`liveshelf.stack.supervisor.Supervisor`.
    """

    def __init__(
        self,
        servers: Servers,
        folder: Path,
        roles: Sequence[Role],
        settings: Mapping[str, str] | None = None,
        **supervision: Any,
    ) -> None:
        self.servers, self.folder, self.supervision = servers, folder, supervision
        env = {
            **(settings or {}),
            "LIVESHELF_EXAMPLES__FOLDER": str(folder / "examples"),
            "LIVESHELF_MODEL__STORE": str(folder / "models"),
        }
        self.roles = [replace(role, env={**env, **role.env}) for role in roles]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @contextmanager
    def running(self) -> Iterator[Self]:
        """All of it, until the end of the block."""
        self._thread.start()
        try:
            yield self
        finally:
            self._over.set()
            self._thread.join()

    def logs(self, lines: int = 5) -> str:
        """The ends of all logs."""
        found = [*(self.folder / "stack" / "logs").glob("*.log"), *(self.folder / "stack").glob("*/*.log")]
        return "\n".join(f"{path.name}:\n{tail(path, lines)}" for path in dict.fromkeys(found))

    def turn(self, supervisor: Supervisor) -> None:
        """What else is done at each turn of the supervisor, in its thread."""

    def _run(self) -> None:
        with Supervisor(self.servers, self.roles, stop_timeout_s=20, **self.supervision) as supervisor:
            while not self._over.wait(TICK_S):
                supervisor.tick()
                self.turn(supervisor)
