"""Lua scripts in Redis: sent in pipelines, and given again to a server that has lost them.

Where somebody has put another kind of value under one of our keys, it is removed and the pipeline sent again. Knows
packages that carry scripts, and Redis; nothing of what the scripts do.

redis-py's ``register_script`` (8.1.0) does not do it: a cluster's pipeline refuses its scripts ("evalsha is blocked"),
and any other pipeline asks ``SCRIPT EXISTS`` each time before it is sent, which is a second round trip.
"""

import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files
from typing import Any, TypeVar, cast

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ResponseError

from streams.redis.connection import ERRORS

log = logging.getLogger(__name__)

T = TypeVar("T")

REPLACING = """local function replacing(...)
  local answer = redis.pcall(...)
  if type(answer) ~= 'table' or not answer.err then return answer end
  if string.find(answer.err, 'WRONGTYPE', 1, true) then redis.call('DEL', (select(2, ...))) end
  return redis.call(...)
end
"""
"""Stands in for ``redis.call`` once a key was found to be of another kind: each command's first argument is its key."""


INCLUDED = re.compile(r"^-- include (\w+)\.lua$", re.MULTILINE)


def wrong_kind(error: Exception) -> bool:
    """Whether a key holds another kind of value than a command is for.

    Examples
    --------
    >>> wrong_kind(ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"))
    True
    >>> wrong_kind(ResponseError("Command # 1 (SET WRONGTYPE 1) of pipeline caused error: OOM command not allowed"))
    False
    """
    # redis-py quotes the failed command before the error; what a shopper typed must not look like a code.
    return isinstance(error, ResponseError) and "WRONGTYPE " in str(error).rpartition("caused error: ")[2]


class Scripts:
    """A package's scripts, by name.

    Parameters
    ----------
    client
        A connected asyncio client, owned by the caller.
    package, names
        The folder ``scripts`` of the package has each as ``NAME.lua``. A line ``-- include OTHER.lua`` stands for the
        text of that file.
    """

    def __init__(self, client: "Redis", package: str, names: Sequence[str]) -> None:
        self.client, self.package, self.names = client, package, names
        self._loaded: dict[bool, dict[str, str]] = {}
        self._replacing = False

    def add(self, pipe: Any, name: str, keys: Sequence[str], *arguments: Any) -> None:
        """Add a script to a pipeline; within what `run` is given alone, and before that waits for anything."""
        pipe.execute_command("EVALSHA", self._loaded[self._replacing][name], len(keys), *keys, *arguments)

    async def run(self, send: Callable[[Any], Awaitable[T]]) -> T:
        """Send a pipeline. A server that lost the scripts, or took another's place, is given them again, and a key of
        another kind is removed: what part of the pipeline was done is done twice then, to no harm."""
        replacing = False
        while True:
            try:
                if replacing not in self._loaded:
                    await self._load(replacing)
                async with self.client.pipeline(transaction=False) as pipe:
                    self._replacing = replacing
                    return await send(pipe)
            except NoScriptError:
                self._loaded.clear()
            except ResponseError as error:
                if replacing or not wrong_kind(error):
                    raise
                log.error("Redis holds another kind of value under a key of ours, which is replaced: %.500s", error)
                replacing = True

    async def _load(self, replacing: bool) -> None:
        loaded = {}
        for name in self.names:
            source = INCLUDED.sub(lambda found: self._source(found[1]), self._source(name))
            if replacing:
                source = REPLACING + source.replace("redis.call(", "replacing(")
            loaded[name] = str(await self.client.script_load(source))
        self._loaded[replacing] = loaded

    def _source(self, name: str) -> str:
        return files(self.package).joinpath("scripts", f"{name}.lua").read_text("utf-8")


async def replacing(
    client: "Redis", attempt: Callable[[], Awaitable[T]], hashes: Sequence[str], strings: Sequence[str] = ()
) -> T:
    """What an attempt answers; of its keys those that hold another kind of value, and so not ours, are removed before a
    second one."""
    try:
        return await attempt()
    except ERRORS as error:
        if not wrong_kind(error):
            raise
        log.error("Redis holds another kind of value under a key of ours, which is replaced: %.500s", error)
    for kind, keys in (("hash", hashes), ("string", strings)):
        for key in keys:
            if cast(bytes, await client.type(key)).decode() not in (kind, "none"):
                await client.delete(key)
    return await attempt()
