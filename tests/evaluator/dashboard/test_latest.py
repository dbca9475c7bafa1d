"""The newest message: a slow reader costs nothing, and closing ends all."""

import asyncio
import contextlib

import pytest

from evaluator.dashboard import feed as module
from evaluator.dashboard.feed import Latest


def test_a_slow_reader_gets_the_newest_and_nothing_is_kept_for_it() -> None:
    async def run() -> None:
        latest = Latest(b"")
        latest.update(b"from before")
        reader = latest.follow()
        first = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0)
        latest.update(b"0")
        assert await first == (2, b"0")
        for number in range(1, 10_000):
            latest.update(str(number).encode())
        assert await anext(reader) == (10_001, b"9999")
        latest.close()
        with pytest.raises(StopAsyncIteration):
            await anext(reader)

    asyncio.run(run())


def test_readers_are_counted_as_they_come_and_no_more_are_admitted() -> None:
    latest = Latest(b"")
    assert [latest.admit(2) for _ in range(4)] == [True, True, False, False]
    latest.leave()
    assert latest.readers == 1 and latest.admit(2)


def test_readers_are_woken_by_a_message_and_by_the_end() -> None:
    async def run() -> None:
        latest = Latest(b"")
        found: list[bytes | None] = []

        async def read() -> None:
            async with contextlib.aclosing(latest.follow()) as messages:
                async for _, message in messages:
                    found.append(message)

        tasks = [asyncio.create_task(read()) for _ in range(3)]
        await asyncio.sleep(0)
        latest.update(b"a")
        await asyncio.sleep(0.01)
        latest.close()
        await asyncio.gather(*tasks)
        assert found == [b"a"] * 3

    asyncio.run(run())


def test_a_long_silence_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PING_S", 0.01)

    async def run() -> None:
        async with contextlib.aclosing(Latest(b"").follow()) as messages:
            assert await anext(messages) == (0, None)

    asyncio.run(run())
