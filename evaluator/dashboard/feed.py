"""Reads the page's data from Kafka, and passes the newest message to any number of browsers.

Reads without a group and without commits, and goes on when the broker is back. It reads snapshots of the last hour;
alerts of the last day, because a lasting one is published again only every few hours; items and slots from their
beginning. A slow browser misses messages; none are kept for it.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import UnknownTopicOrPartitionError

from evaluator.dashboard import inspector
from evaluator.dashboard.history import History
from evaluator.monitoring.alerts import topic as alerts
from streams.clock import wall_ms
from streams.config import StreamsConfig
from streams.kafka.consumer import Consumer
from streams.kafka.errors import KAFKA_ERRORS
from streams.kafka.guard import Guard
from streams.kafka.topics import Topics
from streams.serving import announcement
from streams.telemetry import meter
from streams.telemetry.meter import Meter, Snapshot

log = logging.getLogger(__name__)
METRICS_BACK_MS = 3_600_000
ALERTS_BACK_MS = 24 * 3_600_000
CHUNK = 200
POLL_MS = 500
AGAIN_S = 2.0


class Feed:
    """Reads the topics into a history.

    Parameters
    ----------
    config
        Settings of Kafka and of the topics' names.
    history
        Receives every record, and the problem when the topics cannot be read.
    counts
        Counts unreadable records.

    Attributes
    ----------
    moved_at
        When a read last returned, by the monotonic clock, even without new records.
    """

    def __init__(self, config: StreamsConfig, history: History, counts: Meter) -> None:
        self.config, self.history = config, history
        self.topics = Topics(config.topics.prefix)
        self._next: dict[TopicPartition, int] = {}
        self.moved_at = time.monotonic()
        self._taken: dict[str, tuple[Guard[Any], Callable[[Any], object]]] = {
            self.topics.items: (Guard("items", inspector.parse, counts), history.titles.update),
            self.topics.models: (Guard("slots", announcement.parse, counts), history.slots.update),
            self.topics.metrics: (Guard("snapshots", meter.parse, counts), self._snapshot),
            self.topics.alerts: (alerts.guard(counts), lambda published: history.alert(published.alert, published.at)),
        }

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            try:
                await self._follow()
            except UnknownTopicOrPartitionError:
                self._wait("The topics are not there yet: start a worker, or liveshelf topics create")
            except (*KAFKA_ERRORS, OSError) as error:
                self._wait(f"Kafka at {self.config.kafka.bootstrap_servers} cannot be read")
                log.debug("%s: %s", type(error).__name__, error)
            await asyncio.sleep(AGAIN_S)

    def _wait(self, problem: str) -> None:
        if self.history.problem != problem:
            log.warning("%s; trying again every %g s", problem, AGAIN_S)
        self.history.problem = problem

    async def _follow(self) -> None:
        topics = self.topics
        consumer = Consumer(self.config, topics.metrics, topics.alerts, topics.models, topics.items)
        try:
            await consumer.start()
            await self._seek(consumer)
            if self.history.problem:
                log.warning("reading the topics")
            self.history.problem = None
            while True:
                for partition, records in (await consumer.getmany(timeout_ms=POLL_MS, max_records=CHUNK)).items():
                    self._take(partition.topic, records)
                    self._next[partition] = records[-1].offset + 1
                self.moved_at = time.monotonic()
                await asyncio.sleep(0)
        finally:
            await consumer.stop()

    async def _seek(self, consumer: Consumer) -> None:
        """Seek to where the last connection ended, else as far back as the topic is needed."""
        now = wall_ms()
        back = {self.topics.metrics: METRICS_BACK_MS, self.topics.alerts: ALERTS_BACK_MS}
        fresh = {one: now - back[one.topic] for one in consumer.assignment() if one.topic in back}
        ends = await consumer.end_offsets(list(fresh))  # first, so that records in between are not skipped
        starts: Mapping[TopicPartition, Any] = await consumer.offsets_for_times(fresh)
        for partition, start in starts.items():
            consumer.seek(partition, start.offset if start is not None else ends[partition])
        for partition, offset in self._next.items():
            if partition in consumer.assignment():
                consumer.seek(partition, offset)

    def _take(self, topic: str, records: Sequence[Any]) -> None:
        guard, take = self._taken[topic]
        for record in records:
            guard.hand(record, take)

    def _snapshot(self, snapshot: Snapshot) -> None:
        self.history.update(snapshot, wall_ms())


PING_S = 15.0


T = TypeVar("T")


class Latest(Generic[T]):
    """Holds the newest message and its number.

    Parameters
    ----------
    first
        Stands for a message while there is none; nobody gets it.

    Examples
    --------
    >>> async def example():
    ...     latest = Latest(b"")
    ...     reading = asyncio.create_task(anext(latest.follow()))
    ...     await asyncio.sleep(0)
    ...     latest.update(b"one")
    ...     latest.update(b"two")
    ...     return await reading
    >>> asyncio.run(example())
    (2, b'two')
    """

    def __init__(self, first: T) -> None:
        self.readers = 0
        self.closed = False
        self._number = 0
        self._message = first
        self._changed = asyncio.Event()

    def admit(self, most: int) -> bool:
        """Admit a reader, unless there are ``most`` already; an admitted reader has to call :meth:`leave`."""
        if self.readers >= most:
            return False
        self.readers += 1
        return True

    def leave(self) -> None:
        """Remove a reader."""
        self.readers -= 1

    def update(self, message: T) -> None:
        """Replace the message."""
        self._number += 1
        self._message = message
        self._wake()

    def close(self) -> None:
        """End all readers."""
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def follow(self) -> AsyncIterator[tuple[int, T | None]]:
        """Yield each newest message from now on, with its number; None when there is none for :data:`PING_S`."""
        seen = self._number
        while not self.closed:
            if seen < self._number:
                seen = self._number
                yield seen, self._message
                continue
            try:
                async with asyncio.timeout(PING_S):
                    await self._changed.wait()
            except TimeoutError:
                yield seen, None
