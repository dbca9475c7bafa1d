"""How batches are taken of a stream: whole, in order, acknowledged once what they sent is delivered."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from streams.kafka.app import BatchTaker
from streams.kafka.record import Record, Sent

LONG_S = 0.3


class Stream:
    """Events as Faust's stream gives them, of one partition; those of an earlier assignment are left out."""

    def __init__(self) -> None:
        self.channel = SimpleNamespace(queue=asyncio.Queue())
        self.app = SimpleNamespace(consumer_generation_id=1, flow_control=SimpleNamespace(is_active=lambda: True))
        self.acknowledged: list[int] = []

    def put(self, *offsets: int) -> None:
        """Records that arrive now."""
        for offset in offsets:
            message = SimpleNamespace(
                topic="t", partition=0, offset=offset, timestamp=1.0, timestamp_type=0, key=b"u", value=b"",
                generation_id=self.app.consumer_generation_id,
            )  # fmt: skip
            ack = lambda offset=offset: self.acknowledged.append(offset)  # noqa: E731
            self.channel.queue.put_nowait(SimpleNamespace(message=message, ack=ack))

    def noack(self) -> "Stream":
        return self

    async def events(self) -> AsyncIterator[Any]:
        while True:
            event = await self.channel.queue.get()
            if event.message.generation_id == self.app.consumer_generation_id:
                yield event


class Undescribed:
    """Records as they are."""

    async def decoded(self, records: Sequence[Record]) -> Sequence[Record]:
        return records


def taker(wait_s: float) -> BatchTaker:
    return BatchTaker(wait_s, lambda: None, Undescribed())


def test_one_that_is_cancelled_while_it_waits_for_the_last_batch_acknowledges_both() -> None:
    async def run() -> tuple[list[int], list[int]]:
        stream, delivered, processed = Stream(), list[int](), asyncio.Semaphore(0)

        async def deliver(offset: int) -> None:
            await asyncio.sleep(LONG_S)
            delivered.append(offset)

        async def process(records: Sequence[Record]) -> Sent:
            processed.release()
            return [asyncio.ensure_future(deliver(records[0].offset))]

        task = asyncio.create_task(taker(0.001).run(stream, 64, process))
        for offset in range(2):
            stream.put(offset)
            await processed.acquire()
        await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return delivered, stream.acknowledged

    assert asyncio.run(run()) == ([0, 1], [0, 1])


def test_what_waits_while_partitions_are_assigned_anew_is_left_to_its_next_delivery() -> None:
    async def run() -> list[list[int]]:
        stream, batches, enough = Stream(), list[list[int]](), asyncio.Event()

        async def process(records: Sequence[Record]) -> Sent:
            batches.append([one.offset for one in records])
            if len(batches) == 2:
                enough.set()
            return []

        task = asyncio.create_task(taker(LONG_S).run(stream, 64, process))
        stream.put(0)
        while not batches:
            await asyncio.sleep(0)
        stream.put(1, 2)
        while not stream.channel.queue.empty():  # taken; the batch waits for more
            await asyncio.sleep(0)
        stream.app.consumer_generation_id += 1
        stream.put(0, 1, 2, 3)
        await asyncio.wait_for(enough.wait(), 60)
        task.cancel()
        return batches

    assert asyncio.run(run()) == [[0], [0, 1, 2, 3]]
