"""Waiting for Redis ends when it is to end."""

import asyncio

import pytest

from streams.redis.retry import RedisRetry


def test_who_is_cancelled_as_the_answer_comes_is_cancelled() -> None:
    """As redis-py's calls may be: they keep that to themselves."""

    async def deaf() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "an answer"
        return "none"

    async def run() -> None:
        waiting = asyncio.create_task(RedisRetry().until_done(deaf))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await RedisRetry().until_done(lambda: asyncio.sleep(0, "an answer")) == "an answer"

    asyncio.run(run())
