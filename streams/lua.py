"""Lua scripts in Redis: sent in pipelines, and given again to a server that has lost them.

Knows packages that carry scripts, and Redis; nothing of what the scripts do.
"""

from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

T = TypeVar("T")


class Scripts:
    """A package's scripts, by name.

    Parameters
    ----------
    client
        A connected asyncio client, owned by the caller.
    package, names
        The folder ``scripts`` of the package has each as ``NAME.lua``.
    """

    def __init__(self, client: "Redis", package: str, names: Sequence[str]) -> None:
        self.client, self.package, self.names = client, package, names
        self._loaded: dict[str, str] = {}

    def add(self, pipe: Any, name: str, keys: Sequence[str], *arguments: Any) -> None:
        """Add a script to a pipeline; within `run` alone, where all are loaded."""
        pipe.execute_command("EVALSHA", self._loaded[name], len(keys), *keys, *arguments)

    async def run(self, send: Callable[[Any], Awaitable[T]]) -> T:
        """Send a pipeline. A server that lost the scripts, or took another's place, is given them again: what part of
        the pipeline was done is done twice then, to no harm."""
        while True:
            try:
                if not self._loaded:
                    await self._load()
                async with self.client.pipeline(transaction=False) as pipe:
                    return await send(pipe)
            except NoScriptError:
                self._loaded.clear()

    async def _load(self) -> None:
        loaded = {}
        for name in self.names:
            source = files(self.package).joinpath("scripts", f"{name}.lua").read_text("utf-8")
            loaded[name] = str(await self.client.script_load(source))
        self._loaded = loaded
