"""Shelf records on their way to Redis, where closing impressions looks them up.

A consumer of its own, in a group of its own: through the events' one, events that wait for their shelves would block
these very shelves. What is read twice is written twice, to no harm, so offsets are committed after Redis has a batch.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from evaluator.config import EvaluatorConfig
from streams.clock import wall_ms
from streams.config import StreamsConfig
from streams.consumer import Consumer
from streams.guard import Guard
from streams.meter import Meter
from streams.shelf import ShelfRecord, parse
from streams.topics import Topics

READ_MS = 1_000
SLACK_MS = 5_000
"""How much later than it was made a shelf may be on its topic."""

Remember = Callable[[Sequence[ShelfRecord], Mapping[int, int], int], Awaitable[None]]
"""Takes records, up to when (epoch ms) those of each partition are known with them, and how many partitions there are;
0 while the topic is not there."""


class Shelves:
    """Reads shelf records.

    Parameters
    ----------
    remember
        Called with each batch, at least once a second; when it returns, Redis has them.
    meter
        Counts what is no shelf record.
    """

    def __init__(self, streams: StreamsConfig, config: EvaluatorConfig, remember: Remember, meter: Meter) -> None:
        self.streams, self.config, self.remember = streams, config, remember
        self.topic = Topics(streams.topics.prefix).shelves
        self._guard = Guard("shelves", parse, meter)

    async def run(self) -> None:
        """Read until Kafka breaks it off."""
        consumer = self._consumer()
        try:
            await consumer.start()
            while True:
                await self._batch(consumer)
        finally:
            await consumer.stop()

    async def _batch(self, consumer: Consumer) -> None:
        fetched: Mapping[Any, Sequence[Any]] = await consumer.getmany(
            timeout_ms=READ_MS, max_records=self.config.batch_events
        )
        now, records, reached = wall_ms(), list[ShelfRecord](), dict[int, int]()
        for partition, messages in fetched.items():
            made = [record for _, record in self._guard.values(messages)]
            if made:  # a shelf that claims to be from later than now says nothing of how far the topic was read
                reached[partition.partition] = min(now, max(record.shelf.made_at for record in made))
            records += made
        for partition in consumer.assignment():
            end = consumer.end(partition)
            if end is not None and consumer.passed({partition: end}):
                reached[partition.partition] = now - SLACK_MS
        every = consumer.partitions_for_topic(self.topic) or ()
        await self.remember(records, reached, len(every))
        if fetched:
            await consumer.commit()

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
