"""Follows ``liveshelf.embeddings`` from its beginning, so that this worker holds the whole encoded catalogue.

Every worker reads all partitions, in no group and without commits. It is ready once it has read what was there when it
started; from a snapshot on, where there is one. Knows what a change is. The catalogue applies changes; the topic index
records what the topic holds.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from models.encoded import EncodedError
from streams.catalog.catalog import Catalog, Change
from streams.catalog.checkpoints import Checkpoints
from streams.catalog.embedding import Entry, parse, place
from streams.catalog.snapshot import Snapshots
from streams.catalog.topic_index import TopicIndex
from streams.config import CatalogueConfig
from streams.events.decode import Refusal, refuse
from streams.kafka.consumer import Consumer
from streams.kafka.guard import Guard, parsed
from streams.telemetry.meter import Meter

SLICE_S = 0.005

MOST = 20
"""A pause lasts at most this many times the work before it, so that work goes on even under full load."""


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
        # If the slice ended late, a batch was running, or another process had the core.
        if time.perf_counter() - at < 2 * SLICE_S:
            idle += max(0.0, SLICE_S - (time.thread_time() - worked))


log = logging.getLogger(__name__)

CHUNK = 32
"""Changes applied at a time while shoppers are served; larger chunks are applied while catching up."""

CATCH_UP_CHUNK = 500

BESIDE_CHUNK = 8
"""Changes applied at a time to a catalogue that is built while another one serves."""

COMMIT_EVERY_S = 0.25


class Follower:
    """Keeps a catalogue up to date.

    Parameters
    ----------
    consumer
        Reads the embeddings topic, in no group, from the earliest record.
    background
        Whether another catalogue serves meanwhile: then serving has priority; this takes half of the spare time.
    snapshots
        Where the catalogue's snapshots are, if there are to be any; ``config`` says how often one is written.

    Attributes
    ----------
    topic_index
        What the topic holds, as far as it was read.
    ready
        Set once the catalogue holds all that the topic held at the start.
    on_withdrawn
        Called, once ready, with items that are no longer on sale, each with its partition of ``shop.items``.
    """

    def __init__(
        self,
        consumer: Consumer,
        catalogue: Catalog,
        meter: Meter,
        background: bool = False,
        snapshots: Snapshots | None = None,
        config: CatalogueConfig | None = None,
    ) -> None:
        self.consumer = consumer
        self.catalogue, self.meter, self.background = catalogue, meter, background
        self.topic_index = TopicIndex(catalogue.encoder.version)
        self.checkpoints: Checkpoints | None = None
        if snapshots is not None:
            self.checkpoints = Checkpoints(snapshots, catalogue, self.topic_index, config or CatalogueConfig())
        self.ready = asyncio.Event()
        self._guard = Guard("embeddings", parse, meter)
        self.on_withdrawn: Callable[[list[tuple[str, int]]], None] | None = None
        self._next: dict[int, int] = {}

    async def run(self) -> None:
        """Read until cancelled."""
        await self.consumer.start()
        try:
            ends = await self.consumer.end_offsets(self.consumer.assignment())
            await self._resume(ends)
            committed = time.monotonic()
            while True:
                if not self.ready.is_set() and self.consumer.passed(ends):
                    await self._commit()
                    log.info("catalogue ready: %d items", len(self.catalogue))
                    self.ready.set()
                fetched = await self.consumer.getmany(timeout_ms=int(COMMIT_EVERY_S * 1000), max_records=self._chunk())
                began = time.perf_counter()
                changes = [change for messages in fetched.values() for change in self._changes(messages)]
                if changes:
                    self._take(changes)
                    self.meter.count("items.changed", len(changes))
                if self.ready.is_set() and (not fetched or time.monotonic() - committed >= COMMIT_EVERY_S):
                    await self._commit()
                    committed = time.monotonic()
                for partition, messages in fetched.items():
                    self._next[partition.partition] = messages[-1].offset + 1
                if self.checkpoints is not None:
                    self.checkpoints.passed(fetched)
                    if self.ready.is_set() and self.checkpoints.due(time.monotonic()):
                        await self._commit()
                        self.checkpoints.write(time.monotonic())
                if self.background:
                    await yield_cpu(time.perf_counter() - began)
        finally:
            await self.consumer.stop()
            if self.checkpoints is not None:
                self.checkpoints.close()

    async def _resume(self, ends: Mapping[Any, int]) -> None:
        """Read on from a snapshot, if there is one."""
        if self.checkpoints is not None:
            self._next = dict(await self.checkpoints.resume(self.consumer, ends))
            for partition in ends:
                if partition.partition in self._next:
                    self.consumer.seek(partition, self._next[partition.partition])

    async def _commit(self) -> None:
        """Make changes visible to lexical search: in a thread, since the disk may have to be waited for."""
        await asyncio.to_thread(self.catalogue.commit)

    async def passed(self, message: Any) -> None:
        """Wait until a record of the topic has been applied."""
        while self._next.get(message.partition, 0) <= message.offset:
            await asyncio.sleep(0.01)

    def _take(self, changes: Sequence[Change]) -> None:
        on_sale = self.catalogue.on_sale
        before = {change.item_id: change.origin for change in changes if on_sale(change.item_id)}
        self._apply(changes)
        if self.on_withdrawn is not None and self.ready.is_set():
            self.on_withdrawn(
                [(item, origin.partition) for item, origin in before.items() if origin and not on_sale(item)]
            )

    def _chunk(self) -> int:
        if self.background:
            return BESIDE_CHUNK
        return CHUNK if self.ready.is_set() else CATCH_UP_CHUNK

    def _apply(self, changes: Sequence[Change]) -> None:
        """Apply all at once, or one by one if that raises; a change that raises alone is skipped. That a file cannot be
        written is not the change's fault, and raised."""
        try:
            self.catalogue.apply(changes)
        except OSError:
            raise
        except Exception:
            log.exception("%d changes cannot be applied together; applying them one by one", len(changes))
            for change in changes:
                try:
                    self.catalogue.apply([change])
                except OSError:
                    raise
                except Exception:
                    log.exception("a change of %r cannot be applied and is skipped", change.item_id)
                    self.meter.count("unreadable.embeddings")

    def _changes(self, messages: Sequence[Any]) -> list[Change]:
        found = (self._change(message) for message in messages)
        return [change for change in found if change is not None]

    def _change(self, message: Any) -> Change | None:
        entry = self._guard(message)
        if isinstance(entry, Refusal):
            known = parsed(lambda one, _: place(one), message, 0)
            if not isinstance(known, Refusal):  # compaction removes the record before it
                self.topic_index.mark_unusable(known.item_id, known.version, None)
            return None
        (item_id, version, origin), embedding = entry
        if embedding is None:
            if origin is None:
                self.topic_index.forget(item_id, version)
                return None
            latest = self.topic_index.delete(item_id, version, origin)
            return Change(item_id, None, origin, version) if latest else None
        if version == self.topic_index.encoder and (problem := self._unfit(entry)):
            self._guard.note(message, refuse("invalid", problem))
            self.topic_index.mark_unusable(item_id, version, origin)
            return None
        taken = origin is None or self.topic_index.put(item_id, version, origin)
        return Change(item_id, embedding, origin) if taken else None

    def _unfit(self, entry: Entry) -> str:
        """Why this encoder's vectors cannot be used; empty if they can."""
        try:
            assert entry.embedding is not None
            self.catalogue.vectors_of(entry.embedding)
        except EncodedError as error:
            return str(error)
        return ""
