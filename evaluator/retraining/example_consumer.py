"""Examples from Kafka to disk: a consumer in the trainers' group that commits offsets once all before them is on disk.

It does not use Faust, which commits event by event: here a whole buffer of all partitions is written at once.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from aiokafka import ConsumerRebalanceListener, TopicPartition

from evaluator.attribution.example import LabelledExample, parse
from evaluator.retraining.config import LoopConfig
from evaluator.retraining.store.archive import Archive
from evaluator.retraining.store.store import ExampleStore
from models.training.examples import ExamplesError
from streams.clock import wall_ms
from streams.events.decode import Refusal
from streams.events.receipt import Receipt
from streams.kafka.consumer import Consumer
from streams.kafka.errors import KAFKA_ERRORS
from streams.kafka.guard import Guard
from streams.kafka.topics import Topics
from streams.telemetry.meter import Meter

log = logging.getLogger(__name__)

READ_MS = 500
AGAIN_S, LATER_S = 1.0, 30.0
END = 1 << 62


class ExampleConsumer(ConsumerRebalanceListener):  # type: ignore[misc]
    """Reads examples into a store, and counts them.

    Parameters
    ----------
    store
        The store to write to; nobody else may write there.
    """

    def __init__(self, store: ExampleStore, archive: Archive, config: LoopConfig, meter: Meter) -> None:
        self.store, self.archive, self.config, self.meter = store, archive, config, meter
        self._guard = Guard("examples", parse, meter)
        self._lock = asyncio.Lock()
        self._consumer: Consumer | None = None
        self._safe: dict[int, int] = {}
        self._committed: dict[int, int] = {}
        self._counted: dict[int, int] = {}
        self._forgotten: dict[str, int] = {}

    async def run(self) -> None:
        """Read until Kafka fails."""
        consumer = self._consumer = self._new_consumer()
        try:
            consumer.subscribe([Topics(self.config.streams.topics.prefix).examples], listener=self)
            await consumer.start()
            while True:
                fetched = await consumer.getmany(timeout_ms=READ_MS, max_records=5_000)
                await self._take([message for messages in fetched.values() for message in messages])
        finally:
            await consumer.stop()
            self._consumer = None

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Called by aiokafka: what was read of the revoked partitions is written first."""
        if revoked:
            await self.flush()

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Called by aiokafka; nothing to do, reading goes on at the committed offsets."""

    def forget(self, receipt: Receipt) -> None:
        """Take in that shoppers were forgotten; `forgetting` removes their examples."""
        for shopper in receipt.shoppers:
            self._forgotten[shopper] = max(receipt.before, self._forgotten.get(shopper, receipt.before))

    async def forgetting(self) -> None:
        """Remove the examples of forgotten shoppers, those of a second at a time."""
        while True:
            await asyncio.sleep(AGAIN_S)
            if not self._forgotten:
                continue
            gone, self._forgotten = self._forgotten, {}
            async with self._lock:
                try:
                    removed = await asyncio.to_thread(self.store.forget, gone)
                except (OSError, ExamplesError) as error:
                    log.error("examples of forgotten shoppers are not all removed yet: %s; trying again", error)
                    self._forgotten = gone | self._forgotten
                    await asyncio.sleep(LATER_S)
                else:
                    self.meter.count("examples.forgotten", removed)
                    self._counted = {}

    async def flush(self) -> None:
        """Write and commit all that was read."""
        async with self._lock:
            await self._commit(await asyncio.to_thread(self.store.flush, wall_ms()))

    async def count(self, since: int) -> int:
        """How many examples were seen from a moment on (epoch ms)."""
        async with self._lock:
            if since not in self._counted:
                self._counted = {since: await asyncio.to_thread(self.archive.count, since, END)}
            return self._counted[since] + self.store.waiting(since)

    async def _take(self, messages: Sequence[Any]) -> None:
        records = list(self._records(messages))
        self.meter.count("examples", sum(example is not None for _, _, example in records))
        async with self._lock:
            write: Callable[[int], Mapping[int, int]] = partial(self.store.update, records)
            while True:
                try:
                    safe = await asyncio.to_thread(write, wall_ms())
                    break
                except OSError as error:
                    log.error("the disk does not take examples: %s; trying again", error)
                    write = self.store.flush  # it holds them already
                    await asyncio.sleep(AGAIN_S)
            await self._commit(safe)

    def _records(self, messages: Iterable[Any]) -> Iterator[tuple[int, int, LabelledExample | None]]:
        """Partition, offset and example of each message; None for a message that is no example."""
        for message in messages:
            example = self._guard(message)
            yield message.partition, message.offset, None if isinstance(example, Refusal) else example

    async def _commit(self, safe: Mapping[int, int]) -> None:
        """Commit those safe offsets that are new and whose partitions are assigned to this process."""
        if safe != self._safe:
            self._safe, self._counted = dict(safe), {}
        consumer = self._consumer
        mine = consumer.assignment() if consumer is not None else ()
        new = {
            one: safe[one.partition]
            for one in mine
            if one.partition in safe and self._committed.get(one.partition) != safe[one.partition]
        }
        if consumer is None or not new:
            return
        try:
            await consumer.commit(new)
        except KAFKA_ERRORS as error:
            log.warning("offsets are not committed, what is on disk may be read again: %s", error)
        else:
            self._committed |= {one.partition: offset for one, offset in new.items()}

    def _new_consumer(self) -> Consumer:
        learning, streams = self.config.learning, self.config.streams
        session_ms = int(learning.session_timeout_s * 1_000)
        return Consumer(
            streams,
            group_id=learning.group,
            group_instance_id=learning.instance,
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=session_ms // 4,
        )
