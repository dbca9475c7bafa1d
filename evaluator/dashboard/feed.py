"""Reads what the page shows from Kafka, in no group and without commits, and goes on when the broker comes back.

Snapshots from an hour back; alerts from a day back, for one that lasts is told again only every few hours; items and
slots from their beginning.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from evaluator.alerts import alert
from evaluator.dashboard.history import History
from streams import meter
from streams.clock import wall_ms
from streams.config import StreamsConfig
from streams.consumer import Consumer
from streams.topics import Topics

log = logging.getLogger(__name__)

METRICS_BACK_MS = 3_600_000
ALERTS_BACK_MS = 24 * 3_600_000
CHUNK = 200
POLL_MS = 500
AGAIN_S = 2.0

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, DecodeError, ValueError)


class Feed:
    """Puts what the topics tell into a history.

    Parameters
    ----------
    config
        Where Kafka is, and how topics are called.
    history
        Is told everything, and of what keeps it from being told.
    """

    def __init__(self, config: StreamsConfig, history: History) -> None:
        self.config, self.history = config, history
        self.topics = Topics(config.topics.prefix)
        self._next: dict[TopicPartition, int] = {}
        self._unreadable = 0

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            try:
                await self._follow()
            except UnknownTopicOrPartitionError:
                self._wait("The topics are not there yet: start a worker, or liveshelf topics create")
            except (KafkaError, OSError) as error:
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
                await asyncio.sleep(0)
        finally:
            await consumer.stop()

    async def _seek(self, consumer: Consumer) -> None:
        """Go on where the last connection ended, else begin as far back as the topic is wanted."""
        now = wall_ms()
        back = {self.topics.metrics: METRICS_BACK_MS, self.topics.alerts: ALERTS_BACK_MS}
        fresh = {one: now - back[one.topic] for one in consumer.assignment() if one.topic in back}
        starts: Mapping[TopicPartition, Any] = await consumer.offsets_for_times(fresh)
        ends = await consumer.end_offsets(list(fresh))
        for partition, start in starts.items():
            consumer.seek(partition, start.offset if start is not None else ends[partition])
        for partition, offset in self._next.items():
            if partition in consumer.assignment():
                consumer.seek(partition, offset)

    def _take(self, topic: str, records: Sequence[Any]) -> None:
        history, topics, now = self.history, self.topics, wall_ms()
        for record in records:
            try:
                if topic == topics.items:
                    history.titles.update(record.key, record.value)
                elif topic == topics.models:
                    history.slots.update(record.key, record.value)
                elif topic == topics.metrics:
                    history.update(meter.decoder.decode(record.value or b""), now)
                else:
                    history.alert(alert.decoder.decode(record.value or b""), record.timestamp)
            except UNREADABLE as error:
                self._unreadable += 1
                if self._unreadable == 1:
                    log.warning("%s@%d is passed over, as others like it will be: %s", topic, record.offset, error)
