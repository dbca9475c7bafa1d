"""The registry of runs that all trainers share: one key in Redis, changed by compare-and-set.

The edge of :mod:`evaluator.retraining.run_history`: knows Redis, whose clock it uses; nothing of why or how runs
are done.
"""

import logging
import uuid
from collections.abc import Callable
from typing import Any, TypeVar, cast

import msgspec
from redis.asyncio import Redis

from evaluator.retraining.config import TriggerConfig
from evaluator.retraining.run_history import RunHistory
from evaluator.retraining.training_run import Hold, Outcome, Trigger
from streams.events.decode import UNDECODABLE
from streams.redis.lua import replacing
from streams.redis.retry import RedisRetry

log = logging.getLogger(__name__)

T = TypeVar("T")

READ = "return {redis.call('GET', KEYS[1]), redis.call('TIME')}"

REPLACE = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""
"""Compare-and-set as a script, since on a cluster ``WATCH`` needs one connection throughout, and ``TIME`` a node."""


class RunRegistry:
    """Reads and changes the registry that all trainers of one group share, on behalf of one process.

    While Redis is away calls wait. After a flush of Redis, this process writes the registry that it last saw back with
    its next change, so that a run goes on and no limit is lost.

    Parameters
    ----------
    client
        A connected asyncio client, owned by the caller.
    group
        The trainers' consumer group with the topics' prefix, part of the key.

    Attributes
    ----------
    holder
        The id under which this process holds runs; a trainer's name may not be unique.
    """

    def __init__(self, client: "Redis", group: str, config: TriggerConfig) -> None:
        self.client, self.config = client, config
        self.key = f"ls:{group}:runs"
        self.holder = uuid.uuid4().hex
        self.retry = RedisRetry()
        self._last: dict[str, Any] = {}

    async def read(self) -> tuple[RunHistory, int]:
        """The runs, and Redis' time (epoch ms)."""
        return await self._change(lambda runs, now: (runs, now), write=False)

    async def begin(self, trigger: Trigger, id: str, by: str) -> list[Hold]:
        """As :meth:`RunHistory.begin`."""
        return await self._change(lambda runs, now: runs.begin(trigger, id, by, self.holder, now))

    async def beat(self, id: str) -> bool:
        """As :meth:`RunHistory.beat`."""
        return await self._change(lambda runs, now: runs.beat(id, self.holder, now))

    async def release(self, id: str) -> bool:
        """As :meth:`RunHistory.release`."""
        return await self._change(lambda runs, now: runs.release(id, self.holder, now))

    async def take(self, id: str, by: str) -> bool:
        """As :meth:`RunHistory.take`."""
        return await self._change(lambda runs, now: runs.take(id, by, self.holder, now))

    async def end(self, id: str, outcome: Outcome, through: int = 0, undecided: int = 0) -> bool:
        """As :meth:`RunHistory.end`; a repeated call gives the same answer."""

        def change(runs: RunHistory, now: int) -> bool:
            return runs.end(id, self.holder, now, outcome, through, undecided) or any(
                (run.id, run.holder, run.outcome, run.through) == (id, self.holder, outcome, through)
                for run in runs.get()
            )

        return await self._change(change)

    async def _change(self, change: Callable[[RunHistory, int], T], write: bool = True) -> T:
        return await self.retry.until_done(lambda: self._try(change, write))

    async def _try(self, change: Callable[[RunHistory, int], T], write: bool) -> T:
        client = cast(Any, self.client)
        while True:
            saved, (seconds, micros) = await replacing(
                self.client, lambda: client.eval(READ, 1, self.key), hashes=(), strings=[self.key]
            )
            runs, before = self._runs(saved)
            answer = change(runs, int(seconds) * 1_000 + int(micros) // 1_000)
            after = runs.save()
            changed = write and after != before
            if changed and not await client.eval(REPLACE, 1, self.key, saved or b"", msgspec.msgpack.encode(after)):
                continue
            self._last = after
            return answer

    def _runs(self, saved: bytes | None) -> tuple[RunHistory, dict[str, Any] | None]:
        """The stored runs, and their plain values; the runs last seen and None where the key cannot be read."""
        if saved:
            try:
                found = msgspec.msgpack.decode(saved, type=dict[str, Any])
                return RunHistory.load(self.config, found), found
            except (*UNDECODABLE, ValueError, TypeError) as error:
                log.error("Redis holds no readable registry of runs under %s; it is replaced: %s", self.key, error)
        return RunHistory.load(self.config, self._last), None
