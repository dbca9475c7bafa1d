"""Items in, embeddings out: whichever worker owns a partition of ``shop.items`` encodes its items for all.

An item whose text was encoded before, by the same encoder, keeps its vectors. Once what ``process`` returns is done,
the broker has every embedding of the batch. Knows nothing of Faust or Redis.
"""

import asyncio
from collections.abc import Awaitable, Sequence

from streams import dead_letters
from streams.catalogue import Catalogue
from streams.config import EventsConfig
from streams.decode import Deleted, Refusal, decode_item
from streams.embedding import Embedding, Origin, encoder, text, text_hash
from streams.events import Item
from streams.meter import Meter
from streams.record import Record, Send, Sent
from streams.topics import Topics

CHUNK = 8
"""Items encoded at a time, so that a waiting shopper waits some milliseconds, not a whole batch."""


class ItemEncoder:
    """Encodes the items of one worker's partitions."""

    def __init__(self, catalogue: Catalogue, send: Send, meter: Meter, topics: Topics, config: EventsConfig) -> None:
        self.catalogue, self.send, self.meter = catalogue, send, meter
        self.topics, self.config = topics, config

    async def process(self, records: Sequence[Record]) -> Sent:
        """Take a batch of item records all the way to what it returns; refused ones become dead letters."""
        sent: Sent = []
        items: list[tuple[Record, Item]] = []
        for record in records:
            decoded = decode_item(record.key, record.value, self.config)
            if isinstance(decoded, Refusal):
                letter = dead_letters.headers(record, decoded)
                sent.append(self.send(self.topics.dead_letters, dead_letters.key(record), record.value, letter))
                self.meter.count("items.refused")
            elif isinstance(decoded, Deleted):
                sent.append(self._publish(record, decoded.item_id, None))
                self.meter.count("items.deleted")
            else:
                items.append((record, decoded))
        for start in range(0, len(items), CHUNK):
            chunk = items[start : start + CHUNK]
            vectors = self._vectors([item for _, item in chunk])
            for (record, item), value in zip(chunk, vectors, strict=True):
                sent.append(self._publish(record, item.item_id, value))
            await asyncio.sleep(0)  # a waiting shopper goes first
        return sent

    def _publish(self, record: Record, item_id: str, value: bytes | None) -> Awaitable[None]:
        header = Origin(record.partition, record.offset).header()
        return self.send(self.topics.embeddings, item_id.encode("utf-8", "replace"), value, [header])

    def _vectors(self, items: Sequence[Item]) -> list[bytes]:
        texts = [text(item) for item in items]
        hashes = [text_hash(item_text) for item_text in texts]
        vectors = [self.catalogue.encoded(item.item_id, hashed) for item, hashed in zip(items, hashes, strict=True)]
        new = [i for i, known in enumerate(vectors) if known is None]
        for i, encoded in zip(new, self.catalogue.encoder.encode_items([texts[i] for i in new]), strict=True):
            vectors[i] = encoded
        self.meter.count("items.encoded", len(new))
        self.meter.count("items.reused", len(items) - len(new))
        return [
            encoder.encode(Embedding(item, self.catalogue.encoder.version, hashed, encoded.to_bytes()))
            for item, hashed, encoded in zip(items, hashes, vectors, strict=True)
            if encoded is not None
        ]
