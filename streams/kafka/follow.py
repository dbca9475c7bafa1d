"""A topic read in no group, record by record."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from streams.kafka.consumer import Consumer
from streams.kafka.guard import Guard

READ_MS, CHUNK = 500, 200

T = TypeVar("T")


async def follow(make: Callable[[], Consumer], guard: Guard[T], take: Callable[[T], object]) -> None:
    """Hand what every record says on, until Kafka breaks it off; records that say nothing are the guard's.

    Parameters
    ----------
    make
        Makes a consumer, not started; another call may hand on what was handed on before.
    """
    consumer = make()
    try:
        await consumer.start()
        while True:
            for messages in (await consumer.getmany(timeout_ms=READ_MS, max_records=CHUNK)).values():
                for message in messages:
                    guard.hand(message, take)
            await asyncio.sleep(0)  # what is there already is handed out without a pause
    finally:
        await consumer.stop()
