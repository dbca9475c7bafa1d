"""Lets Faust read Kafka through this project's own consumer, and commits the read position instead of record counts.

Faust counts records one by one. Offsets without records (transaction markers, aborted records, skipped batches) would
hold its commits up forever, and it would drop all records of a topic that was deleted and created again. Here a
partition is processed up to the read position once the last delivered record is acknowledged. So records of a topic
have to be acknowledged in order, as :class:`streams.kafka.app.BatchTaker` does.
"""

from collections.abc import Iterable
from typing import Any

from aiokafka import TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import KafkaError
from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import ack_lock

from streams.config import StreamsConfig
from streams.kafka.consumer import Consumer
from streams.kafka.unreadable import SilenceDetector
from streams.runtime.lifecycle import or_leave

MAX_WAIT_MS = 1_500


class Thread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """Faust's reading thread.

    Attributes
    ----------
    read
        For each partition the offsets of the first and of the last delivered record, None before there is one, and the
        read position. Both are set at once, so that Faust's other thread never sees one without the other.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.read: dict[TopicPartition, tuple[tuple[int, int] | None, int]] = {}
        self._assigned: object = None

    @property
    def current(self) -> bool:
        """Whether what was read is of the partitions as they are assigned now."""
        return self._consumer is not None and self._consumer.assigned() is self._assigned

    def highwater(self, tp: TopicPartition) -> Any:
        """The end of what can be read now."""
        return self._ensure_consumer().end(tp)

    def _create_worker_consumer(self, transport: "Transport") -> Consumer:
        conf = self.app.conf
        consumer = Consumer(
            transport.config,
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            max_poll_records=conf.broker_max_poll_records,
            max_poll_interval_ms=int((conf.broker_max_poll_interval or 0) * 1000),
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            fetch_max_wait_ms=MAX_WAIT_MS,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            connections_max_idle_ms=conf.consumer_connections_max_idle_ms,
        )
        consumer.silence = SilenceDetector(transport.silent_s)
        consumer.on_reset = self._reset
        return consumer

    def _reset(self, partition: TopicPartition) -> None:
        self.read.pop(partition, None)

    async def _fetch_records(self, consumer: Consumer, *args: Any, **options: Any) -> Any:
        with or_leave("reading has ended"):  # the library and Faust would not notice
            consumer.check()
        records = await super()._fetch_records(consumer, *args, **options)
        assigned = consumer.assigned()
        if assigned is not self._assigned:
            self._assigned, self.read = assigned, {}
        for partition in consumer.assignment():
            if (at := consumer.at(partition)) is not None:
                delivered, _ = self.read.get(partition, (None, 0))
                if some := records.get(partition):
                    delivered = delivered[0] if delivered else some[0].offset, some[-1].offset
                self.read[partition] = delivered, at
        return records


class _EmptyMapping(dict[Any, Any]):
    """Stores nothing: the offsets that Faust remembers would make it drop records, and count missing ones."""

    def __getitem__(self, _: Any) -> None:
        return None

    def __setitem__(self, *_: Any) -> None:
        pass


class FaustConsumer(driver.Consumer):  # type: ignore[misc]
    """Faust's consumer, which commits the offsets up to which all is processed."""

    _thread: Thread

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._read_offset = _EmptyMapping()
        self._done: dict[TopicPartition, int] = {}

    @property
    def stopped(self) -> set[TopicPartition]:
        """Partitions that an unreadable batch has stopped."""
        consumer = self._thread._consumer
        return set() if consumer is None else set(consumer.stopped)

    def end(self, partition: TopicPartition) -> int | None:
        """A partition's end, open transactions included; None while it is not known."""
        consumer: Consumer = self._thread._ensure_consumer()
        return consumer.end(partition, committed=False)

    async def gone(self, partition: TopicPartition, offset: int) -> bool:
        """Whether a partition ends before an offset that was read once, because its topic was created again."""
        end = self.end(partition)
        if end is None or offset < end:
            return False
        try:
            ends = await self.highwaters(partition)
        except KafkaError:
            return False  # checked again with the next batch
        return offset >= int(ends[partition])

    def through(self, partition: TopicPartition) -> int | None:
        """The offset before which all is processed; None while it is not known."""
        found = self._thread.read.get(partition)
        if found is None or not self._thread.current:
            return None
        (delivered, at), done = found, self._done.get(partition)
        if delivered is None:
            return at
        first, last = delivered
        if done is None or done > at:
            return first
        return at if last < done else done

    def ack(self, message: Any) -> bool:
        """Called by Faust when a message, and so each message before it, is processed. What was delivered before the
        partitions were assigned anew says nothing of them now: others may have gone on."""
        with ack_lock:
            if message.acked:
                return False
            message.acked = True
            self._unacked_messages.discard(message)
            if message.generation_id == self.app.consumer_generation_id:
                self._done[message.tp] = message.offset + 1
            return True

    async def on_partitions_assigned(self, assigned: set[TopicPartition], generation_id: int = 0) -> None:
        """Called by Faust's thread, which has counted the generation by now. What was acknowledged until then is of the
        former one, and kept until then: a commit while partitions are revoked goes as far as the last one did."""
        self._done.clear()
        await super().on_partitions_assigned(assigned, generation_id)

    def _new_consumer_thread(self) -> Thread:
        return Thread(self, loop=self.loop, beacon=self.beacon)

    def _filter_committable_offsets(self, _: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        through = {partition: self.through(partition) for partition in self.assignment()}
        return {
            partition: offset
            for partition, offset in through.items()
            if offset is not None and offset != (self._committed_offset[partition] or 0)
        }


class Transport(driver.Transport):  # type: ignore[misc]
    """Faust's transport, with this project's consumer for reading.

    Parameters
    ----------
    silent_s
        A partition that holds more records but gives none for so long is reported as unreadable.
    """

    Consumer = FaustConsumer

    def __init__(self, config: StreamsConfig, app: Any, silent_s: float) -> None:
        super().__init__(app.conf.broker_consumer, app)
        self.config, self.silent_s = config, silent_s
