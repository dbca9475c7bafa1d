"""Records on their way to Kafka: one producer, whose keys choose partitions.

Knows aiokafka and the settings; nothing of what is sent.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner

from streams.config import StreamsConfig
from streams.connections import aiokafka_client
from streams.embedding import SEPARATOR
from streams.record import Header
from streams.topics import DEAD_LETTER_HEADROOM

_by_hash: Any = DefaultPartitioner()


def partition(key: bytes | None, all_partitions: list[int], available: list[int]) -> int:
    """Kafka's usual partition of a key, of which what follows the separator does not count.

    So all that was made of an item keeps its order, whichever encoder made it.

    Examples
    --------
    >>> len({partition(key, list(range(8)), []) for key in (b"i1", b"i1\\0mini@0a1b", b"i1\\0other")})
    1
    """
    return int(_by_hash(key and key.partition(SEPARATOR)[0], all_partitions, available))


def largest_record(config: StreamsConfig) -> int:
    """Bytes of the largest record there can be: a dead letter is larger than what it holds."""
    return config.topics.max_message_bytes + DEAD_LETTER_HEADROOM


class Producer:
    """What :class:`streams.record.Send` asks for, as an asynchronous context."""

    def __init__(self, config: StreamsConfig) -> None:
        self._producer = AIOKafkaProducer(
            **aiokafka_client(config.kafka),
            acks="all",
            linger_ms=1,
            max_request_size=largest_record(config),
            partitioner=partition,
        )

    async def __aenter__(self) -> "Producer":
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()

    def __call__(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Sequence[Header] = ()
    ) -> "asyncio.Task[None]":
        """Queue a record; what it returns is done once the broker has it."""
        return asyncio.create_task(self._send(topic, key, value, headers))

    async def _send(self, topic: str, key: bytes | None, value: bytes | None, headers: Sequence[Header]) -> None:
        await (await self._producer.send(topic, value, key, headers=list(headers)))
