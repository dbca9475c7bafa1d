"""Reads ``liveshelf.metrics`` for the watch over the system itself, from as far back as a restart counts.

So an evaluator that was started again knows at once what it knew before, and tells nothing until it does. What is
watched, and what is wrong, is `evaluator.monitoring.alerts.system`'s business.
"""

import asyncio

from evaluator.monitoring.alerts.alert import Alert
from evaluator.monitoring.alerts.restarts import WINDOW_S
from evaluator.monitoring.alerts.system import SystemMonitor
from streams.clock import wall_ms
from streams.config import StreamsConfig
from streams.kafka.consumer import Consumer
from streams.kafka.guard import Guard
from streams.kafka.topics import Topics
from streams.telemetry.meter import parse

READ_MS, CHUNK = 500, 200


class SnapshotReader:
    """The watch, fed from Kafka; several evaluators see the same and tell the same."""

    def __init__(self, config: StreamsConfig) -> None:
        self.config = config
        self.watch = SystemMonitor()
        self._guard = Guard("snapshots", parse)
        self._known = False

    async def run(self) -> None:
        """Follow the snapshots, until Kafka breaks it off."""
        consumer = Consumer(self.config, Topics(self.config.topics.prefix).metrics)
        try:
            await consumer.start()
            partitions = list(consumer.assignment())
            ends = await consumer.end_offsets(partitions)
            since = wall_ms() - int(WINDOW_S * 1000)
            for partition, start in (await consumer.offsets_for_times(dict.fromkeys(partitions, since))).items():
                consumer.seek(partition, ends[partition] if start is None else start.offset)
            while True:
                self._known = self._known or consumer.passed(ends)
                for messages in (await consumer.getmany(timeout_ms=READ_MS, max_records=CHUNK)).values():
                    for _, snapshot in self._guard.values(messages):
                        self.watch.update(snapshot, wall_ms())
                await asyncio.sleep(0)
        finally:
            await consumer.stop()

    def tell(self) -> list[Alert]:
        """Alerts that are to be told now; none before all is known."""
        return self.watch.tell(wall_ms()) if self._known else []
