"""Shelf records on their way to Redis, where closing impressions looks them up.

A consumer of its own, in a group of its own: through the events' one, events that wait for their shelves would block
these very shelves. What is read twice is written twice, to no harm, so offsets are committed after Redis has a batch.
Where Redis says that it has less than was read, as when a replica takes a master's place without its last writes, the
partition is read again from there.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from aiokafka import TopicPartition

from evaluator.attribution.example import ShelfContext
from evaluator.attribution.shelf_store import Stretch
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
"""How much later than it was made a shelf may be on its topic."""
GATHER_S = 0.1
"""How long shelves gather after a batch that was not full: none is needed before its window is over."""


class ShelfCache(Protocol):
    """Where shelves are kept: ``evaluator.attribution.shelf_store.ShelfStore``, which tells what each means."""

    ttl_s: int

    def remember(
        self, shelves: Mapping[str, ShelfContext], stretches: Sequence[Stretch]
    ) -> Awaitable[Mapping[int, int]]:
        """Keep shelves, by id; gives for each partition the offset before which nothing is missing."""

    def lowest(self, partitions: Sequence[int]) -> Awaitable[Mapping[int, int]]:
        """For each partition the offset before which nothing is missing; -1 where nothing is there."""

    def begin(self, partition: int, offset: int) -> Awaitable[None]:
        """Have a partition begin at an offset."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Shelves that Redis has.

    Attributes
    ----------
    records, new
        All of them; those that are not read again.
    partitions
        How many the topic has; 0 while it is not there.
    """

    records: Sequence[ShelfRecord]
    new: Sequence[ShelfRecord]
    partitions: int


class ShelfConsumer:
    """Reads shelf records.

    Parameters
    ----------
    store, retry
        Keeps the shelves; waits while it is out of reach.
    took
        Called with each batch that is kept, at least once a second.
    meter
        Counts what is no shelf record.
    clock
        What time it is, epoch milliseconds: a topic that is read to its end has all that was made before.
    """

    def __init__(
        self,
        streams: StreamsConfig,
        config: EvaluatorConfig,
        store: ShelfCache,
        retry: RedisRetry,
        took: Callable[[Batch], None],
        meter: Meter,
        clock: Callable[[], int] = wall_ms,
    ) -> None:
        self.streams, self.config = streams, config
        self.store, self.retry, self.took, self.clock = store, retry, took, clock
        self.topic = Topics(streams.topics.prefix).shelves
        self._guard = Guard("shelves", parse, meter)
        self._assigned: object = None
        self._anew: set[TopicPartition] = set()
        self._kept: dict[TopicPartition, int] = {}
        self._seen: dict[TopicPartition, int] = {}

    async def run(self) -> None:
        """Read until Kafka breaks it off."""
        consumer = self._consumer()
        consumer.on_reset = self._anew.add
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
            return  # what was fetched is fetched again, from where the partitions are taken up
        batch, stretches = self._read(consumer, fetched)
        known = {record.shelf.shelf_id: ShelfContext.of(record) for record in batch.records}
        has = await self.retry.until_done(lambda: self.store.remember(known, stretches))
        self.took(batch)
        if any(has[one.partition] < one.behind for one in stretches):
            self._assigned = None  # it lost something: go back to what it has
            return
        self._kept |= {TopicPartition(self.topic, one.partition): one.behind for one in stretches}
        if fetched:
            await consumer.commit()
            await self._gather(fetched)

    def _read(self, consumer: Consumer, fetched: Mapping[TopicPartition, Sequence[Any]]) -> tuple[Batch, list[Stretch]]:
        """The shelves of what was fetched, and what is known of each partition with them."""
        now, records, new, stretches = self.clock(), list[ShelfRecord](), list[ShelfRecord](), list[Stretch]()
        for partition, first in self._kept.items():
            messages, until = fetched.get(partition, ()), None
            found = [(message.offset, record) for message, record in self._guard.values(messages)]
            records += [record for _, record in found]
            new += [record for offset, record in found if offset >= self._seen.get(partition, 0)]
            if found:  # a shelf that claims to be from later than now says nothing of how far the topic was read
                until = min(now, max(record.shelf.made_at for _, record in found))
            end, at = consumer.end(partition), consumer.at(partition)
            if end is not None and consumer.passed({partition: end}):
                until = now - SLACK_MS
            behind = messages[-1].offset + 1 if messages else first if at is None else max(first, at)
            self._seen[partition] = max(behind, self._seen.get(partition, 0))
            stretches.append(Stretch(partition.partition, first, behind, until))
        return Batch(records, new, len(consumer.partitions_for_topic(self.topic) or ())), stretches

    def _settled(self, consumer: Consumer) -> bool:
        """Whether the partitions are those that were taken up, and hold what they held then."""
        return consumer.assigned() is self._assigned and not self._anew

    async def _settle(self, consumer: Consumer) -> None:
        """Take up the partitions where both Kafka and Redis have everything before."""
        assigned, anew, partitions = consumer.assigned(), set(self._anew), consumer.assignment()
        if assigned is None:
            return
        has = await self.retry.until_done(lambda: self.store.lowest([one.partition for one in partitions]))
        starts = {one: await self._start(consumer, one, has[one.partition], one in anew) for one in partitions}
        if consumer.assigned() is assigned:
            for partition, offset in starts.items():
                consumer.seek(partition, offset)
            self._anew -= anew
            self._assigned, self._kept = assigned, starts

    async def _start(self, consumer: Consumer, partition: TopicPartition, has: int, anew: bool) -> int:
        """Where to take up a partition: at what is committed, or before, at what Redis has.

        Where nothing is committed, or the topic was made anew, that is the beginning. Where Redis knows nothing of what
        is committed, since it was emptied or lost it, shelves that would have run out are not read again.
        """
        committed = None if anew else await consumer.committed(partition)
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
