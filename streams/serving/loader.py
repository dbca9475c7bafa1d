"""The editions that a worker holds, by version; each catalogue is kept up to date, and those of one encoder share it.

Loads what is asked for, and lets go of what nobody wants any more. Knows nothing of which one answers whom.
"""

import asyncio
import gc
import logging
import time
from collections.abc import Callable, Collection, Sequence
from traceback import clear_frames
from weakref import WeakSet

from streams.catalog.backfill import CatalogMaintenance
from streams.catalog.catalog import Catalog
from streams.config import StreamsConfig
from streams.serving.loaded_model import LoadedModel, fetch, load

log = logging.getLogger(__name__)


class ModelCache:
    """Loaded editions.

    Parameters
    ----------
    first
        The one to begin with.
    keep_up
        Makes what keeps a catalogue up to date, given whether another one serves meanwhile.

    Attributes
    ----------
    held
        By version.
    warm
        The versions whose catalogue was complete once: they can serve at once.
    """

    def __init__(
        self, first: LoadedModel, keep_up: Callable[[Catalog, bool], CatalogMaintenance], config: StreamsConfig
    ) -> None:
        self.held = {first.version: first}
        self.warm: set[str] = set()
        self.keep_up, self.config = keep_up, config
        self._kept: dict[Catalog, tuple[CatalogMaintenance, asyncio.Task[None]]] = {}
        self._lock = asyncio.Lock()
        self._alive = WeakSet([first.catalogue])

    def start(self, group: asyncio.TaskGroup) -> None:
        """Begin to keep the first one up, in a group that lives as long as this."""
        self._group = group
        for edition in self.held.values():
            self._begin(edition.catalogue, beside=False)

    @property
    def catalogues(self) -> list[Catalog]:
        """All that are held, each once."""
        return list(dict.fromkeys(edition.catalogue for edition in self.held.values()))

    @property
    def alive(self) -> int:
        """How many catalogues are in memory, those included that should not be any more."""
        return len(self._alive)

    def upkeep(self, edition: LoadedModel) -> CatalogMaintenance:
        """What keeps an edition's catalogue up to date."""
        return self._kept[edition.catalogue][0]

    def progress(self, version: str) -> float:
        """How far a version is, 0 to 1: the share of the live items that its catalogue holds."""
        return self.upkeep(self.held[version]).ledger.progress if version in self.held else 0.0

    async def load(self, version: str) -> LoadedModel:
        """A version's edition; loaded now unless it is held, one at a time, so that all share what they can.

        Raises
        ------
        StoreError, models.weights.WeightsError, OSError, ValueError, RuntimeError
            Whatever is wrong with the version.
        """
        async with self._lock:
            if version not in self.held:
                edition = await asyncio.to_thread(self._load, version, list(self.held.values()))
                self.held[version] = edition
                if edition.catalogue not in self._kept:
                    self._begin(edition.catalogue, beside=True)
            return self.held[version]

    async def ready(self, version: str) -> LoadedModel:
        """The same, once its catalogue holds every live item in its newest state."""
        if version in self.warm:
            return self.held[version]
        edition = await self.load(version)
        upkeep = self.upkeep(edition)
        await upkeep.follower.ready.wait()
        if upkeep.ledger.behind:
            log.warning(
                "%d of %d items are to be encoded for %s", upkeep.ledger.behind, len(upkeep.ledger), edition.name
            )
        await upkeep.complete()
        self.warm.add(version)
        return edition

    async def let_go(self, wanted: Callable[[], Collection[str]]) -> bool:
        """Forget all but the wanted ones, and free their memory; returns whether an encoder's catalogue went."""
        async with self._lock:  # what is being loaded now may share with what would go
            heavy = self._forget(self.held.keys() - set(wanted()))
            ended = await self._end()
        if heavy:
            # What went is free already, being in no cycle; to look through what is frozen would take half a second.
            gc.collect()
            gc.freeze()
        return ended

    def _forget(self, versions: Collection[str]) -> bool:
        """Returns whether an encoder went."""
        gone = [self.held.pop(version).encoder for version in versions]
        self.warm &= self.held.keys()
        encoders = {edition.encoder for edition in self.held.values()}
        for edition in self.held.values():
            if edition.catalogue.encoder not in encoders:
                edition.catalogue.encoder = edition.encoder
        return any(encoder not in encoders for encoder in gone)

    async def _end(self) -> bool:
        """End the upkeep of catalogues that no edition has; returns whether there was one."""
        tasks = [self._kept.pop(catalogue)[1] for catalogue in self._kept.keys() - set(self.catalogues)]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for task in tasks:
            try:
                task.result()
            except asyncio.CancelledError as error:
                # A task group's frame and its error hold each other, and with them the catalogue.
                clear_frames(error.__traceback__)
        return bool(tasks)

    def _load(self, version: str, beside: Sequence[LoadedModel]) -> LoadedModel:
        edition = load(fetch(version, self.config.model), self.config.model, beside)
        if all(edition.encoder is not other.encoder for other in beside):
            edition.encoder.warm_up(self.config.worker.batch_events, time.sleep)  # shoppers are served meanwhile
        return edition

    def _begin(self, catalogue: Catalog, beside: bool) -> None:
        self._alive.add(catalogue)
        upkeep = self.keep_up(catalogue, beside)
        self._kept[catalogue] = upkeep, self._group.create_task(upkeep.run())
