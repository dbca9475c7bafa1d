"""When a follower's catalogue is read from a snapshot, and when one of it is written.

A snapshot is read only if the topic is still the one that it was made of. One is written once the catalogue is complete
and there is none, then now and then if enough has changed. Knows offsets and ages; nothing of files.
"""

import asyncio
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from streams.catalog.catalog import Catalog
from streams.catalog.lexical_index import LexicalIndex, link_files
from streams.catalog.snapshot import KEPT_S, LAYOUT, Lock, Meta, Snapshot, Snapshots, Writer
from streams.catalog.topic_index import TopicIndex
from streams.config import CatalogueConfig
from streams.kafka.consumer import Consumer

log = logging.getLogger(__name__)

WORDS = "words"
"""The lexical index's folder, in a snapshot and in a process's own folder."""

CHANGED_SHARE = 0.01
"""Records since the last snapshot, as a share of the items, from which the next one is worth writing."""

LOOK_EVERY_S = 5.0


class Checkpoints:
    """Reads and writes the snapshots of one catalogue and of the index of its topic.

    Parameters
    ----------
    snapshots
        Where they are kept.
    config
        How often one is written, and how many items are worth one.
    """

    def __init__(
        self, snapshots: Snapshots, catalogue: Catalog, topic_index: TopicIndex, config: CatalogueConfig
    ) -> None:
        self.snapshots, self.config = snapshots, config
        self.catalogue, self.topic_index = catalogue, topic_index
        self._own: tuple[Path, Lock] | None = None
        self._mapped: Snapshot | None = None
        self._offsets: dict[int, int] = {}
        self._latest_ms: dict[int, int] = {}
        self._generation = self._changed = 0
        self._next_look_s = self._next_write_s = float("-inf")

    async def resume(self, consumer: Consumer, ends: Mapping[Any, int]) -> dict[int, int]:
        """Fill the empty catalogue from the newest snapshot that can be used; returns the next offsets to read, by
        partition. Where there is none it returns nothing, and the catalogue stays empty.

        Parameters
        ----------
        ends
            The ends of the topic's partitions.
        """
        try:
            self._own = await asyncio.to_thread(self.snapshots.own_folder)
            snapshot = await asyncio.to_thread(self.snapshots.newest)
            if snapshot is not None:
                problem = await _gone(snapshot.meta, consumer, ends) or await asyncio.to_thread(self._restore, snapshot)
                if problem:
                    self.snapshots.refuse(snapshot.folder, problem)
                else:
                    log.info("%d items of the catalogue are mapped from %s", len(self.catalogue), snapshot.folder)
                    self._offsets, self._latest_ms = dict(snapshot.meta.offsets), dict(snapshot.meta.latest_ms)
                    self._mapped, self._generation = snapshot, int(snapshot.folder.name)
            if self._mapped is None:
                self.catalogue.lexical = LexicalIndex(_new(self._own[0] / WORDS))
        except OSError as error:
            log.warning("there are no snapshots of the catalogue: %s", error)
            self._own = None
        return self._offsets

    def passed(self, fetched: Mapping[Any, Sequence[Any]]) -> None:
        """Note records that the catalogue has taken."""
        for partition, messages in fetched.items():
            number = partition.partition
            self._offsets[number] = messages[-1].offset + 1
            self._latest_ms[number] = max(self._latest_ms.get(number, -1), *(one.timestamp for one in messages))
            self._changed += len(messages)

    def due(self, now_s: float) -> bool:
        """Whether it is time to write a snapshot; ``now_s`` are seconds of any clock that does not go back."""
        if self._own is None or now_s < self._next_look_s:
            return False
        self._next_look_s = now_s + LOOK_EVERY_S
        return self.snapshots.written() and now_s >= self._next_write_s and self._worth_it()

    def write(self, now_s: float) -> None:
        """Begin to write a snapshot, in a process beside this one. The catalogue must have been committed."""
        meta = Meta(
            LAYOUT,
            self.snapshots.encoder,
            self.snapshots.topic,
            len(self.catalogue),
            int(self.snapshots.clock() * 1000),
            self._offsets,
            self._latest_ms,
        )
        self._next_write_s = now_s + self.config.snapshot_every_s  # also if it fails
        try:
            self.snapshots.write(meta, lambda to: self.catalogue.lexical.copy_files(to / WORDS), self._save)
        except OSError as error:
            log.error("the catalogue's snapshot could not be written: %s", error)

    def close(self) -> None:
        """End what is being written, and remove this process's own files."""
        self.snapshots.stop()
        if self._mapped is not None:
            self._mapped.close()
        if self._own is not None:
            shutil.rmtree(self._own[0], ignore_errors=True)
            self._own[1].close()
            self._own = None

    def _worth_it(self) -> bool:
        if len(self.catalogue) < self.config.smallest:
            return False
        newest = self.snapshots.age_s()
        if newest is None:
            return True
        generation, age_s = newest
        if generation != self._generation:  # another process wrote it
            self._generation, self._changed = generation, 0
        enough = self._changed >= CHANGED_SHARE * len(self.catalogue) or age_s > KEPT_S / 2
        return enough and age_s >= self.config.snapshot_every_s

    def _save(self, writer: Writer) -> None:
        self.catalogue.save(writer)
        self.topic_index.save(writer)

    def _restore(self, snapshot: Snapshot) -> str:
        """Fill the catalogue; returns why that is not possible, or nothing."""
        assert self._own is not None
        try:
            words = _new(self._own[0] / WORDS)
            link_files(snapshot.folder / WORDS, words)
            self.catalogue.restore(snapshot, LexicalIndex(words))
            self.topic_index.restore(snapshot)
        except (OSError, ValueError, KeyError, RuntimeError, msgspec.MsgspecError) as error:
            return f"{type(error).__name__}: {error}"
        return ""


async def _gone(meta: Meta, consumer: Consumer, ends: Mapping[Any, int]) -> str:
    """Why a snapshot's offsets are not those of the topic as it is now; empty if they are.

    No record before them is later than ``meta.latest_ms``. So if one is, the topic was created again.
    """
    by_number = {partition.partition: partition for partition in ends}
    if not meta.offsets.keys() <= by_number.keys():
        return "the topic has fewer partitions now"
    begins = await consumer.beginning_offsets(list(ends))
    since = await consumer.offsets_for_times({by_number[one]: ms + 1 for one, ms in meta.latest_ms.items()})
    for number, offset in meta.offsets.items():
        partition = by_number[number]
        later = since.get(partition)
        if not begins[partition] <= offset <= ends[partition] or (later is not None and later.offset < offset):
            return f"partition {number} of the topic is another one now, or lost records"
    return ""


def _new(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder
