"""Sends records to Kafka: one producer, which chooses partitions by key.

Distinguishes a record that the broker never accepts, which is left out, from a broker that accepts nothing, which ends
the batch. Knows aiokafka and the settings; nothing of what is sent.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer, errors
from aiokafka.partitioner import DefaultPartitioner

from streams.config import StreamsConfig
from streams.kafka.connection import aiokafka_client
from streams.kafka.record import Header, Send, Unsent
from streams.kafka.topics import SEPARATOR, largest_record
from streams.telemetry.meter import Meter

log = logging.getLogger(__name__)

SEND_NOW_S = 5.0

BATCH_BYTES = 131_072
"""Bytes of one partition's records in one request."""

_by_hash: Any = DefaultPartitioner()


class InvalidRecordError(errors.BrokerResponseError):  # type: ignore[misc]
    """The broker's validation refuses the record, as one without a key on a compacted topic; aiokafka lacks it."""

    errno = 87
    message = "INVALID_RECORD"
    description = "The record does not pass the validation of the broker."


errors.kafka_errors.setdefault(InvalidRecordError.errno, InvalidRecordError)

TOO_LARGE = errors.MessageSizeTooLargeError, errors.RecordListTooLargeError
UNACCEPTABLE = (
    InvalidRecordError,
    errors.InvalidTimestampError,
    errors.CorruptRecordException,
    errors.UnsupportedForMessageFormatError,
)
"""Errors that the broker returns for the same bytes each time. They concern a whole batch: only the error of a batch
with a single record concerns that record."""

UNWRITABLE = AssertionError, TypeError, ValueError, OverflowError
"""Errors that the client raises for a record that cannot be serialized."""


class _Queued(NamedTuple):
    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[Header]
    settled: "asyncio.Future[Unsent | None]"


def partition(key: bytes | None, all_partitions: list[int], available: list[int]) -> int:
    """Kafka's default partition of the part of a key before the separator.

    So all records of an item keep their order, whichever encoder made them.

    Examples
    --------
    >>> len({partition(key, list(range(8)), []) for key in (b"i1", b"i1\\0mini@0a1b", b"i1\\0other")})
    1
    """
    return int(_by_hash(key and key.partition(SEPARATOR)[0], all_partitions, available))


async def started(producer: AIOKafkaProducer) -> None:
    """Start the library's producer. After a failure or a cancellation nothing stays open."""
    try:
        await producer.start()
    except BaseException:
        await producer.stop()
        raise


def unsent(error: BaseException) -> Unsent | None:
    """The error as a fault of the record itself; None where the broker or the connection is at fault.

    Examples
    --------
    >>> unsent(errors.MessageSizeTooLargeError("2 bytes")).kind, unsent(errors.RequestTimedOutError())
    ('too_large', None)
    """
    if isinstance(error, TOO_LARGE):
        return Unsent("too_large", str(error))
    if isinstance(error, (*UNACCEPTABLE, *UNWRITABLE)):
        return Unsent("unacceptable", f"{type(error).__name__}: {error}")
    return None


class Producer:
    """Implements :class:`streams.kafka.record.Send`; an asynchronous context manager.

    One task passes all records to the library, in order: when each record waited for room by itself, thousands of
    waiters woke each other up (``docs/log.md``). When the broker refuses a batch, each of its records is sent again
    alone. Records that are refused again are counted as ``unsent.too_large`` or ``unsent.unacceptable``, and logged
    once for each topic and kind.
    """

    def __init__(self, config: StreamsConfig, meter: Meter | None = None) -> None:
        self._producer = AIOKafkaProducer(
            **aiokafka_client(config.kafka),
            acks="all",
            linger_ms=1,
            max_batch_size=BATCH_BYTES,
            max_request_size=largest_record(config.topics),
            partitioner=partition,
        )
        self._meter = meter
        self._queue: asyncio.Queue[_Queued | None] = asyncio.Queue()
        self._alone: asyncio.Queue[_Queued] = asyncio.Queue()
        self._logged: set[tuple[str, str]] = set()
        self._waiting: set[asyncio.Future[Unsent | None]] = set()
        self._ended: errors.KafkaError | None = None

    async def __aenter__(self) -> "Producer":
        await started(self._producer)
        self._tasks = [asyncio.create_task(self._pass_on()), asyncio.create_task(self._send_alone())]
        for task in self._tasks:
            task.add_done_callback(self._give_up)
        return self

    async def __aexit__(self, *_: object) -> None:
        passing_on, sending_alone = self._tasks
        passing_on.remove_done_callback(self._give_up)
        self._queue.put_nowait(None)
        await asyncio.wait([passing_on])
        await self._producer.flush()
        if self._ended is None:
            await self._alone.join()
        sending_alone.remove_done_callback(self._give_up)
        sending_alone.cancel()
        await self._producer.stop()

    def __call__(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Sequence[Header] = ()
    ) -> "asyncio.Future[Unsent | None]":
        """Queue a record; the future is done once the broker has the record, or has refused it for good."""
        settled: asyncio.Future[Unsent | None] = asyncio.get_running_loop().create_future()
        if self._ended is not None:
            settled.set_exception(self._ended)
        else:
            self._waiting.add(settled)
            settled.add_done_callback(self._waiting.discard)
            self._queue.put_nowait(_Queued(topic, key, value, list(headers), settled))
        return settled

    @property
    def failure(self) -> str | None:
        """Why nothing is sent any more, until another producer is made; None while records are sent."""
        return None if self._ended is None else str(self._ended)

    async def partitions(self, topic: str) -> int:
        """The number of a topic's partitions."""
        return len(await self._producer.partitions_for(topic))

    def _give_up(self, task: "asyncio.Task[None]") -> None:
        """A task has ended too early: give its error to all present and later callers, who would wait forever."""
        error = None if task.cancelled() else task.exception()
        why = "the sending task was cancelled" if task.cancelled() else repr(error or "the sending task ended")
        self._ended = errors.KafkaError(f"records are no longer sent: {why}")
        log.critical("%s", self._ended, exc_info=error)
        for waiting in list(self._waiting):
            if not waiting.done():
                waiting.set_exception(self._ended)

    async def _pass_on(self) -> None:
        while (queued := await self._queue.get()) is not None:
            topic, key, value, headers, _ = queued
            try:
                delivery = await self._producer.send(topic, value, key, headers=headers)
            except Exception as error:
                self._settle(queued, error)
            else:
                delivery.add_done_callback(partial(self._delivered, queued))

    def _delivered(self, queued: _Queued, delivery: "asyncio.Future[Any]") -> None:
        error = asyncio.CancelledError() if delivery.cancelled() else delivery.exception()
        if error is not None and unsent(error):
            self._alone.put_nowait(queued)
        else:
            self._settle(queued, error)

    async def _send_alone(self) -> None:
        while True:
            queued = await self._alone.get()
            topic, key, value, headers, _ = queued
            try:
                batch = self._producer.create_batch()
                batch.append(timestamp=None, key=key, value=value, headers=headers)
                every = sorted(await self._producer.partitions_for(topic))
                await (await self._producer.send_batch(batch, topic, partition=partition(key, every, every)))
            except Exception as error:
                self._settle(queued, error)
            else:
                self._settle(queued, None)
            finally:
                self._alone.task_done()

    def _settle(self, queued: _Queued, error: BaseException | None) -> None:
        if queued.settled.done():
            return
        if error is None:
            queued.settled.set_result(None)
        elif isinstance(error, asyncio.CancelledError):
            queued.settled.cancel()
        elif (refused := unsent(error)) is not None:
            self._report(queued, refused)
            queued.settled.set_result(refused)
        else:
            queued.settled.set_exception(error)

    def _report(self, queued: _Queued, refused: Unsent) -> None:
        if self._meter is not None:
            self._meter.count(f"unsent.{refused.kind}")
        if (queued.topic, refused.kind) not in self._logged:
            self._logged.add((queued.topic, refused.kind))
            size = sum(len(part or b"") for part in (queued.key, queued.value, *(value for _, value in queued.headers)))
            log.error(
                "%s refuses a record of %d bytes, which is left out; further ones are only counted: %s",
                queued.topic,
                size,
                refused.detail,
            )


def send_now(config: StreamsConfig, act: Callable[[Send], Awaitable[object]], limit_s: float = SEND_NOW_S) -> None:
    """Send records from a place where no event loop runs, over a connection of their own.

    Raises
    ------
    aiokafka.errors.KafkaError, OSError
        When the broker is out of reach, refuses, or takes longer than ``limit_s``.
    """

    async def run() -> None:
        async with asyncio.timeout(limit_s), Producer(config) as send:
            await act(send)

    # On a thread: the main one's event loop is Faust's.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, run()).result()
