"""Follows ``liveshelf.embeddings`` from its beginning, so that this worker holds the whole encoded catalogue.

Every worker reads all partitions, in no group and without commits. Ready once it has read what was there when it
started. Knows what a change is; what taking one means is the catalogue's business.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.catalogue import Catalogue, Change
from streams.embedding import decoder, origin
from streams.meter import Meter

log = logging.getLogger(__name__)

CHUNK = 32
"""Changes taken at a time once shoppers are served; catching up takes larger ones."""
CATCH_UP_CHUNK = 500
COMMIT_EVERY_S = 0.25


class Follower:
    """Keeps a catalogue up to date.

    Parameters
    ----------
    consumer
        Reads the embeddings topic, in no group, from the earliest record.

    Attributes
    ----------
    ready
        Set once the catalogue holds all that the topic held at the start.
    """

    def __init__(self, consumer: AIOKafkaConsumer, catalogue: Catalogue, meter: Meter) -> None:
        self.consumer = consumer
        self.catalogue, self.meter = catalogue, meter
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Read until cancelled."""
        await self.consumer.start()
        try:
            ends = await self.consumer.end_offsets(self.consumer.assignment())
            while True:
                if not self.ready.is_set() and await self._caught_up(ends):
                    self.catalogue.commit()
                    log.info("catalogue ready: %d items", len(self.catalogue))
                    self.ready.set()
                chunk = CHUNK if self.ready.is_set() else CATCH_UP_CHUNK
                fetched = await self.consumer.getmany(timeout_ms=int(COMMIT_EVERY_S * 1000), max_records=chunk)
                changes = [change for messages in fetched.values() for change in self._changes(messages)]
                if changes:
                    self.catalogue.apply(changes)
                    self.meter.count("items.changed", len(changes))
                elif self.ready.is_set():
                    self.catalogue.commit()
        finally:
            await self.consumer.stop()

    async def _caught_up(self, ends: dict[TopicPartition, int]) -> bool:
        return all([await self.consumer.position(partition) >= end for partition, end in ends.items()])

    def _changes(self, messages: Sequence[Any]) -> list[Change]:
        changes = []
        for message in messages:
            try:
                embedding = None if message.value is None else decoder.decode(message.value)
            except msgspec.MsgspecError as error:
                log.error("%s[%d]@%d is no embedding: %s", message.topic, message.partition, message.offset, error)
                continue
            item_id = message.key.decode("utf-8", "replace")
            changes.append(Change(item_id, embedding, origin(message.headers)))
        return changes
