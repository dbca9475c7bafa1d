"""The models that a worker has loaded, by version. Models of one encoder share a catalogue, which is kept up to date.

Loads a version on request and frees versions that are no longer needed. Knows nothing of which model serves whom.
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
    """Loaded models.

    Parameters
    ----------
    first
        The model to start with.
    maintain
        Makes the maintenance of a catalogue. Its second argument says whether another catalogue serves meanwhile.

    Attributes
    ----------
    held
        The loaded models by version.
    warm
        The versions whose catalogue has been complete once: they can serve at once.
    """

    def __init__(
        self, first: LoadedModel, maintain: Callable[[Catalog, bool], CatalogMaintenance], config: StreamsConfig
    ) -> None:
        self.held = {first.version: first}
        self.warm: set[str] = set()
        self.maintain, self.config = maintain, config
        self._kept: dict[Catalog, tuple[CatalogMaintenance, asyncio.Task[None]]] = {}
        self._lock = asyncio.Lock()
        self._alive = WeakSet([first.catalogue])

    def start(self, group: asyncio.TaskGroup) -> None:
        """Start the maintenance of the first model's catalogue, in a group that lives as long as this cache."""
        self._group = group
        for loaded in self.held.values():
            self._begin(loaded.catalogue, background=False)

    @property
    def catalogues(self) -> list[Catalog]:
        """The catalogues of all loaded models, each once."""
        return list(dict.fromkeys(loaded.catalogue for loaded in self.held.values()))

    @property
    def alive(self) -> int:
        """How many catalogues are in memory, including those that should have been freed."""
        return len(self._alive)

    def maintenance(self, loaded: LoadedModel) -> CatalogMaintenance:
        """The maintenance of a loaded model's catalogue."""
        return self._kept[loaded.catalogue][0]

    def progress(self, version: str) -> float:
        """The share of the live items that a version's catalogue holds, 0 to 1."""
        return self.maintenance(self.held[version]).topic_index.progress if version in self.held else 0.0

    async def load(self, version: str) -> LoadedModel:
        """The loaded model of a version; loads it if needed, one version at a time, so that models can share parts.

        Raises
        ------
        StoreError, models.weights.WeightsError, OSError, ValueError, RuntimeError
            When the version cannot be loaded.
        """
        async with self._lock:
            if version not in self.held:
                loaded = await asyncio.to_thread(self._load, version, list(self.held.values()))
                self.held[version] = loaded
                if loaded.catalogue not in self._kept:
                    self._begin(loaded.catalogue, background=True)
            return self.held[version]

    async def ready(self, version: str) -> LoadedModel:
        """Load a version and wait until its catalogue holds every live item in its newest state."""
        if version in self.warm:
            return self.held[version]
        loaded = await self.load(version)
        maintenance = self.maintenance(loaded)
        await maintenance.follower.ready.wait()
        if maintenance.topic_index.behind:
            log.warning(
                "%d of %d items are to be encoded for %s",
                maintenance.topic_index.behind,
                len(maintenance.topic_index),
                loaded.name,
            )
        await maintenance.complete()
        self.warm.add(version)
        return loaded

    async def let_go(self, wanted: Callable[[], Collection[str]]) -> bool:
        """Free all versions but the wanted ones; returns whether a catalogue was freed."""
        async with self._lock:  # a version that is being loaded may share parts with one that would be freed
            heavy = self._forget(self.held.keys() - set(wanted()))
            ended = await self._end()
        if heavy:
            # What was removed is free already, since it is in no cycle. Searching frozen objects takes half a second.
            gc.collect()
            gc.freeze()
        return ended

    def _forget(self, versions: Collection[str]) -> bool:
        """Remove versions; returns whether an encoder was removed with them."""
        gone = [self.held.pop(version).encoder for version in versions]
        self.warm &= self.held.keys()
        encoders = {loaded.encoder for loaded in self.held.values()}
        for loaded in self.held.values():
            if loaded.catalogue.encoder not in encoders:
                loaded.catalogue.encoder = loaded.encoder
        return any(encoder not in encoders for encoder in gone)

    async def _end(self) -> bool:
        """Stop the maintenance of catalogues that no loaded model uses; returns whether there was one."""
        tasks = [self._kept.pop(catalogue)[1] for catalogue in self._kept.keys() - set(self.catalogues)]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for task in tasks:
            try:
                task.result()
            except asyncio.CancelledError as error:
                # A task group's frame and its error refer to each other, and through them to the catalogue.
                clear_frames(error.__traceback__)
        return bool(tasks)

    def _load(self, version: str, others: Sequence[LoadedModel]) -> LoadedModel:
        loaded = load(fetch(version, self.config.model), self.config.model, others)
        if all(loaded.encoder is not other.encoder for other in others):
            loaded.encoder.warm_up(self.config.worker.batch_events, time.sleep)  # shoppers are served meanwhile
        return loaded

    def _begin(self, catalogue: Catalog, background: bool) -> None:
        self._alive.add(catalogue)
        maintenance = self.maintain(catalogue, background)
        self._kept[catalogue] = maintenance, self._group.create_task(maintenance.run())
