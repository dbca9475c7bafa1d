"""Items in, embeddings out: whichever worker owns a partition of ``shop.items`` encodes its items for all.

An item whose text was encoded before, by the same encoder, keeps its vectors. While two encoders' catalogues are held,
as during a switch, an item is encoded for both. Once what ``process`` returns is done, the broker has every embedding
of the batch. Knows nothing of Faust or Redis.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from streams.catalogue import Catalogue
from streams.config import StreamsConfig
from streams.dead_letters import Letters
from streams.decode import Deleted, Refusal, decode_item, refuse
from streams.embedding import Embedding, Origin, encoder, key, text, text_hash
from streams.events import Item
from streams.meter import Meter
from streams.record import Record, Send, Sent, Unsent
from streams.topics import Topics

CHUNK = 8
"""Items encoded at a time, so that a waiting shopper waits some milliseconds, not a whole batch."""


class ItemEncoder:
    """Encodes the items of one worker's partitions.

    Parameters
    ----------
    catalogues
        Tells the catalogues that are held now, the serving one first.
    encoders
        Tells all encoder versions that the embeddings topic may hold an item for: a delete goes to each.
    """

    def __init__(
        self,
        catalogues: Callable[[], Sequence[Catalogue]],
        encoders: Callable[[], Iterable[str]],
        send: Send,
        meter: Meter,
        config: StreamsConfig,
    ) -> None:
        self.catalogues, self.encoders = catalogues, encoders
        self.send, self.meter = send, meter
        self.topics, self.config = Topics(config.topics.prefix), config.events
        self._letters = Letters(send, config.topics)

    async def process(self, records: Sequence[Record]) -> Sent:
        """Take a batch of item records all the way to what it returns; refused ones become dead letters."""
        sent: Sent = []
        latest: dict[str, tuple[Item, Origin]] = {}
        records_of: dict[Origin, Record] = {}
        for record in records:
            decoded = decode_item(record.key, record.value, self.config)
            origin = Origin(record.partition, record.offset)
            if isinstance(decoded, Refusal):
                sent.append(self._letters(record, decoded))
                self.meter.count("items.refused")
            elif isinstance(decoded, Deleted):
                latest.pop(decoded.item_id, None)
                sent += [
                    self.send(self.topics.embeddings, key(decoded.item_id, version), None, [origin.header()])
                    for version in self.encoders()
                ]
                self.meter.count("items.deleted")
            else:
                latest[decoded.item_id] = decoded, origin
                records_of[origin] = record
        items = list(latest.values())
        for start in range(0, len(items), CHUNK):
            for catalogue in self.catalogues():
                some = items[start : start + CHUNK]
                sent += [
                    asyncio.ensure_future(self._or_letter(records_of[origin], encoded))
                    for (_, origin), encoded in zip(some, self.publish(some, catalogue), strict=True)
                ]
                await asyncio.sleep(0)  # a waiting shopper goes first
        return sent

    async def _or_letter(self, record: Record, encoded: Awaitable[Unsent | None]) -> None:
        if (unsent := await encoded) is not None:
            self.meter.count("items.refused")
            await self._letters(record, refuse("oversized", f"what is made of the item does not fit: {unsent.detail}"))

    def publish(self, items: Sequence[tuple[Item, Origin]], catalogue: Catalogue) -> list[Awaitable[Unsent | None]]:
        """Send what a catalogue's encoder makes of a few items."""
        values = self._values([item for item, _ in items], catalogue)
        return [
            self.send(self.topics.embeddings, key(item.item_id, catalogue.encoder.version), value, [origin.header()])
            for (item, origin), value in zip(items, values, strict=True)
        ]

    def _values(self, items: Sequence[Item], catalogue: Catalogue) -> list[bytes]:
        texts = [text(item) for item in items]
        hashes = [text_hash(item_text) for item_text in texts]
        vectors = [catalogue.encoded(item.item_id, hashed) for item, hashed in zip(items, hashes, strict=True)]
        new = [i for i, known in enumerate(vectors) if known is None]
        for i, encoded in zip(new, catalogue.encoder.encode_items([texts[i] for i in new]), strict=True):
            vectors[i] = encoded
        self.meter.count("items.encoded", len(new))
        self.meter.count("items.reused", len(items) - len(new))
        return [
            encoder.encode(Embedding(item, catalogue.encoder.version, hashed, encoded.to_bytes()))
            for item, hashed, encoded in zip(items, hashes, vectors, strict=True)
            if encoded is not None
        ]
