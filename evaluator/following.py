"""A topic read in no group, record by record."""

import asyncio
from collections.abc import Callable
from typing import Any

from streams.consumer import Consumer

READ_MS, CHUNK = 500, 200


async def follow(make: Callable[[], Consumer], take: Callable[[Any], object]) -> None:
    """Hand every record on, until Kafka breaks it off.

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
                    take(message)
            await asyncio.sleep(0)  # what is there already is handed out without a pause
    finally:
        await consumer.stop()
