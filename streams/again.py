"""Reading from Kafka that goes on for as long as a process does: what breaks off is begun again."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiokafka.errors import KafkaError

log = logging.getLogger(__name__)

AGAIN_S = 1.0


async def again(read: Callable[[], Awaitable[None]], what: str) -> None:
    """Read until cancelled.

    Parameters
    ----------
    read
        Reads until Kafka breaks it off, and may read again what it has read before.
    what
        Is read, for the log.
    """
    while True:
        try:
            await read()
        except KafkaError as error:
            log.warning("%s cannot be read: %s; beginning again", what, error)
        await asyncio.sleep(AGAIN_S)
