"""Items in, embeddings out: whichever worker owns a partition of ``shop.items`` encodes its items for all.

Of an item's records only the latest goes on, by their origins: what is older than what the topic holds is passed over.
An item whose text was encoded before, by the same encoder, keeps its vectors. While two encoders' catalogues are held,
as during a switch, an item is encoded for both. Once what ``process`` returns is done, the broker has every embedding
of the batch. Knows nothing of Faust or Redis.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

from cachetools import FIFOCache

from streams.catalog.catalog import Catalog
from streams.catalog.embedding import Embedding, Origin, encoder, key, text, text_hash
from streams.config import StreamsConfig
from streams.events.decode import Deleted, Refusal, decode_item, refuse
from streams.events.schema import Item
from streams.kafka.dead_letters import DeadLetterWriter
from streams.kafka.errors import KAFKA_ERRORS
from streams.kafka.record import Record, Send, Sent, Unsent
from streams.kafka.topics import Topics
from streams.telemetry.meter import Meter

log = logging.getLogger(__name__)

CHUNK = 8
"""Items encoded at a time, so that a waiting shopper waits some milliseconds, not a whole batch."""

SENT_KEPT = 100_000
"""Items whose latest record is remembered from when it is sent until it is read back."""


class ItemEncoder:
    """Encodes the items of one worker's partitions.

    Parameters
    ----------
    catalogues
        Tells the catalogues that are held now, the serving one first.
    encoders
        Tells all encoder versions that the embeddings topic may hold an item for: a delete goes to each.
    known
        Tells the latest that the embeddings topic holds of an item, whoever sent it.
    """

    def __init__(
        self,
        catalogues: Callable[[], Sequence[Catalog]],
        encoders: Callable[[], Iterable[str]],
        known: Callable[[str], Origin | None],
        send: Send,
        meter: Meter,
        config: StreamsConfig,
    ) -> None:
        self.catalogues, self.encoders, self.known = catalogues, encoders, known
        self.send, self.meter = send, meter
        self.topics, self.config = Topics(config.topics.prefix), config.events
        self._letters = DeadLetterWriter(send, config.topics)
        self._sent: FIFOCache[str, Origin] = FIFOCache(SENT_KEPT)
        self._told = False

    async def process(self, records: Sequence[Record]) -> Sent:
        """Take a batch of item records all the way to what it returns; refused ones become dead letters.

        A batch that breaks is taken record by record, and a record that breaks alone is dead-lettered. Each record is
        counted once, at the latest when what is returned is done: as ``items.accepted``, ``items.deleted``,
        ``items.superseded`` by a later one, or ``items.refused``.
        """
        try:
            return await self._process(records)
        except KAFKA_ERRORS:
            raise  # not the items' fault: nothing may be committed
        except Exception as error:
            if len(records) == 1:
                log.exception("an item broke the encoder and goes to the dead letters")
                self.meter.count("items.refused")
                return [self._letters(records[0], refuse("internal", f"{type(error).__name__}: {error}"))]
            log.exception("a batch of %d items broke: taking them one by one", len(records))
            return [sent for record in records for sent in await self.process([record])]

    async def _process(self, records: Sequence[Record]) -> Sent:
        refused: list[tuple[Record, Refusal]] = []
        latest: dict[str, tuple[Item | Deleted, Origin, Record]] = {}
        for record in records:
            decoded = decode_item(record.key, record.value, self.config)
            if isinstance(decoded, Refusal):
                refused.append((record, decoded))
                continue
            item_id = decoded.item_id
            known = latest[item_id][1] if item_id in latest else self._known(item_id)
            origin = Origin(record.partition, record.offset, record.timestamp_ms)
            self._compare(item_id, origin, known)
            if (later := origin.after(known)) is not None:
                latest[item_id] = decoded, later, record
        items = [(item, origin) for item, origin, _ in latest.values() if isinstance(item, Item)]
        made: dict[str, list[Awaitable[Unsent | None]]] = {item.item_id: [] for item, _ in items}
        for start in range(0, len(items), CHUNK):
            for catalogue in self.catalogues():
                some = items[start : start + CHUNK]
                for (item, _), sent in zip(some, self.publish(some, catalogue), strict=True):
                    made[item.item_id].append(sent)
                await asyncio.sleep(0)  # a waiting shopper goes first
        # Last, since a batch that breaks is taken again: each record is counted, and each letter goes out, once.
        deletes = [(item.item_id, origin) for item, origin, _ in latest.values() if isinstance(item, Deleted)]
        self._sent.update({item_id: origin for item_id, (_, origin, _) in latest.items()})
        self.meter.count("items.deleted", len(deletes))
        self.meter.count("items.refused", len(refused))
        self.meter.count("items.superseded", len(records) - len(latest) - len(refused))
        return [
            *(
                self.send(self.topics.embeddings, key(item_id, version), None, [origin.header()])
                for item_id, origin in deletes
                for version in self.encoders()
            ),
            *(asyncio.ensure_future(self._or_letter(latest[item_id][2], sent)) for item_id, sent in made.items()),
            *(self._letters(record, refusal) for record, refusal in refused),
        ]

    async def _or_letter(self, record: Record, made: Sequence[Awaitable[Unsent | None]]) -> None:
        """Wait until the broker has what was made of an item; what it never takes makes a dead letter."""
        unsent = next((found for found in await asyncio.gather(*made) if found is not None), None)
        self.meter.count("items.accepted" if unsent is None else "items.refused")
        if unsent is not None:
            await self._letters(record, refuse("oversized", f"what is made of the item does not fit: {unsent.detail}"))

    def _known(self, item_id: str) -> Origin | None:
        """The latest that was sent or is on the topic of an item."""
        sent, held = self._sent.get(item_id), self.known(item_id)
        return held if sent is None or (held is not None and sent.before(held)) else sent

    def _compare(self, item_id: str, origin: Origin, known: Origin | None) -> None:
        """Tell of an item that comes in two partitions: once, and count it always."""
        if known is None or known.partition == origin.partition:
            return
        self.meter.count("items.in_two_partitions")
        if not self._told:
            self._told = True
            log.warning(
                "item %r came in partition %d of %s, and before in %d: its producers hash keys differently, or the "
                "topic's partitions became more; of its records the one with the latest timestamp counts",
                item_id,
                origin.partition,
                self.topics.items,
                known.partition,
            )

    def publish(self, items: Sequence[tuple[Item, Origin]], catalogue: Catalog) -> list[Awaitable[Unsent | None]]:
        """Send what a catalogue's encoder makes of a few items."""
        values = self._values([item for item, _ in items], catalogue)
        return [
            self.send(self.topics.embeddings, key(item.item_id, catalogue.encoder.version), value, [origin.header()])
            for (item, origin), value in zip(items, values, strict=True)
        ]

    def _values(self, items: Sequence[Item], catalogue: Catalog) -> list[bytes]:
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
