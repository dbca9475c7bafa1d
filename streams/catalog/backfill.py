"""Keeps the embeddings topic as a catalogue's encoder needs it: writes what is lacking, deletes what must not stay.

The topic itself has each item whole, text and all, so nobody has to send it again. Each worker fills in the items whose
partition of ``shop.items`` it owns, so an item is encoded once for all workers; what is on the topic already, whoever
put it there and before whatever restart, is not encoded again. Shoppers go first: it takes half of what they leave.
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
from streams.catalog.topic_index import TopicIndex
from streams.events.decode import Refusal
from streams.events.schema import Item
from streams.kafka.consumer import Consumer
from streams.kafka.guard import parsed
from streams.kafka.record import Send
from streams.kafka.topics import Topics
from streams.runtime.tasks import run_forever
from streams.telemetry.meter import Meter

log = logging.getLogger(__name__)
PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
IDLE_POLLS = 2

MOST_TRIES, TRIED_KEPT = 3, 100_000
"""A state of an item is encoded so often at most: where what comes of it cannot be used, no further try helps."""


class Backfill:
    """Encodes for one follower's catalogue what its ledger says is lacking.

    Parameters
    ----------
    open_consumer
        Makes another consumer of the embeddings topic, from its earliest record.
    owned
        Tells the partitions of ``shop.items`` that are this worker's now.
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
        """Fill in whatever comes to be lacking, until cancelled."""
        await self.follower.ready.wait()
        pause = PAUSE_S
        while True:
            if self.follower.ledger.lacks(self.owned()):
                # What is lacking may be nowhere to be found any more: then do not look for it all the time.
                pause = PAUSE_S if await self._pass() else min(2 * pause, LONGEST_PAUSE_S)
            await asyncio.sleep(pause)

    async def _pass(self) -> int:
        """Read the topic from its beginning until nothing is lacking or it ends; returns how many items were sent."""
        filled = idle = 0
        consumer = self.open_consumer()
        await consumer.start()
        try:
            while idle < IDLE_POLLS and self.follower.ledger.lacks(self.owned()):
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
            if isinstance(entry, Refusal):  # the follower tells of it
                continue
            (item_id, _, made_from), made = entry
            if made is None or made_from is None or made_from.partition not in owned:
                continue
            if self.follower.ledger.wants(item_id, made_from) and self._may_try(item_id, made_from):
                found.append((made.item, made_from))
        return found

    def _may_try(self, item_id: str, made_from: Origin) -> bool:
        tries = self._tries.get((item_id, made_from), 0)
        if tries == MOST_TRIES:
            return False
        self._tries[item_id, made_from] = tries + 1
        if tries + 1 == MOST_TRIES:
            log.error(
                "%r was encoded %d times for this encoder, and is lacking still: no more is tried", item_id, MOST_TRIES
            )
        return True


EVERY_S = 1.0
DELETES_SENT = 100


class TombstoneWriter:
    """Sweeps by one ledger.

    Parameters
    ----------
    owned
        Tells the partitions of ``shop.items`` that are this worker's now.
    """

    def __init__(
        self, ledger: TopicIndex, send: Send, meter: Meter, topics: Topics, owned: Callable[[], Set[int]]
    ) -> None:
        self.ledger, self.send, self.meter = ledger, send, meter
        self.topics, self.owned = topics, owned

    async def run(self) -> None:
        """Delete outdated records once they are seen twice: a moment later their own delete may have come anyway."""
        before: set[tuple[str, str]] = set()
        while True:
            await asyncio.sleep(EVERY_S)
            outdated = self.ledger.to_delete(self.owned())
            await self._sweep(outdated & before)
            before = outdated

    async def retire(self, keep: Collection[str]) -> None:
        """Delete what all encoders but those to keep have made; what other workers own is theirs to delete."""
        await self._sweep(self.ledger.to_retire(keep, self.owned()))

    async def _sweep(self, records: Iterable[tuple[str, str]]) -> None:
        waiting = list(records)
        for start in range(0, len(waiting), DELETES_SENT):
            sent = []
            for item_id, encoder in waiting[start : start + DELETES_SENT]:
                deleted = self.ledger.deleted(item_id)
                headers = [deleted.header()] if deleted is not None else []
                sent.append(self.send(self.topics.embeddings, key(item_id, encoder), None, headers))
            await asyncio.gather(*sent)
            self.meter.count("items.swept", len(sent))


LOOK_EVERY_S = 0.05


class CatalogMaintenance:
    """Of one catalogue.

    Parameters
    ----------
    open_consumer
        Makes a consumer of the embeddings topic, from its earliest record.
    owned
        Tells the partitions of ``shop.items`` that are this worker's now.
    beside
        Whether another catalogue serves meanwhile.
    """

    def __init__(
        self,
        catalogue: Catalog,
        open_consumer: Callable[[], Consumer],
        item_encoder: ItemEncoder,
        owned: Callable[[], Set[int]],
        beside: bool = False,
    ) -> None:
        meter = item_encoder.meter
        self.follower = Follower(open_consumer(), catalogue, meter, beside)
        self.backfill = Backfill(open_consumer, self.follower, item_encoder, owned)
        self.sweeper = TombstoneWriter(self.ledger, item_encoder.send, meter, item_encoder.topics, owned)

    @property
    def ledger(self) -> TopicIndex:
        """What the topic holds."""
        return self.follower.ledger

    async def run(self) -> None:
        """Keep it up until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(run_forever(self.follower.run(), "following the items"))
            group.create_task(run_forever(self.backfill.run(), "filling in items"))
            group.create_task(run_forever(self.sweeper.run(), "sweeping the embeddings"))

    async def complete(self) -> None:
        """Wait until the catalogue holds every live item in its newest state, as far as the topic was read."""
        await self.follower.ready.wait()
        while not self.ledger.complete:
            await asyncio.sleep(LOOK_EVERY_S)
