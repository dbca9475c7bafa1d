"""Catalog maintenance: encodes items that are missing on the embeddings topic and deletes records that must not stay.

The topic holds each item with its full text, so the shop need not send it again. Each worker fills in the items whose
partition of ``shop.items`` it owns, so an item is encoded once for all workers. What is on the topic already, from any
worker or an earlier run, is not encoded again. Serving shoppers has priority: this takes half of the remaining time.
Knows nothing of who is served with the catalogue.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence, Set
from typing import Any

from cachetools import FIFOCache

from streams.catalog.catalog import Catalog
from streams.catalog.embedding import Origin, key, parse
from streams.catalog.item_encoder import CHUNK, ItemEncoder
from streams.catalog.replication import Follower, yield_cpu
from streams.catalog.snapshot import Snapshots
from streams.catalog.topic_index import TopicIndex
from streams.config import CatalogueConfig
from streams.events.decode import Refusal
from streams.events.schema import Item
from streams.kafka.consumer import Consumer
from streams.kafka.guard import parsed
from streams.kafka.record import Send
from streams.kafka.topics import Topics
from streams.runtime.tasks import Backoff, run_forever
from streams.telemetry.meter import Meter

log = logging.getLogger(__name__)
PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
IDLE_POLLS = 2

MOST_TRIES, TRIED_KEPT = 3, 100_000
"""How often a state of an item is encoded at most. If the result cannot be used, another attempt does not help."""


class Backfill:
    """Encodes for one follower's catalogue the items that its topic index lacks.

    Parameters
    ----------
    open_consumer
        Makes another consumer of the embeddings topic, from its earliest record.
    owned
        Returns the partitions of ``shop.items`` that this worker owns now.
    """

    def __init__(
        self,
        open_consumer: Callable[[], Consumer],
        follower: Follower,
        item_encoder: ItemEncoder,
        owned: Callable[[], Set[int]],
    ) -> None:
        self.open_consumer, self.owned = open_consumer, owned
        self.follower, self.item_encoder = follower, item_encoder
        self._tries: FIFOCache[tuple[str, Origin], int] = FIFOCache(TRIED_KEPT)

    async def run(self) -> None:
        """Fill in missing items, until cancelled."""
        await self.follower.ready.wait()
        pauses = Backoff(LONGEST_PAUSE_S, chance=lambda: 1.0, first_s=PAUSE_S)
        while True:
            if not self.follower.topic_index.lacks(self.owned()) or await self._pass():
                pauses.reset()  # a missing item may not be on the topic any more: else search less and less often
            await asyncio.sleep(pauses.next())

    async def _pass(self) -> int:
        """Read the topic from its beginning until nothing is missing or it ends; returns how many items were sent."""
        filled = idle = 0
        consumer = self.open_consumer()
        await consumer.start()
        try:
            while idle < IDLE_POLLS and self.follower.topic_index.lacks(self.owned()):
                fetched = await consumer.getmany(timeout_ms=250, max_records=CHUNK)
                idle = 0 if fetched else idle + 1
                for messages in fetched.values():
                    await self.follower.passed(messages[-1])
                items = [found for messages in fetched.values() for found in self._wanted(messages)]
                began = time.perf_counter()
                sent = self.item_encoder.publish(items, self.follower.catalogue) if items else []
                spent = time.perf_counter() - began
                await asyncio.gather(*sent)
                filled += len(sent)
                await yield_cpu(spent)
        finally:
            await consumer.stop()
        return filled

    def _wanted(self, messages: Sequence[Any]) -> list[tuple[Item, Origin]]:
        found, owned = [], self.owned()
        for message in messages:
            entry = parsed(parse, message, 0)
            if isinstance(entry, Refusal):  # the follower logs it
                continue
            (item_id, _, origin), embedding = entry
            if embedding is None or origin is None or origin.partition not in owned:
                continue
            if self.follower.topic_index.wants(item_id, origin) and self._may_try(item_id, origin):
                found.append((embedding.item, origin))
        return found

    def _may_try(self, item_id: str, origin: Origin) -> bool:
        tries = self._tries.get((item_id, origin), 0)
        if tries == MOST_TRIES:
            return False
        self._tries[item_id, origin] = tries + 1
        if tries + 1 == MOST_TRIES:
            log.error("%r was encoded %d times for this encoder, and is still missing: giving up", item_id, MOST_TRIES)
        return True


EVERY_S = 1.0
DELETES_SENT = 100


class TombstoneWriter:
    """Deletes outdated records from the embeddings topic, as one topic index lists them.

    Parameters
    ----------
    owned
        Returns the partitions of ``shop.items`` that this worker owns now.
    """

    def __init__(
        self, topic_index: TopicIndex, send: Send, meter: Meter, topics: Topics, owned: Callable[[], Set[int]]
    ) -> None:
        self.topic_index, self.send, self.meter = topic_index, send, meter
        self.topics, self.owned = topics, owned

    async def run(self) -> None:
        """Delete records that are outdated in two checks in a row: after one, their own delete may still arrive."""
        before: set[tuple[str, str]] = set()
        while True:
            await asyncio.sleep(EVERY_S)
            outdated = self.topic_index.to_delete(self.owned())
            await self._delete(outdated & before)
            before = outdated

    async def retire(self, keep: Collection[str]) -> None:
        """Delete the records of all encoders but those to keep. Other workers delete what they own."""
        await self._delete(self.topic_index.to_retire(keep, self.owned()))

    async def _delete(self, records: Iterable[tuple[str, str]]) -> None:
        waiting = list(records)
        for start in range(0, len(waiting), DELETES_SENT):
            sent = []
            for item_id, encoder in waiting[start : start + DELETES_SENT]:
                deleted = self.topic_index.deleted(item_id)
                headers = [deleted.header()] if deleted is not None else []
                sent.append(self.send(self.topics.embeddings, key(item_id, encoder), None, headers))
            await asyncio.gather(*sent)
            self.meter.count("items.swept", len(sent))


LOOK_EVERY_S = 0.05


class CatalogMaintenance:
    """Keeps one catalogue up to date: follower, backfill and tombstone writer.

    Parameters
    ----------
    open_consumer
        Makes a consumer of the embeddings topic, from its earliest record.
    owned
        Returns the partitions of ``shop.items`` that this worker owns now.
    background
        Whether another catalogue serves meanwhile.
    """

    def __init__(
        self,
        catalogue: Catalog,
        open_consumer: Callable[[], Consumer],
        item_encoder: ItemEncoder,
        owned: Callable[[], Set[int]],
        background: bool = False,
        snapshots: Snapshots | None = None,
        config: CatalogueConfig | None = None,
    ) -> None:
        meter = item_encoder.meter
        self.follower = Follower(open_consumer(), catalogue, meter, background, snapshots, config)
        self.backfill = Backfill(open_consumer, self.follower, item_encoder, owned)
        self.tombstones = TombstoneWriter(self.topic_index, item_encoder.send, meter, item_encoder.topics, owned)

    @property
    def topic_index(self) -> TopicIndex:
        """The index of what the topic holds."""
        return self.follower.topic_index

    async def run(self) -> None:
        """Run all three until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(run_forever(self.follower.run(), "following the items"))
            group.create_task(run_forever(self.backfill.run(), "filling in items"))
            group.create_task(run_forever(self.tombstones.run(), "deleting outdated embeddings"))

    async def complete(self) -> None:
        """Wait until the catalogue holds the newest state of every live item that was read from the topic."""
        await self.follower.ready.wait()
        while not self.topic_index.complete:
            await asyncio.sleep(LOOK_EVERY_S)
