"""Serves the champion: follows the store's slots, and switches the loaded model between two batches.

A version with the same item encoder is loaded and takes over at once. A version with another encoder gets its own
catalogue, built in the background from the embeddings topic and what workers add to it. It takes over when that
catalogue is complete. Until then, and if a version cannot be loaded, the current model keeps serving. A version whose
files cannot be read now is tried again; a version whose files are refused is not. The challenger is loaded in the same
way, and a replaced model stays loaded for a while: either can take over at once. A version that fails while it serves
is replaced by the version before it.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import suppress
from functools import partial
from pathlib import Path
from weakref import WeakKeyDictionary

from models.constant import ConstantScorer
from models.late_interaction import LateInteractionScorer
from models.scorer import Scorer
from models.store import ModelStore
from models.store.errors import StoreError, transient
from models.store.slots import CHALLENGER
from models.weights import WeightsError
from streams.catalog.backfill import CatalogMaintenance
from streams.catalog.catalog import Catalog
from streams.catalog.embedding import Origin
from streams.catalog.item_encoder import ItemEncoder
from streams.catalog.snapshot import Snapshots
from streams.catalog.topic_index import TopicIndex
from streams.clock import wall_ms
from streams.config import ModelConfig, StreamsConfig
from streams.kafka.consumer import Consumer
from streams.kafka.record import Send
from streams.kafka.topics import Topics
from streams.ranking.arms import Arms
from streams.ranking.context import Queries
from streams.ranking.recommender import Recommender
from streams.runtime.tasks import LONGEST_WAIT_S, Backoff, retry, run_forever
from streams.serving.announcement import follow
from streams.serving.canary import CanaryController
from streams.serving.loaded_model import LoadedModel, fetch, load
from streams.serving.loader import ModelCache
from streams.serving.slots import UNTRAINED, SlotState, SlotWatcher
from streams.telemetry.meter import Meter

log = logging.getLogger(__name__)


class Switcher:
    """Decides which model serves, and keeps the models loaded that may serve soon.

    Parameters
    ----------
    loaded
        The model to start with.
    slots
        The slot to follow; None serves the first model until the process ends.
    open_consumer
        Makes a consumer of a topic, from its earliest record.
    owned
        Returns the partitions of ``shop.items`` that this worker owns now.
    on_withdrawn
        Called with items that are no longer on sale in the serving catalogue, each with its ``shop.items`` partition.

    Attributes
    ----------
    next
        The champion's version while it is being loaded; None when no switch is under way.
    ready
        Set once there is a catalogue to serve from.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        slots: SlotWatcher | None,
        arms: Arms,
        send: Send,
        meter: Meter,
        open_consumer: Callable[[str], Consumer],
        owned: Callable[[], Set[int]],
        on_withdrawn: Callable[[Sequence[tuple[str, int]]], None],
        config: StreamsConfig,
    ) -> None:
        self.current, self.slots, self.arms = loaded, slots, arms
        self.meter, self.config = meter, config
        self.open_consumer, self.owned, self.on_withdrawn = open_consumer, owned, on_withdrawn
        self.topics = Topics(config.topics.prefix)
        self.item_encoder = ItemEncoder(self.catalogues, self.encoders, self.known, send, meter, config)
        self.cache = ModelCache(loaded, self._maintain, config)
        self.canary = CanaryController(self.cache, arms, self._load_failed)
        self.next: str | None = None
        self.ready = asyncio.Event()
        self._switching: asyncio.Task[None] | None = None
        self._standby: str | None = None
        self._standby_until = 0.0
        self._restoring_standby: asyncio.Task[None] | None = None
        self._encoder_before = loaded.encoder.version
        self._announced = asyncio.Event()
        self._versions: tuple[str, ...] = (loaded.version,)
        self._failed: list[str] = []
        self._unread = set[str]()
        self._untrained = WeakKeyDictionary[Catalog, Scorer]()
        arms.fallbacks, arms.on_failing = self._fallbacks, self._on_failing

    async def run(self) -> None:
        """Serve, and follow the slots, until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            await self._begin(group)
            self.ready.set()
            if self.config.model.holdback_share:
                group.create_task(self.canary.hold_back(self.config.model))
            if self.slots is not None:
                group.create_task(run_forever(self._listen(self.slots.slot), "listening for models"))
                group.create_task(run_forever(self._tidy(), "letting go of models"))
                await self._follow(self.slots)

    @property
    def failing(self) -> str | None:
        """The champion's version if it cannot serve: it was refused, cannot be read now, or failed at shelves. Else
        None."""
        wanted = self.slots.changes.version if self.slots is not None else self._versions[0]
        if wanted in self._failed or wanted in self._unread - self.cache.held.keys():
            return wanted
        return wanted if wanted not in (self.current.version, self.next) else None

    def catalogues(self) -> Sequence[Catalog]:
        """The loaded catalogues, the serving one first."""
        return list(dict.fromkeys([self.current.catalogue, *self.cache.catalogues]))

    def encoders(self) -> Iterable[str]:
        """All encoder versions that the embeddings topic may hold items for."""
        topic_index = self.cache.maintenance(self.current).topic_index
        return {*topic_index.encoders(), *(catalogue.encoder.version for catalogue in self.catalogues())}

    def known(self, item_id: str) -> Origin | None:
        """The latest state of an item on the embeddings topic."""
        return self.serving()[1].known(item_id)

    def serving(self) -> tuple[Catalog, TopicIndex]:
        """The serving catalogue, and its index of the topic."""
        return self.current.catalogue, self.cache.maintenance(self.current).topic_index

    def report(self) -> None:
        """Write the serving model, the progress of a switch and the challenger into the meter."""
        challenger = self.canary.challenger
        self.meter.labels = {
            "model": self.current.name,
            "next": "" if self.next is None else self._name(self.next),
            "challenger": "" if challenger is None else challenger.version,
        }
        failing = self.failing
        if failing is not None:
            self.meter.labels["model_failing"] = self._name(failing)
        self.meter.gauges |= {
            "model_failing": float(failing is not None),
            "items": float(len(self.current.catalogue)),
            "item_bytes": float(self.current.catalogue.item_store.nbytes),
            "items_behind": float(self.cache.maintenance(self.current).topic_index.behind),
            "switch_progress": 1.0 if self.next is None else self.cache.progress(self.next),
            "catalogues": float(self.cache.alive),
            "challenger_ready": float(self.canary.ready),
            "challenger_share": self.canary.share,
        }

    def _maintain(self, catalogue: Catalog, background: bool) -> CatalogMaintenance:
        config = self.config.catalogue
        of = f"{self.topics.embeddings} of {self.config.kafka.bootstrap_servers}"
        maintenance = CatalogMaintenance(
            catalogue,
            partial(self.open_consumer, self.topics.embeddings),
            self.item_encoder,
            self.owned,
            background,
            Snapshots(Path(config.folder), catalogue.encoder.version, of) if config.folder else None,
            config,
        )
        maintenance.follower.on_withdrawn = partial(self._withdrawn, catalogue)
        return maintenance

    def _withdrawn(self, catalogue: Catalog, items: Sequence[tuple[str, int]]) -> None:
        if catalogue is self.current.catalogue:
            self.on_withdrawn(items)

    async def _begin(self, group: asyncio.TaskGroup) -> None:
        self.cache.start(group)
        maintenance = self.cache.maintenance(self.current)
        await maintenance.follower.ready.wait()
        if not maintenance.topic_index.complete:
            await self._serve_previous()
        self.cache.warm.add(self.current.version)

    async def _serve_previous(self) -> None:
        """At the start, if not all items are encoded for the champion: serve the version before it meanwhile, if more
        items are encoded for that one."""
        champion = self.current
        topic_index = self.cache.maintenance(champion).topic_index
        log.warning(
            "%d of %d items are not encoded for %s yet: they are encoded in the background",
            topic_index.behind,
            len(topic_index),
            champion.name,
        )
        try:
            version = None if self.slots is None else await asyncio.to_thread(self.slots.before, champion.version)
            loaded = champion if version is None else await self.cache.load(version)
        except Exception as error:
            self._load_failed("the version before", error)
            return
        if topic_index.held(loaded.encoder.version) <= topic_index.held(topic_index.encoder):
            return
        maintenance = self.cache.maintenance(loaded)
        maintenance.follower.background = False  # nobody is served yet
        await maintenance.follower.ready.wait()
        self._serve(loaded)
        log.warning("%s serves meanwhile: %d items", loaded.name, len(loaded.catalogue))
        self._change(champion.version)

    async def _listen(self, slot: str) -> None:
        async for name, _ in follow(partial(self.open_consumer, self.topics.models), self.meter):
            if name in (slot, CHALLENGER):
                self._announced.set()

    async def _follow(self, slots: SlotWatcher) -> None:
        failed, first = False, True
        while True:
            try:
                state = await asyncio.to_thread(slots.read)
            except Exception as error:  # an object store's client raises errors of its own
                if not failed:  # logged once, not every few seconds
                    log.error("the champion's slot cannot be read, %s goes on: %s", self.current.name, error)
                failed = True
            else:
                failed = False
                self._take(state, slots.changes.update(state.champion))
                if first:
                    self._restore_standby(state)
                first = False
            with suppress(TimeoutError):
                async with asyncio.timeout(self.config.model.watch_s):
                    await self._announced.wait()
            self._announced.clear()

    def _take(self, state: SlotState, changed: bool) -> None:
        """Apply the state of the slots."""
        self.canary.update(state.challenger, self._group)
        if state.champion is None:
            return
        self._versions = (state.champion, *state.before)
        if changed:
            self._failed.clear()
            self._unread.clear()
            self._change(state.champion)

    def _change(self, version: str) -> None:
        if self._switching is not None:
            self._switching.cancel()
        self._switching = self.next = None
        if version == self.current.version:
            log.warning("%s is the champion again and continues", self.current.name)
        elif version in self.cache.warm:
            self._replace(self.cache.held[version])
        else:
            log.warning("%s is the champion: making it ready", self._name(version))
            self.next = version
            self._switching = self._group.create_task(self._switch())

    async def _switch(self) -> None:
        """Serve the best version that can be loaded. A version that cannot be read now is tried again until it serves,
        or the slot changes."""
        backoff, unread = Backoff(LONGEST_WAIT_S), set[str]()
        while choices := self._choices():
            version = self.next = next((one for one in choices if one not in unread), None)
            if version is None:
                await asyncio.sleep(backoff.next())
                unread.clear()
                continue
            try:
                loaded = await self.cache.ready(version)
            except Exception as error:
                if self._load_failed(version, error):
                    unread.add(version)
                else:
                    self._failed.append(version)
            else:
                self._replace(loaded)
        self.next = None

    def _choices(self) -> list[str]:
        """Versions to try, the best first: the champion, then the versions before it that are newer than the serving
        one. If the serving version fails, the champion and all versions before it."""
        order, serving = list(dict.fromkeys((*self._versions, UNTRAINED))), self.current.version
        if serving not in self._failed:
            order = order[: order.index(serving) if serving in order else 1]
        return [version for version in order if version not in self._failed]

    def _replace(self, loaded: LoadedModel) -> None:
        """Switch to a loaded model; the one before stays loaded for a while."""
        before = self.current
        self._serve(loaded)
        # A failing version is not kept.
        self._set_standby(None if before.version in self._failed else before.version, self.config.model.standby_s)
        if loaded.catalogue is not before.catalogue:
            self._encoder_before = before.encoder.version
        self.meter.count("model.switched")
        log.warning("%s serves in place of %s: %d items", loaded.name, before.name, len(loaded.catalogue))

    def _serve(self, loaded: LoadedModel) -> None:
        """Switch on the event loop, so between two batches."""
        self.cache.maintenance(self.current).follower.background = True
        self.cache.maintenance(loaded).follower.background = False
        loaded.catalogue.commit()
        self.arms.serve(loaded.catalogue, loaded.scorer, loaded.queries, loaded.feeds, wall_ms())
        self.current = loaded

    def _fallbacks(self) -> Iterator[Recommender]:
        """Recommenders for shelves that the champion fails at, in this order: the model it replaced, if loaded; the
        untrained head over the champion's encoder; and a constant score, which keeps the candidates' order."""
        champion = self.arms.champion
        before = self.cache.held.get(self._standby) if self._standby is not None else None
        if before is not None and before.version in self.cache.warm and before.version not in self._failed:
            yield self._fallback(before.catalogue, before.scorer, before.queries)
        if champion.catalogue not in self._untrained:
            self._untrained[champion.catalogue] = LateInteractionScorer(
                champion.catalogue.item_store,
                encoder_version=champion.catalogue.encoder.version,
                precision=self.config.model.precision,
            )
        yield self._fallback(champion.catalogue, self._untrained[champion.catalogue], champion.queries)
        yield self._fallback(champion.catalogue, ConstantScorer(), champion.queries)

    def _fallback(self, catalogue: Catalog, scorer: Scorer, queries: Queries) -> Recommender:
        champion = self.arms.champion
        recommender = Recommender(
            catalogue, scorer, champion.trending, champion.config, queries=queries, behaviour=champion.behaviour
        )
        recommender.refresh(wall_ms())
        return recommender

    def _on_failing(self) -> None:
        """Replace the failing version by the one before it, until there is another champion."""
        self.meter.count("model.gave_way")
        self._failed.append(self.current.version)
        log.critical("%s fails at too many shelves: the version before is to serve", self.current.name)
        if self.next is None:  # else a switch is under way already
            if self._switching is not None:  # it waits before the next attempt
                self._switching.cancel()
            self._switching = self._group.create_task(self._switch())

    def _set_standby(self, version: str | None, seconds: float = 0.0) -> None:
        """Keep a version loaded for so many seconds, instead of the previous standby."""
        if self._restoring_standby is not None:
            self._restoring_standby.cancel()
            self._restoring_standby = None
        self._standby, self._standby_until = version, asyncio.get_running_loop().time() + seconds

    def _restore_standby(self, state: SlotState) -> None:
        """After a restart, load the version that was replaced a short while ago."""
        if state.since is None or not state.before or self._standby is not None:
            return
        remaining_s = state.since.timestamp() + self.config.model.standby_s - wall_ms() / 1_000
        if remaining_s > 0 and state.before[0] != self.current.version:
            self._set_standby(state.before[0], remaining_s)
            self._restoring_standby = self._group.create_task(self._load_standby(state.before[0]))

    async def _load_standby(self, version: str) -> None:
        loaded = await retry(partial(self.cache.load, version), partial(self._load_failed, version))
        if loaded is not None:
            topic_index = self.cache.maintenance(self.current).topic_index
            if topic_index.held(loaded.encoder.version) or not len(topic_index):
                self._encoder_before = loaded.encoder.version
                await self.cache.ready(version)
                return
        self._standby = None

    async def _tidy(self) -> None:
        """Free what is no longer needed. The topic keeps the previous encoder's embeddings, for a rollback."""
        while True:
            await asyncio.sleep(self.config.model.watch_s)
            if self._standby_until <= asyncio.get_running_loop().time():
                self._set_standby(None)
            if await self.cache.let_go(self._wanted):
                keep = {self._encoder_before, *(catalogue.encoder.version for catalogue in self.catalogues())}
                await self.cache.maintenance(self.current).tombstones.retire(keep)

    def _wanted(self) -> set[str]:
        challenger = self.canary.challenger.version if self.canary.challenger is not None else None
        named = (self.current.version, self.next, self._standby, challenger, self.canary.held_back)
        return {version for version in named if version is not None}

    def _load_failed(self, version: str, error: Exception) -> bool:
        """Log why a version cannot be loaded; returns whether another attempt may succeed."""
        if not transient(error):
            self._refuse(version, error)
            return False
        if version not in self._unread:  # logged once, not at every attempt
            self._unread.add(version)
            words = "%s cannot be read now, %s goes on and it is tried again: %s"
            log.error(words, self._name(version), self.current.name, one_line(error))
        return True

    def _refuse(self, version: str, error: Exception) -> None:
        self.meter.count("model.refused")
        log.error("%s is refused, %s goes on: %s", self._name(version), self.current.name, one_line(error))

    def _name(self, version: str) -> str:
        return version or self.config.model.weights


def first(model: ModelConfig) -> tuple[LoadedModel, SlotWatcher | None]:
    """The model to start with, and the slot to follow if the settings name one.

    For a slot, the model is its current version or, if that cannot be loaded, the newest version before it that can.
    If there is no version, or none can be loaded, it is the weights that the settings name. If a version could not be
    read now, the slot's state is not marked as seen, so that it is tried again.

    Raises
    ------
    models.store.errors.StoreError, models.weights.WeightsError
        When no version can be loaded; the error is that of the first one tried.
    """
    slots = SlotWatcher.of(ModelStore(model.store), model.version) if model.version else None
    if slots is None:
        return load(fetch(model.version or UNTRAINED, model), model), None
    state = slots.read()
    errors: list[Exception] = []
    for version in dict.fromkeys((state.champion or UNTRAINED, *state.before, UNTRAINED)):
        try:
            loaded = load(fetch(version, model), model)
        except (StoreError, WeightsError, OSError, ValueError, RuntimeError) as error:
            what = "cannot be read now" if transient(error) else "is refused"
            log.error("%s %s: %s", version or model.weights, what, one_line(error))
            errors.append(error)
        else:
            if not any(map(transient, errors)):
                slots.changes.update(state.champion)
            return loaded, slots
    raise errors[0]


def one_line(error: Exception) -> str:
    """The error in one line."""
    words = " ".join(str(error).split())
    return words if isinstance(error, StoreError | WeightsError) else f"{type(error).__name__}: {words}"
