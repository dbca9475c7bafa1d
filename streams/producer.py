"""Records on their way to Kafka: one producer, whose keys choose partitions.

Knows aiokafka and the settings; nothing of what is sent.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner

from streams.config import StreamsConfig
from streams.connections import aiokafka_client
from streams.embedding import SEPARATOR
from streams.record import Header
from streams.topics import largest_record

BATCH_BYTES = 131_072
"""Bytes of one partition's records that go in one request."""

_Queued = tuple[str, bytes | None, bytes | None, list[Header], "asyncio.Future[None]"]

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


class Producer:
    """What :class:`streams.record.Send` asks for, as an asynchronous context.

    One task hands all records on, in their order: where each waited for room by itself, thousands of waiters woke each
    other up (``docs/log.md``).
    """

    def __init__(self, config: StreamsConfig) -> None:
        self._producer = AIOKafkaProducer(
            **aiokafka_client(config.kafka),
            acks="all",
            linger_ms=1,
            max_batch_size=BATCH_BYTES,
            max_request_size=largest_record(config.topics),
            partitioner=partition,
        )
        self._queue: asyncio.Queue[_Queued | None] = asyncio.Queue()

    async def __aenter__(self) -> "Producer":
        try:
            await self._producer.start()
        except BaseException:
            await self._producer.stop()
            raise
        self._handing_on = asyncio.create_task(self._hand_on())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._queue.put_nowait(None)
        await self._handing_on
        await self._producer.stop()

    def __call__(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Sequence[Header] = ()
    ) -> "asyncio.Future[None]":
        """Queue a record; what it returns is done once the broker has it."""
        acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((topic, key, value, list(headers), acknowledged))
        return acknowledged

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has."""
        return len(await self._producer.partitions_for(topic))

    async def _hand_on(self) -> None:
        while (queued := await self._queue.get()) is not None:
            topic, key, value, headers, acknowledged = queued
            try:
                delivery = await self._producer.send(topic, value, key, headers=headers)
            except Exception as error:
                _settle(acknowledged, error)
            else:
                delivery.add_done_callback(partial(_delivered, acknowledged))


def _delivered(acknowledged: "asyncio.Future[None]", delivery: "asyncio.Future[Any]") -> None:
    _settle(acknowledged, asyncio.CancelledError() if delivery.cancelled() else delivery.exception())


def _settle(acknowledged: "asyncio.Future[None]", error: BaseException | None) -> None:
    if acknowledged.done():
        return
    if error is None:
        acknowledged.set_result(None)
    elif isinstance(error, asyncio.CancelledError):
        acknowledged.cancel()
    else:
        acknowledged.set_exception(error)
