"""Items in, embeddings out: the worker that owns a partition of ``shop.items`` encodes its items for all workers.

Of an item's records only the latest by origin is encoded: what is older than the topic's state is skipped. An item
keeps its vectors if the same encoder encoded the same text before. While two encoders' catalogues are loaded, as during
a switch, an item is encoded for both. When the awaitables that ``process`` returns are done, the broker has every
embedding of the batch. Knows nothing of Faust or Redis.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

from cachetools import FIFOCache

from streams.catalog.catalog import Catalog
from streams.catalog.embedding import Embedding, Origin, encoder, key, text, text_hash
from streams.config import StreamsConfig
from streams.events.cleaning import Notes
from streams.events.decode import Deleted, Refusal, decode_item, refuse
from streams.events.schema import Item
from streams.kafka.dead_letters import DeadLetterWriter
from streams.kafka.errors import KAFKA_ERRORS
from streams.kafka.record import Record, Send, Sent, Unsent
from streams.kafka.topics import Topics
from streams.telemetry.meter import Meter

log = logging.getLogger(__name__)

CHUNK = 8
"""Items encoded at a time, so that a shopper waits some milliseconds, not a whole batch."""

SENT_KEPT = 100_000
"""Items whose latest sent record is remembered until it is read back."""


class ItemEncoder:
    """Encodes the items of one worker's partitions.

    Parameters
    ----------
    catalogues
        Returns the loaded catalogues, the serving one first.
    encoders
        Returns all encoder versions that the embeddings topic may hold items for: a delete is sent for each.
    known
        Returns the latest state of an item on the embeddings topic.
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
        self._dead_letters = DeadLetterWriter(send, config.topics)
        self._sent: FIFOCache[str, Origin] = FIFOCache(SENT_KEPT)
        self._logged = False
        self._told = set[str]()

    async def process(self, records: Sequence[Record]) -> Sent:
        """Encode and send a batch of item records; refused ones become dead letters. Returns awaitables of all sends.

        If a batch raises, its records are processed one by one, and a record that raises alone is dead-lettered. Each
        record is counted once, at the latest when the awaitables are done: as ``items.accepted``, ``items.deleted``,
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
                return [self._dead_letters(records[0], refuse("internal", f"{type(error).__name__}: {error}"))]
            log.exception("a batch of %d items broke: taking them one by one", len(records))
            return [sent for record in records for sent in await self.process([record])]

    async def _process(self, records: Sequence[Record]) -> Sent:
        refused: list[tuple[Record, Refusal]] = []
        latest: dict[str, tuple[Item | Deleted, Origin, Record]] = {}
        notes = Notes()
        for record in records:
            decoded = record.refusal or decode_item(record.key, record.value, self.config, notes)
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
        sends: dict[str, list[Awaitable[Unsent | None]]] = {item.item_id: [] for item, _ in items}
        for start in range(0, len(items), CHUNK):
            for catalogue in self.catalogues():
                some = items[start : start + CHUNK]
                for (item, _), sent in zip(some, self.publish(some, catalogue), strict=True):
                    sends[item.item_id].append(sent)
                await asyncio.sleep(0)  # a waiting shopper goes first
        # Last, since a batch that raises is processed again: each record is counted and dead-lettered once.
        deletes = [(item.item_id, origin) for item, origin, _ in latest.values() if isinstance(item, Deleted)]
        self._sent.update({item_id: origin for item_id, (_, origin, _) in latest.items()})
        self.meter.count("items.deleted", len(deletes))
        self.meter.count("items.refused", len(refused))
        self.meter.count("items.converted", notes.counts.total())
        for sentence in notes.news(self._told):
            log.warning("items: %s", sentence)
        self.meter.count("items.superseded", len(records) - len(latest) - len(refused))
        return [
            *(
                self.send(self.topics.embeddings, key(item_id, version), None, [origin.header()])
                for item_id, origin in deletes
                for version in self.encoders()
            ),
            *(asyncio.ensure_future(self._confirm(latest[item_id][2], sent)) for item_id, sent in sends.items()),
            *(self._dead_letters(record, refusal) for record, refusal in refused),
        ]

    async def _confirm(self, record: Record, sends: Sequence[Awaitable[Unsent | None]]) -> None:
        """Wait until the broker has an item's embeddings. If it refuses one, the record becomes a dead letter."""
        unsent = next((found for found in await asyncio.gather(*sends) if found is not None), None)
        self.meter.count("items.accepted" if unsent is None else "items.refused")
        if unsent is not None:
            await self._dead_letters(
                record, refuse("oversized", f"what is made of the item does not fit: {unsent.detail}")
            )

    def _known(self, item_id: str) -> Origin | None:
        """The latest state of an item that was sent or is on the topic."""
        sent, held = self._sent.get(item_id), self.known(item_id)
        return held if sent is None or (held is not None and sent.before(held)) else sent

    def _compare(self, item_id: str, origin: Origin, known: Origin | None) -> None:
        """Count an item that comes in two partitions; log it the first time."""
        if known is None or known.partition == origin.partition:
            return
        self.meter.count("items.in_two_partitions")
        if not self._logged:
            self._logged = True
            log.warning(
                "item %r came in partition %d of %s, and before in %d: its producers hash keys differently, or "
                "partitions were added to the topic; of its records the one with the latest timestamp counts",
                item_id,
                origin.partition,
                self.topics.items,
                known.partition,
            )

    def publish(self, items: Sequence[tuple[Item, Origin]], catalogue: Catalog) -> list[Awaitable[Unsent | None]]:
        """Encode a few items with a catalogue's encoder and send the embeddings."""
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
