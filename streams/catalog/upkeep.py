"""What keeps one catalogue as the embeddings topic has it, and the topic as the catalogue's encoder needs it.

Follower, backfill and sweeper, run together and ended together.
"""

import asyncio
from collections.abc import Callable, Set

from streams.catalog.backfill import Backfill
from streams.catalog.catalog import Catalogue
from streams.catalog.item_encoder import ItemEncoder
from streams.catalog.replication import Follower
from streams.catalog.tombstones import Sweeper
from streams.catalog.topic_index import Ledger
from streams.kafka.consumer import Consumer
from streams.telemetry.tasks import lasting

LOOK_EVERY_S = 0.05


class Upkeep:
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
        catalogue: Catalogue,
        open_consumer: Callable[[], Consumer],
        item_encoder: ItemEncoder,
        owned: Callable[[], Set[int]],
        beside: bool = False,
    ) -> None:
        meter = item_encoder.meter
        self.follower = Follower(open_consumer(), catalogue, meter, beside)
        self.backfill = Backfill(open_consumer, self.follower, item_encoder, owned)
        self.sweeper = Sweeper(self.ledger, item_encoder.send, meter, item_encoder.topics, owned)

    @property
    def ledger(self) -> Ledger:
        """What the topic holds."""
        return self.follower.ledger

    async def run(self) -> None:
        """Keep it up until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(lasting(self.follower.run(), "following the items"))
            group.create_task(lasting(self.backfill.run(), "filling in items"))
            group.create_task(lasting(self.sweeper.run(), "sweeping the embeddings"))

    async def complete(self) -> None:
        """Wait until the catalogue holds every live item in its newest state, as far as the topic was read."""
        await self.follower.ready.wait()
        while not self.ledger.complete:
            await asyncio.sleep(LOOK_EVERY_S)
