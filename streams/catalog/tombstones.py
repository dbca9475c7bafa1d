"""Deletes from the embeddings topic what must not stay: records older than their item's delete, and old encoders'.

Each worker sweeps up after the items whose partition of ``shop.items`` it owns.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Set

from streams.catalog.embedding import key
from streams.catalog.topic_index import Ledger
from streams.kafka.record import Send
from streams.kafka.topics import Topics
from streams.telemetry.meter import Meter

EVERY_S = 1.0
CHUNK = 100


class Sweeper:
    """Sweeps by one ledger.

    Parameters
    ----------
    owned
        Tells the partitions of ``shop.items`` that are this worker's now.
    """

    def __init__(self, ledger: Ledger, send: Send, meter: Meter, topics: Topics, owned: Callable[[], Set[int]]) -> None:
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
        for start in range(0, len(waiting), CHUNK):
            sent = []
            for item_id, encoder in waiting[start : start + CHUNK]:
                deleted = self.ledger.deleted(item_id)
                headers = [deleted.header()] if deleted is not None else []
                sent.append(self.send(self.topics.embeddings, key(item_id, encoder), None, headers))
            await asyncio.gather(*sent)
            self.meter.count("items.swept", len(sent))
