"""Follows ``liveshelf.embeddings`` from its beginning, so that this worker holds the whole encoded catalogue.

Every worker reads all partitions, in no group and without commits. Ready once it has read what was there when it
started. Knows what a change is; what taking one means is the catalogue's business, and what the topic then holds for
which encoder is the ledger's.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from models.encoded import EncodedError
from streams.catalog.catalog import Catalog, Change
from streams.catalog.embedding import Entry, parse, place
from streams.catalog.topic_index import TopicIndex
from streams.events.decode import Refusal, refuse
from streams.kafka.consumer import Consumer
from streams.kafka.guard import Guard, parsed
from streams.telemetry.meter import Meter

SLICE_S = 0.005

MOST = 20
"""A rest is over after so many times the work, so that work goes on under the fullest load, too."""


async def yield_cpu(spent: float) -> None:
    """Sleep until the event loop was idle for ``spent`` seconds.

    Examples
    --------
    >>> began = time.perf_counter()
    >>> asyncio.run(yield_cpu(0.02))
    >>> time.perf_counter() - began >= 0.02
    True
    """
    idle, began = 0.0, time.perf_counter()
    while idle < spent and time.perf_counter() - began < MOST * spent:
        at, worked = time.perf_counter(), time.thread_time()
        await asyncio.sleep(SLICE_S)
        # A slice that ends late was somebody's batch, or another process had the core.
        if time.perf_counter() - at < 2 * SLICE_S:
            idle += max(0.0, SLICE_S - (time.thread_time() - worked))


log = logging.getLogger(__name__)

CHUNK = 32
"""Changes taken at a time once shoppers are served; catching up takes larger ones."""

CATCH_UP_CHUNK = 500

BESIDE_CHUNK = 8
"""The same, for a catalogue that is built while another one serves."""

COMMIT_EVERY_S = 0.25


class Follower:
    """Keeps a catalogue up to date.

    Parameters
    ----------
    consumer
        Reads the embeddings topic, in no group, from the earliest record.
    beside
        Whether another catalogue serves meanwhile: then shoppers go first, and it takes half of what they leave.

    Attributes
    ----------
    ledger
        What the topic holds, as far as it was read.
    ready
        Set once the catalogue holds all that the topic held at the start.
    left
        Called, once ready, with items that are on sale no more, each with the partition of ``shop.items`` that said so.
    """

    def __init__(self, consumer: Consumer, catalogue: Catalog, meter: Meter, beside: bool = False) -> None:
        self.consumer = consumer
        self.catalogue, self.meter, self.beside = catalogue, meter, beside
        self.ledger = TopicIndex(catalogue.encoder.version)
        self.ready = asyncio.Event()
        self._guard = Guard("embeddings", parse, meter)
        self.left: Callable[[list[tuple[str, int]]], None] | None = None
        self._next: dict[int, int] = {}

    async def run(self) -> None:
        """Read until cancelled."""
        await self.consumer.start()
        try:
            ends = await self.consumer.end_offsets(self.consumer.assignment())
            committed = time.monotonic()
            while True:
                if not self.ready.is_set() and self.consumer.passed(ends):
                    self.catalogue.commit()
                    log.info("catalogue ready: %d items", len(self.catalogue))
                    self.ready.set()
                fetched = await self.consumer.getmany(timeout_ms=int(COMMIT_EVERY_S * 1000), max_records=self._chunk())
                began = time.perf_counter()
                changes = [change for messages in fetched.values() for change in self._changes(messages)]
                if changes:
                    self._take(changes)
                    self.meter.count("items.changed", len(changes))
                if self.ready.is_set() and (not fetched or time.monotonic() - committed >= COMMIT_EVERY_S):
                    self.catalogue.commit()
                    committed = time.monotonic()
                for partition, messages in fetched.items():
                    self._next[partition.partition] = messages[-1].offset + 1
                if self.beside:
                    await yield_cpu(time.perf_counter() - began)
        finally:
            await self.consumer.stop()

    async def passed(self, message: Any) -> None:
        """Wait until a record of the topic has been taken."""
        while self._next.get(message.partition, 0) <= message.offset:
            await asyncio.sleep(0.01)

    def _take(self, changes: Sequence[Change]) -> None:
        on_sale = self.catalogue.on_sale
        before = {change.item_id: change.origin for change in changes if on_sale(change.item_id)}
        self._apply(changes)
        if self.left is not None and self.ready.is_set():
            self.left([(item, made.partition) for item, made in before.items() if made and not on_sale(item)])

    def _chunk(self) -> int:
        if self.beside:
            return BESIDE_CHUNK
        return CHUNK if self.ready.is_set() else CATCH_UP_CHUNK

    def _apply(self, changes: Sequence[Change]) -> None:
        """All at once, or each by itself where one of them breaks it: that one is left out."""
        try:
            self.catalogue.apply(changes)
        except Exception:
            log.exception("%d changes cannot be taken together; taking each by itself", len(changes))
            for change in changes:
                try:
                    self.catalogue.apply([change])
                except Exception:
                    log.exception("a change of %r cannot be taken and is left out", change.item_id)
                    self.meter.count("unreadable.embeddings")

    def _changes(self, messages: Sequence[Any]) -> list[Change]:
        found = (self._change(message) for message in messages)
        return [change for change in found if change is not None]

    def _change(self, message: Any) -> Change | None:
        entry = self._guard(message)
        if isinstance(entry, Refusal):
            known = parsed(lambda one, _: place(one), message, 0)
            if not isinstance(known, Refusal):  # its record before is gone, or will be
                self.ledger.spoil(known.item_id, known.version, None)
            return None
        (item_id, version, made_from), made = entry
        if made is None:
            if made_from is None:
                self.ledger.forget(item_id, version)
                return None
            latest = self.ledger.delete(item_id, version, made_from)
            return Change(item_id, None, made_from, version) if latest else None
        if version == self.ledger.encoder and (problem := self._unfit(entry)):
            self._guard.note(message, refuse("invalid", problem))
            self.ledger.spoil(item_id, version, made_from)
            return None
        taken = made_from is None or self.ledger.put(item_id, version, made_from)
        return Change(item_id, made, made_from) if taken else None

    def _unfit(self, entry: Entry) -> str:
        """Why this encoder's vectors cannot be used; empty where they can."""
        try:
            assert entry.made is not None
            self.catalogue.vectors_of(entry.made)
        except EncodedError as error:
            return str(error)
        return ""
