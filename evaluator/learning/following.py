"""A topic read for as long as the trainer runs, in no group; whatever Kafka breaks off is begun again."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

log = logging.getLogger(__name__)

READ_MS = 500
AGAIN_S = 1.0


async def follow(make: Callable[[], AIOKafkaConsumer], take: Callable[[Any], object]) -> None:
    """Hand every record on until cancelled.

    Parameters
    ----------
    make
        Makes a consumer, not started; one that begins again may hand on what was handed on before.
    """
    while True:
        consumer = make()
        try:
            await consumer.start()
            while True:
                for messages in (await consumer.getmany(timeout_ms=READ_MS)).values():
                    for message in messages:
                        take(message)
        except KafkaError as error:
            log.warning("reading breaks off: %s; beginning again", error)
            await asyncio.sleep(AGAIN_S)
        finally:
            await consumer.stop()
