"""Copies shelf records from Kafka to Redis, where attributed impressions are matched with their shelves.

It has its own consumer in its own group. With the events' consumer, events that wait for their shelves would block
these shelves. Offsets are committed after Redis has a batch; to write a batch twice is harmless. Redis may have less
than was read, as when a replica takes a master's place without its last writes. Then the partition is read again from
there. Knows nothing of events, nor of how shelves are stored.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from aiokafka import TopicPartition

from evaluator.attribution.example import ShelfContext
from evaluator.attribution.shelf_store import OffsetRange
from evaluator.config import EvaluatorConfig
from streams.clock import wall_ms
from streams.config import StreamsConfig
from streams.events.shelf import ShelfRecord, parse
from streams.kafka.consumer import Consumer
from streams.kafka.guard import Guard
from streams.kafka.topics import Topics
from streams.redis.retry import RedisRetry
from streams.telemetry.meter import Meter

log = logging.getLogger(__name__)

READ_MS = 1_000
SLACK_MS = 5_000
"""How much later than it was made a shelf may arrive on its topic."""
GATHER_S = 0.1
"""Pause after a batch that was not full, so that batches get larger: no shelf is needed before its window is over."""


class ShelfCache(Protocol):
    """Where shelves are kept: ``evaluator.attribution.shelf_store.ShelfStore``, which documents each method."""

    ttl_s: int

    def remember(
        self, shelves: Mapping[str, ShelfContext], ranges: Sequence[OffsetRange]
    ) -> Awaitable[Mapping[int, int]]:
        """Keep shelves, by id; gives for each partition the offset before which nothing is missing."""

    def lowest(self, partitions: Sequence[int]) -> Awaitable[Mapping[int, int]]:
        """For each partition the offset before which nothing is missing; -1 where there is nothing."""

    def begin(self, partition: int, offset: int) -> Awaitable[None]:
        """Begin a partition at an offset."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Shelves that Redis has.

    Attributes
    ----------
    records, new
        All of them; those that are read for the first time.
    partitions
        Number of partitions of the topic; 0 while there is no topic.
    """

    records: Sequence[ShelfRecord]
    new: Sequence[ShelfRecord]
    partitions: int


class ShelfConsumer:
    """Reads shelf records.

    Parameters
    ----------
    store, retry
        Keeps the shelves; repeats a call while the store is out of reach.
    on_batch
        Called with each batch that is kept, at least once a second.
    meter
        Counts records that are no shelf records.
    clock
        The time, epoch ms. A topic that is read to its end has all shelves that were made before.
    """

    def __init__(
        self,
        streams: StreamsConfig,
        config: EvaluatorConfig,
        store: ShelfCache,
        retry: RedisRetry,
        on_batch: Callable[[Batch], None],
        meter: Meter,
        clock: Callable[[], int] = wall_ms,
    ) -> None:
        self.streams, self.config = streams, config
        self.store, self.retry, self.on_batch, self.clock = store, retry, on_batch, clock
        self.topic = Topics(streams.topics.prefix).shelves
        self._guard = Guard("shelves", parse, meter)
        self._assigned: object = None
        self._recreated: set[TopicPartition] = set()
        self._kept: dict[TopicPartition, int] = {}
        self._seen: dict[TopicPartition, int] = {}

    async def run(self) -> None:
        """Read until Kafka fails."""
        consumer = self._consumer()
        consumer.on_reset = self._recreated.add
        self._assigned = None
        try:
            await consumer.start()
            while True:
                await self._batch(consumer)
        finally:
            await consumer.stop()

    async def _batch(self, consumer: Consumer) -> None:
        if not self._settled(consumer):
            await self._settle(consumer)
        fetched: Mapping[TopicPartition, Sequence[Any]] = await consumer.getmany(
            timeout_ms=READ_MS, max_records=self.config.batch_events
        )
        if not self._settled(consumer):
            return  # the partitions begin again elsewhere; what was fetched is fetched again
        batch, ranges = self._read(consumer, fetched)
        known = {record.shelf.shelf_id: ShelfContext.of(record) for record in batch.records}
        has = await self.retry.until_done(lambda: self.store.remember(known, ranges))
        self.on_batch(batch)
        if any(has[one.partition] < one.end for one in ranges):
            self._assigned = None  # Redis lost something: go back to what it has
            return
        self._kept |= {TopicPartition(self.topic, one.partition): one.end for one in ranges}
        if fetched:
            await consumer.commit()
            await self._gather(fetched)

    def _read(
        self, consumer: Consumer, fetched: Mapping[TopicPartition, Sequence[Any]]
    ) -> tuple[Batch, list[OffsetRange]]:
        """The fetched shelves, and the range of each partition that was read with them."""
        now, records, new, ranges = self.clock(), list[ShelfRecord](), list[ShelfRecord](), list[OffsetRange]()
        for partition, first in self._kept.items():
            messages, until = fetched.get(partition, ()), None
            found = [(message.offset, record) for message, record in self._guard.values(messages)]
            records += [record for _, record in found]
            new += [record for offset, record in found if offset >= self._seen.get(partition, 0)]
            if found:  # a shelf that claims to be from the future does not show how far the topic was read
                until = min(now, max(record.shelf.made_at for _, record in found))
            end, at = consumer.end(partition), consumer.at(partition)
            if end is not None and consumer.passed({partition: end}):
                until = now - SLACK_MS
            after = messages[-1].offset + 1 if messages else first if at is None else max(first, at)
            self._seen[partition] = max(after, self._seen.get(partition, 0))
            ranges.append(OffsetRange(partition.partition, first, after, until))
        return Batch(records, new, len(consumer.partitions_for_topic(self.topic) or ())), ranges

    def _settled(self, consumer: Consumer) -> bool:
        """Whether the partitions are those that :meth:`_settle` took, and none of them was recreated since."""
        return consumer.assigned() is self._assigned and not self._recreated

    async def _settle(self, consumer: Consumer) -> None:
        """Take the assigned partitions, each from an offset before which both Kafka and Redis have everything."""
        assigned, recreated, partitions = consumer.assigned(), set(self._recreated), consumer.assignment()
        if assigned is None:
            return
        has = await self.retry.until_done(lambda: self.store.lowest([one.partition for one in partitions]))
        starts = {one: await self._start(consumer, one, has[one.partition], one in recreated) for one in partitions}
        if consumer.assigned() is assigned:
            for partition, offset in starts.items():
                consumer.seek(partition, offset)
            self._recreated -= recreated
            self._assigned, self._kept = assigned, starts

    async def _start(self, consumer: Consumer, partition: TopicPartition, has: int, recreated: bool) -> int:
        """The offset from which to read a partition: the committed one, or that of Redis where it is lower.

        It is the beginning where nothing is committed, or where the topic was recreated. Redis may have nothing,
        because it was emptied. Then shelves that would have expired are not read again.
        """
        committed = None if recreated else await consumer.committed(partition)
        if committed is None:
            start = int((await consumer.beginning_offsets([partition]))[partition])
            self._seen.pop(partition, None)
        elif has >= 0:
            start = min(committed, has)
        else:
            oldest = max(0, self.clock() - self.store.ttl_s * 1_000)
            young = (await consumer.offsets_for_times({partition: oldest}))[partition]
            start = committed if young is None else min(committed, young.offset)
        if committed is None or has < 0:
            await self.retry.until_done(partial(self.store.begin, partition.partition, start))
        if committed is not None:
            self._seen[partition] = max(committed, self._seen.get(partition, 0))
            if start < committed:
                words = "partition %d of the shelves: Redis lost what came after offset %d: it is read again"
                log.warning(words, partition.partition, start - 1)
        return start

    async def _gather(self, fetched: Mapping[TopicPartition, Sequence[Any]]) -> None:
        if sum(map(len, fetched.values())) < self.config.batch_events:
            await asyncio.sleep(GATHER_S)

    def _consumer(self) -> Consumer:
        session_ms = int(self.config.session_timeout_s * 1_000)
        return Consumer(
            self.streams,
            self.topic,
            group_id=f"{self.config.group}-shelves",
            group_instance_id=self.config.instance,
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=session_ms // 4,
        )
