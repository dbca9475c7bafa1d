"""Announcements on ``liveshelf.models``: what a slot of the model store holds now.

The store is the source of truth. A process that misses an announcement reads the same in the store a little later.
Knows slots and the topic; nothing of what a version is, nor of who listens.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import msgspec
from aiokafka.errors import KafkaError as AsyncKafkaError

from models.store import ids
from models.store.slots import Slot
from streams.clock import not_ahead
from streams.config import KafkaConfig, StreamsConfig, TopicsConfig
from streams.events.decode import Refusal
from streams.kafka import topic_reader
from streams.kafka.admin import KafkaConnectionError
from streams.kafka.consumer import Consumer
from streams.kafka.guard import Guard
from streams.kafka.producer import Producer
from streams.kafka.record import Send, Unsent
from streams.kafka.topics import Topics
from streams.telemetry.meter import Meter

log = logging.getLogger(__name__)

TIMEOUT_S = 3.0

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Slot).decode

Announcement = tuple[str, Slot | None]
"""A slot's name and what it holds. It holds None if its record was removed."""


def parse(message: Any, came_ms: int) -> Announcement:
    """What a consumed Kafka message announces; for :class:`streams.kafka.guard.Guard`.

    Raises
    ------
    ValueError
        When the message announces no slot, or the slot is invalid.
    """
    name = (message.key or b"").decode()
    if not re.fullmatch(ids.METHOD, name):
        raise ValueError(f"{name[:64]!r} is no name of a slot")
    slot = None if message.value is None else decode(message.value)
    for one in (*slot.history, slot.current) if slot is not None else ():
        if one is not None:
            not_ahead(int(one.at.timestamp() * 1_000), came_ms, "the promotion")
    return name, slot


def announce(send: Send, topics: Topics, name: str, slot: Slot) -> Awaitable[Unsent | None]:
    """Announce what a slot holds. Await the result to wait until the broker has it.

    Called by roles that have a producer, after they changed the slot in the store.
    """
    return send(topics.models, name.encode(), encode(slot))


def announce_now(kafka: KafkaConfig, topics: TopicsConfig, name: str, slot: Slot) -> None:
    """Announce what a slot holds over a new connection. For the command line, where no event loop runs.

    Raises
    ------
    kafka.errors.KafkaError
        When the broker cannot be reached, refuses, or does not answer for three seconds.
    """

    async def send_one() -> None:
        async with asyncio.timeout(TIMEOUT_S), Producer(StreamsConfig(kafka=kafka, topics=topics)) as send:
            if (refused := await announce(send, Topics(topics.prefix), name, slot)) is not None:
                raise AsyncKafkaError(refused.detail)

    try:
        asyncio.run(send_one())
    except (AsyncKafkaError, TimeoutError, OSError) as error:
        raise KafkaConnectionError(str(error) or f"no answer in {TIMEOUT_S:g} s") from error


async def present(config: StreamsConfig, meter: Meter) -> dict[str, Slot | None]:
    """What each announced slot holds now; one that was never announced is missing. Invalid ones count as in `follow`.

    Raises
    ------
    aiokafka.errors.KafkaError
        When the broker is out of reach or refuses.
    """
    guard, found = Guard("slots", parse, meter), dict[str, Slot | None]()
    async with aclosing(topic_reader.present(config, Topics(config.topics.prefix).models)) as parts:
        async for messages in parts:
            for message in messages:
                if not isinstance(announcement := guard(message), Refusal):
                    found[announcement[0]] = announcement[1]
    return found


async def follow(open_consumer: Callable[[], Consumer], meter: Meter) -> AsyncIterator[Announcement]:
    """All announcements, from the earliest record on, without end. Invalid ones are counted, logged and skipped.

    Parameters
    ----------
    open_consumer
        Makes a consumer of the topic from its earliest record, in no group.
    meter
        Counts invalid announcements.
    """
    guard = Guard("slots", parse, meter)
    consumer = open_consumer()
    await consumer.start()
    try:
        async for message in consumer:
            if not isinstance(announcement := guard(message), Refusal):
                yield announcement
    finally:
        await consumer.stop()
