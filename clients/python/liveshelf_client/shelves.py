"""Reads shelves from Redis, all keys of a chain in one round trip. Needs the extra ``redis``.

Knows redis-py and the chains of keys; nothing of HTTP.
"""

import json
from collections.abc import Awaitable, Iterable
from typing import Any, cast

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from liveshelf_client.reading import Question, Shelves
from liveshelf_client.types import Shelf


class RedisShelves(Shelves[Shelf | None]):
    """Reads with a client of redis-py, for one server or a cluster. Give it short timeouts, so that no page waits.

    Raises
    ------
    redis.exceptions.RedisError
        By each method, when Redis does not answer.
    """

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis

    def _read(self, question: Question) -> Shelf | None:
        with self._redis.pipeline(transaction=False) as pipe:  # single GETs, which a cluster may hold anywhere
            for key in question.chain():
                pipe.get(key)
            return _first(pipe.execute())


class AsyncRedisShelves(Shelves[Awaitable[Shelf | None]]):
    """The same with a client of ``redis.asyncio``; each method is awaited."""

    def __init__(self, redis: "AsyncRedis") -> None:
        self._redis = redis

    async def _read(self, question: Question) -> Shelf | None:
        async with self._redis.pipeline(transaction=False) as pipe:
            for key in question.chain():
                pipe.get(key)
            return _first(await pipe.execute())


def _first(values: Iterable[Any]) -> Shelf | None:
    return next((cast(Shelf, json.loads(value)) for value in values if value is not None), None)
