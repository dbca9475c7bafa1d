"""Serves the version in charge: follows the store's slot, and changes editions between two batches.

A version whose encoder makes the same of items is loaded and takes over at once. One with another encoder gets a
catalogue of its own, built in the background from what the embeddings topic holds and what workers add to it; it takes
over when that is complete. Until then, and where a version cannot be loaded, what served before goes on.
"""

import asyncio
import gc
import logging
from collections.abc import Callable, Iterable, Sequence, Set
from weakref import WeakSet

from aiokafka import AIOKafkaConsumer

from models.store import Store
from models.store.errors import StoreError
from models.store.parts import Parts, parts
from models.weights import WeightsError
from streams.catalogue import Catalogue
from streams.charge import Charge
from streams.clock import wall_ms
from streams.config import ModelConfig, StreamsConfig
from streams.edition import Edition, load
from streams.item_encoder import ItemEncoder
from streams.meter import Meter
from streams.recommender import Recommender
from streams.record import Send
from streams.topics import Topics
from streams.upkeep import Upkeep

log = logging.getLogger(__name__)


class Switcher:
    """Holds the edition that serves and, for a while, the one to come.

    Parameters
    ----------
    edition
        The one to begin with.
    charge
        The slot to follow; None serves the first edition for good.
    open_consumer
        Makes a consumer of the embeddings topic, from its earliest record.
    owned
        Tells the partitions of ``shop.items`` that are this worker's now.

    Attributes
    ----------
    ready
        Set once a catalogue is there to serve from.
    """

    def __init__(
        self,
        edition: Edition,
        charge: Charge | None,
        recommender: Recommender,
        send: Send,
        meter: Meter,
        open_consumer: Callable[[], AIOKafkaConsumer],
        owned: Callable[[], Set[int]],
        config: StreamsConfig,
    ) -> None:
        self.edition, self.charge, self.recommender = edition, charge, recommender
        self.meter, self.config = meter, config
        self.open_consumer, self.owned = open_consumer, owned
        topics = Topics(config.topics.prefix)
        self.item_encoder = ItemEncoder(self.catalogues, self.encoders, send, meter, topics, config.events)
        self.ready = asyncio.Event()
        self.coming: tuple[Edition, Upkeep] | None = None
        self.upkeep = Upkeep(edition.catalogue, open_consumer, self.item_encoder, owned)
        self._tasks: dict[Upkeep, asyncio.Task[None]] = {}
        self._switching: asyncio.Task[None] | None = None
        self._alive = WeakSet([edition.catalogue])

    async def run(self) -> None:
        """Serve, and follow the slot, until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._start(self.upkeep)
            await self.upkeep.follower.ready.wait()
            if not self.upkeep.ledger.complete:
                await self._stand_in()
            self.ready.set()
            if self.charge is not None:
                await self._follow(self.charge)

    def catalogues(self) -> Sequence[Catalogue]:
        """Those that are held now, the serving one first."""
        return [edition.catalogue for edition in (self.edition, *(self.coming or ())[:1])]

    def encoders(self) -> Iterable[str]:
        """All encoder versions that the topic may hold an item for."""
        return {self.upkeep.ledger.encoder, *self.upkeep.ledger.encoders()} | {
            catalogue.encoder.version for catalogue in self.catalogues()
        }

    def report(self) -> None:
        """Put into the meter what serves, and how far the switch is that is under way."""
        self.meter.labels = {"model": self.edition.name, "next": self.coming[0].name if self.coming else ""}
        self.meter.gauges |= {
            "items": float(len(self.edition.catalogue)),
            "item_bytes": float(self.edition.catalogue.memory.nbytes),
            "items_behind": float(self.upkeep.ledger.behind),
            "switch_progress": self.coming[1].ledger.progress if self.coming else 1.0,
            "catalogues": float(len(self._alive)),
        }

    async def _stand_in(self) -> None:
        """At the start, when not all items are encoded for the version in charge: serve the one before meanwhile,
        where its encoder's items are there."""
        ledger = self.upkeep.ledger
        log.warning(
            "%d of %d items are not encoded for %s yet: that is done in the background",
            ledger.behind,
            len(ledger),
            self.edition.name,
        )
        edition = await asyncio.to_thread(self._before, self.edition)
        if edition is None or ledger.held(edition.encoder.version) <= ledger.held(ledger.encoder):
            return
        coming = self.coming = self.edition, self.upkeep
        self.edition, self.upkeep = edition, self._start(self._kept(edition))
        await self.upkeep.follower.ready.wait()
        coming[1].follower.beside = True
        self.recommender.serve(edition.catalogue, edition.scorer, wall_ms())
        log.warning("%s serves meanwhile: %d items", edition.name, len(edition.catalogue))
        self._switching = self._group.create_task(self._finish(*coming))

    def _before(self, edition: Edition) -> Edition | None:
        try:
            version = self.charge and edition.parts.version and self.charge.before(edition.parts.version)
            return self._load(version) if version else None
        except Exception as error:
            self._refuse("the version before", error)
            return None

    async def _follow(self, charge: Charge) -> None:
        failed = False
        while True:
            await asyncio.sleep(self.config.model.watch_s)
            try:
                versions = await asyncio.to_thread(charge.versions)
                failed = False
            except (StoreError, OSError) as error:
                if not failed:  # said once, not every few seconds
                    log.error("which version is in charge cannot be read, %s goes on: %s", self.edition.name, error)
                failed = True
                continue
            if charge.watch.update(versions[0] if versions else None):
                await self._change(versions[0])

    async def _change(self, version: str) -> None:
        if self._switching is not None:
            self._switching.cancel()
            await asyncio.wait([self._switching])
            self._switching = None
        if version == self.edition.name:
            log.warning("%s is in charge again and goes on", version)
        else:
            log.warning("%s is in charge: loading it", version)
            self._switching = self._group.create_task(self._switch(version))

    async def _switch(self, version: str) -> None:
        try:
            edition = await asyncio.to_thread(self._load, version)
        except Exception as error:
            self._refuse(version, error)
            return
        if edition.catalogue is self.edition.catalogue:
            self._serve(edition, self.upkeep)
        else:
            await self._finish(edition, self._start(self._kept(edition, beside=True)))

    async def _finish(self, edition: Edition, upkeep: Upkeep) -> None:
        self.coming = edition, upkeep
        try:
            await upkeep.follower.ready.wait()
            log.warning(
                "%d of %d items are to be encoded for %s", upkeep.ledger.behind, len(upkeep.ledger), edition.name
            )
            await upkeep.complete()
            keep = {self.upkeep.ledger.encoder, upkeep.ledger.encoder}
            before = self.upkeep
            self._serve(edition, upkeep)
        except asyncio.CancelledError:
            self._tasks.pop(upkeep).cancel()
            raise
        finally:
            self.coming = None
        task = self._tasks.pop(before)
        task.cancel()
        await asyncio.wait([task])
        del before, task
        # What is frozen is never looked through: once a switch it is, or the old catalogue would stay for ever.
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        await upkeep.sweeper.retire(keep)

    def _serve(self, edition: Edition, upkeep: Upkeep) -> None:
        """Let an edition take over: on the event loop, so between two batches."""
        before = self.edition
        upkeep.follower.beside = False
        edition.catalogue.encoder = edition.encoder
        edition.catalogue.commit()
        self.recommender.serve(edition.catalogue, edition.scorer, wall_ms())
        self.edition, self.upkeep = edition, upkeep
        self.meter.count("model.switched")
        log.warning("%s serves in place of %s: %d items", edition.name, before.name, len(edition.catalogue))

    def _load(self, version: str) -> Edition:
        assert self.charge is not None
        edition = load(parts(self.charge.store, version), self.config.model, beside=self.edition)
        if edition.encoder is not self.edition.encoder:
            edition.encoder.warm_up(self.config.worker.batch_events)
        return edition

    def _refuse(self, version: str, error: Exception) -> None:
        self.meter.count("model.refused")
        log.error("%s is refused, %s goes on: %s", version, self.edition.name, told(error))

    def _kept(self, edition: Edition, beside: bool = False) -> Upkeep:
        self._alive.add(edition.catalogue)
        return Upkeep(edition.catalogue, self.open_consumer, self.item_encoder, self.owned, beside)

    def _start(self, upkeep: Upkeep) -> Upkeep:
        self._tasks[upkeep] = self._group.create_task(upkeep.run())
        return upkeep


def first(model: ModelConfig) -> tuple[Edition, Charge | None]:
    """The edition to begin with, and the slot to follow where the settings name one.

    Of a slot it is the version in charge or, where that cannot be loaded, the newest before it that can.

    Raises
    ------
    models.store.errors.StoreError, models.weights.WeightsError
        When there is no version to begin with, as the first that was tried says.
    """
    if model.version is None:
        return load(Parts(architecture=model.architecture, weights=model.weights), model), None
    store = Store(model.store)
    charge = Charge.of(store, model.version)
    refused: list[Exception] = []
    versions = charge.versions() if charge else [model.version]
    if charge:
        charge.watch.update(versions[0])
    for version in versions:
        try:
            return load(parts(store, version), model), charge
        except (StoreError, WeightsError, OSError, ValueError, RuntimeError) as error:
            log.error("%s is refused: %s", version, told(error))
            refused.append(error)
    raise refused[0]


def told(error: Exception) -> str:
    """What went wrong, in one line."""
    words = " ".join(str(error).split())
    return words if isinstance(error, StoreError | WeightsError) else f"{type(error).__name__}: {words}"
