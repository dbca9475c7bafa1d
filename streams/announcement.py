"""Announcements on ``liveshelf.models``: what a slot of the model store holds now, told to all who act on it at once.

The store is the truth; who misses an announcement finds the same there, a little later. Knows slots and the topic;
nothing of what a version is, nor of who listens.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
from aiokafka.errors import KafkaError as AsyncKafkaError
from kafka.errors import KafkaConnectionError

from models.store.slots import Slot
from streams.config import KafkaConfig, StreamsConfig, TopicsConfig
from streams.consumer import Consumer
from streams.producer import Producer
from streams.record import Send, Unsent
from streams.topics import Topics

log = logging.getLogger(__name__)

TIMEOUT_S = 3.0

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Slot).decode


def announce(send: Send, topics: Topics, name: str, slot: Slot) -> Awaitable[Unsent | None]:
    """Tell what a slot holds; awaiting what it returns waits until the broker has it.

    Called by roles that have a producer, after they changed the slot in the store.
    """
    return send(topics.models, name.encode(), encode(slot))


def announce_now(kafka: KafkaConfig, topics: TopicsConfig, name: str, slot: Slot) -> None:
    """The same with a connection of its own, for the command line; where no event loop runs.

    Raises
    ------
    kafka.errors.KafkaError
        When the broker is out of reach, refuses, or does not answer for three seconds.
    """

    async def tell() -> None:
        async with asyncio.timeout(TIMEOUT_S), Producer(StreamsConfig(kafka=kafka, topics=topics)) as send:
            if (refused := await announce(send, Topics(topics.prefix), name, slot)) is not None:
                raise AsyncKafkaError(refused.detail)

    try:
        asyncio.run(tell())
    except (AsyncKafkaError, TimeoutError, OSError) as error:
        raise KafkaConnectionError(str(error) or f"no answer in {TIMEOUT_S:g} s") from error


async def follow(open_consumer: Callable[[], Consumer]) -> AsyncIterator[tuple[str, Slot | None]]:
    """What is announced, first what was before; endless. A slot is None where its record was removed.

    What is no slot is logged and passed over.

    Parameters
    ----------
    open_consumer
        Makes a consumer of the topic from its earliest record, in no group.
    """
    consumer = open_consumer()
    await consumer.start()
    try:
        async for message in consumer:
            try:
                found = (message.key or b"").decode(), None if message.value is None else decode(message.value)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                log.error("%s[%d]@%d is no slot: %s", message.topic, message.partition, message.offset, error)
                continue
            yield found
    finally:
        await consumer.stop()
