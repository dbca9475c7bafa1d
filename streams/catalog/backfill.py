"""Fills the embeddings topic with what an encoder lacks: items that only other encoders' records hold.

The topic itself has each item whole, text and all, so nobody has to send it again. Each worker fills in the items whose
partition of ``shop.items`` it owns, so an item is encoded once for all workers; what is on the topic already, whoever
put it there and before whatever restart, is not encoded again. Shoppers go first: it takes half of what they leave.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence, Set
from typing import Any

from streams.catalog.embedding import Origin, parse
from streams.catalog.item_encoder import CHUNK, ItemEncoder
from streams.catalog.replication import Follower
from streams.catalog.rest import rest
from streams.events.decode import Refusal
from streams.events.schema import Item
from streams.kafka.consumer import Consumer
from streams.kafka.guard import parsed

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
        self._tries: OrderedDict[tuple[str, Origin], int] = OrderedDict()

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
                await rest(spent)
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
        if len(self._tries) > TRIED_KEPT:
            self._tries.popitem(last=False)
        return True
