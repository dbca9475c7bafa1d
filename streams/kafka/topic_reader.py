"""Reads a topic without a group: its present records, from the beginning or a time on, or continuously.

`contents` is for the command line, where no event loop runs, `present` and `follow` for a role. A partition with an
unreadable batch is read up to that batch.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from typing import Any, TypeVar

from streams.config import StreamsConfig
from streams.kafka.admin import KafkaConnectionError
from streams.kafka.consumer import Consumer
from streams.kafka.errors import KAFKA_ERRORS
from streams.kafka.guard import Guard

READ_MS = 500


def contents(config: StreamsConfig, topic: str, *, since_ms: int | None = None) -> Generator[Any]:
    """All messages, oldest first in each partition; none where there is no such topic.

    Parameters
    ----------
    since_ms
        Messages with an earlier timestamp (epoch ms) are left out.

    Raises
    ------
    kafka.errors.KafkaError
        When the broker is out of reach or refuses.
    """
    with asyncio.Runner() as runner:
        reading = present(config, topic, since_ms)

        async def more() -> Sequence[Any] | None:
            return await anext(reading, None)

        try:
            while (messages := runner.run(more())) is not None:
                yield from messages
        except (*KAFKA_ERRORS, OSError) as error:
            raise KafkaConnectionError(str(error)) from error
        finally:
            runner.run(reading.aclose())


async def present(config: StreamsConfig, topic: str, since_ms: int | None = None) -> AsyncGenerator[Sequence[Any]]:
    """As `contents`, in parts, for a role; raises the errors of aiokafka as they are."""
    consumer = Consumer(config)
    try:
        await consumer.start()
        partitions = await consumer.partitions(topic)
        if not partitions:
            return
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        if since_ms is not None:
            starts = await consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))
            for partition, start in starts.items():
                consumer.seek(partition, start.offset if start is not None else ends[partition])
        while not consumer.passed(ends):
            for messages in (await consumer.getmany(timeout_ms=READ_MS)).values():
                yield messages
    finally:
        await consumer.stop()


CHUNK = 200
T = TypeVar("T")


async def follow(make: Callable[[], Consumer], guard: Guard[T], take: Callable[[T], object]) -> None:
    """Pass each record's value to ``take``, until Kafka fails; the guard counts and logs records without one.

    Parameters
    ----------
    make
        Makes a consumer that is not started. After a second call, values may come again.
    """
    consumer = make()
    try:
        await consumer.start()
        while True:
            for messages in (await consumer.getmany(timeout_ms=READ_MS, max_records=CHUNK)).values():
                for message in messages:
                    guard.hand(message, take)
            await asyncio.sleep(0)  # getmany does not wait where records are buffered
    finally:
        await consumer.stop()
