"""Serves the version in charge: follows the store's slots, and changes editions between two batches.

A version whose encoder makes the same of items is loaded and takes over at once. One with another encoder gets a
catalogue of its own, built in the background from what the embeddings topic holds and what workers add to it; it takes
over when that is complete. Until then, and where a version cannot be loaded, what served before goes on. A version
whose files cannot be read now is tried again; one whose files are refused is not. The challenger is loaded in the same
way, and what was replaced stays for a while: either takes over without being loaded. A version that fails while it
serves gives way to the one before.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import suppress
from functools import partial
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
    """Says which edition serves, and holds those that may have to soon.

    Parameters
    ----------
    edition
        The one to begin with.
    charge
        The slot to follow; None serves the first edition for good.
    open_consumer
        Makes a consumer of a topic, from its earliest record.
    owned
        Tells the partitions of ``shop.items`` that are this worker's now.
    left
        Hears of items that are on sale no more in the catalogue that serves, with the partitions that said so.

    Attributes
    ----------
    next
        The version in charge while it is being made ready, None where it serves.
    ready
        Set once a catalogue is there to serve from.
    """

    def __init__(
        self,
        edition: LoadedModel,
        charge: SlotWatcher | None,
        arms: Arms,
        send: Send,
        meter: Meter,
        open_consumer: Callable[[str], Consumer],
        owned: Callable[[], Set[int]],
        left: Callable[[Sequence[tuple[str, int]]], None],
        config: StreamsConfig,
    ) -> None:
        self.edition, self.charge, self.arms = edition, charge, arms
        self.meter, self.config = meter, config
        self.open_consumer, self.owned, self.left = open_consumer, owned, left
        self.topics = Topics(config.topics.prefix)
        self.item_encoder = ItemEncoder(self.catalogues, self.encoders, self.known, send, meter, config)
        self.editions = ModelCache(edition, self._keep_up, config)
        self.trial = CanaryController(self.editions, arms, self._lost)
        self.next: str | None = None
        self.ready = asyncio.Event()
        self._switching: asyncio.Task[None] | None = None
        self._standby: str | None = None
        self._standby_until = 0.0
        self._recalling: asyncio.Task[None] | None = None
        self._encoder_before = edition.encoder.version
        self._told = asyncio.Event()
        self._order: tuple[str, ...] = (edition.version,)
        self._failed: list[str] = []
        self._unread = set[str]()
        self._untrained = WeakKeyDictionary[Catalog, Scorer]()
        arms.spares, arms.give_up = self._spares, self._give_up

    async def run(self) -> None:
        """Serve, and follow the slots, until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            await self._begin(group)
            self.ready.set()
            if self.config.model.holdback_share:
                group.create_task(self.trial.hold_back(self.config.model))
            if self.charge is not None:
                group.create_task(run_forever(self._listen(self.charge.slot), "listening for models"))
                group.create_task(run_forever(self._tidy(), "letting go of models"))
                await self._follow(self.charge)

    @property
    def failing(self) -> str | None:
        """The version in charge where it does not serve because it cannot: it was refused, cannot be read now, or
        failed at shelves."""
        wanted = self.charge.watch.version if self.charge is not None else self._order[0]
        if wanted in self._failed or wanted in self._unread - self.editions.held.keys():
            return wanted
        return wanted if wanted not in (self.edition.version, self.next) else None

    def catalogues(self) -> Sequence[Catalog]:
        """Those that are held now, the serving one first."""
        return list(dict.fromkeys([self.edition.catalogue, *self.editions.catalogues]))

    def encoders(self) -> Iterable[str]:
        """All encoder versions that the topic may hold an item for."""
        ledger = self.editions.upkeep(self.edition).ledger
        return {*ledger.encoders(), *(catalogue.encoder.version for catalogue in self.catalogues())}

    def known(self, item_id: str) -> Origin | None:
        """The latest that the embeddings topic holds of an item."""
        return self.serving()[1].known(item_id)

    def serving(self) -> tuple[Catalog, TopicIndex]:
        """The catalogue that serves, and what its topic holds."""
        return self.edition.catalogue, self.editions.upkeep(self.edition).ledger

    def report(self) -> None:
        """Put into the meter what serves, how far the switch is that is under way, and who challenges."""
        challenger = self.trial.challenger
        self.meter.labels = {
            "model": self.edition.name,
            "next": "" if self.next is None else self._name(self.next),
            "challenger": "" if challenger is None else challenger.version,
        }
        failing = self.failing
        if failing is not None:
            self.meter.labels["model_failing"] = self._name(failing)
        self.meter.gauges |= {
            "model_failing": float(failing is not None),
            "items": float(len(self.edition.catalogue)),
            "item_bytes": float(self.edition.catalogue.memory.nbytes),
            "items_behind": float(self.editions.upkeep(self.edition).ledger.behind),
            "switch_progress": 1.0 if self.next is None else self.editions.progress(self.next),
            "catalogues": float(self.editions.alive),
            "challenger_ready": float(self.trial.ready),
            "challenger_share": self.trial.share,
        }

    def _keep_up(self, catalogue: Catalog, beside: bool) -> CatalogMaintenance:
        upkeep = CatalogMaintenance(
            catalogue, partial(self.open_consumer, self.topics.embeddings), self.item_encoder, self.owned, beside
        )
        upkeep.follower.left = partial(self._left, catalogue)
        return upkeep

    def _left(self, catalogue: Catalog, items: Sequence[tuple[str, int]]) -> None:
        if catalogue is self.edition.catalogue:
            self.left(items)

    async def _begin(self, group: asyncio.TaskGroup) -> None:
        self.editions.start(group)
        upkeep = self.editions.upkeep(self.edition)
        await upkeep.follower.ready.wait()
        if not upkeep.ledger.complete:
            await self._stand_in()
        self.editions.warm.add(self.edition.version)

    async def _stand_in(self) -> None:
        """At the start, when not all items are encoded for the version in charge: serve the one before meanwhile,
        where its encoder's items are there."""
        champion = self.edition
        ledger = self.editions.upkeep(champion).ledger
        log.warning(
            "%d of %d items are not encoded for %s yet: that is done in the background",
            ledger.behind,
            len(ledger),
            champion.name,
        )
        try:
            version = None if self.charge is None else await asyncio.to_thread(self.charge.before, champion.version)
            edition = champion if version is None else await self.editions.load(version)
        except Exception as error:
            self._refuse("the version before", error)
            return
        if ledger.held(edition.encoder.version) <= ledger.held(ledger.encoder):
            return
        upkeep = self.editions.upkeep(edition)
        upkeep.follower.beside = False  # nobody is served yet
        await upkeep.follower.ready.wait()
        self._serve(edition)
        log.warning("%s serves meanwhile: %d items", edition.name, len(edition.catalogue))
        self._change(champion.version)

    async def _listen(self, slot: str) -> None:
        async for name, _ in follow(partial(self.open_consumer, self.topics.models), self.meter):
            if name in (slot, CHALLENGER):
                self._told.set()

    async def _follow(self, charge: SlotWatcher) -> None:
        failed, first = False, True
        while True:
            try:
                standing = await asyncio.to_thread(charge.read)
            except Exception as error:  # an object store's client raises errors of its own
                if not failed:  # said once, not every few seconds
                    log.error("which version is in charge cannot be read, %s goes on: %s", self.edition.name, error)
                failed = True
            else:
                failed = False
                self._take(standing, charge.watch.update(standing.champion))
                if first:
                    self._recall(standing)
                first = False
            with suppress(TimeoutError):
                async with asyncio.timeout(self.config.model.watch_s):
                    await self._told.wait()
            self._told.clear()

    def _take(self, standing: SlotState, changed: bool) -> None:
        """Do what the slots say: all at once, where what they name is there."""
        self.trial.update(standing.challenger, self._group)
        if standing.champion is None:
            return
        self._order = (standing.champion, *standing.before)
        if changed:
            self._failed.clear()
            self._unread.clear()
            self._change(standing.champion)

    def _change(self, version: str) -> None:
        if self._switching is not None:
            self._switching.cancel()
        self._switching = self.next = None
        if version == self.edition.version:
            log.warning("%s is in charge again and goes on", self.edition.name)
        elif version in self.editions.warm:
            self._replace(self.editions.held[version])
        else:
            log.warning("%s is in charge: making it ready", self._name(version))
            self.next = version
            self._switching = self._group.create_task(self._switch())

    async def _switch(self) -> None:
        """Let the best version serve that can be loaded; what cannot be read now is tried again until it serves, or
        the slot says otherwise."""
        backoff, unread = Backoff(LONGEST_WAIT_S), set[str]()
        while choices := self._choices():
            version = self.next = next((one for one in choices if one not in unread), None)
            if version is None:
                await asyncio.sleep(backoff.next())
                unread.clear()
                continue
            try:
                edition = await self.editions.ready(version)
            except Exception as error:
                if self._lost(version, error):
                    unread.add(version)
                else:
                    self._failed.append(version)
            else:
                self._replace(edition)
        self.next = None

    def _choices(self) -> list[str]:
        """Versions to be tried, the best first: the one in charge and, where what serves fails or is one of those
        before it, the newer ones of these."""
        order, serving = list(dict.fromkeys((*self._order, UNTRAINED))), self.edition.version
        if serving not in self._failed:
            order = order[: order.index(serving) if serving in order else 1]
        return [version for version in order if version not in self._failed]

    def _replace(self, edition: LoadedModel) -> None:
        """Let an edition take over; the one before stays for a while."""
        before = self.edition
        self._serve(edition)
        # What fails need not be held.
        self._stand_by(None if before.version in self._failed else before.version, self.config.model.standby_s)
        if edition.catalogue is not before.catalogue:
            self._encoder_before = before.encoder.version
        self.meter.count("model.switched")
        log.warning("%s serves in place of %s: %d items", edition.name, before.name, len(edition.catalogue))

    def _serve(self, edition: LoadedModel) -> None:
        """On the event loop, so between two batches."""
        self.editions.upkeep(self.edition).follower.beside = True
        self.editions.upkeep(edition).follower.beside = False
        edition.catalogue.commit()
        self.arms.serve(edition.catalogue, edition.scorer, edition.queries, wall_ms())
        self.edition = edition

    def _spares(self) -> Iterator[Recommender]:
        """Who makes what the version in charge fails at: the one that it replaced, where that is held; the untrained
        head over its encoder; and, where that reads nothing as it should, the candidates in their own order."""
        usual = self.arms.champion
        before = self.editions.held.get(self._standby) if self._standby is not None else None
        if before is not None and before.version in self.editions.warm and before.version not in self._failed:
            yield self._spare(before.catalogue, before.scorer, before.queries)
        if usual.catalogue not in self._untrained:
            self._untrained[usual.catalogue] = LateInteractionScorer(
                usual.catalogue.memory,
                encoder_version=usual.catalogue.encoder.version,
                precision=self.config.model.precision,
            )
        yield self._spare(usual.catalogue, self._untrained[usual.catalogue], usual.queries)
        yield self._spare(usual.catalogue, ConstantScorer(), usual.queries)

    def _spare(self, catalogue: Catalog, scorer: Scorer, queries: Queries) -> Recommender:
        usual = self.arms.champion
        made = Recommender(catalogue, scorer, usual.trending, usual.config, queries=queries)
        made.refresh(wall_ms())
        return made

    def _give_up(self) -> None:
        """Let the version before serve in place of the one that fails, until another is in charge."""
        self.meter.count("model.gave_way")
        self._failed.append(self.edition.version)
        log.critical("%s fails at too many shelves: the version before is to serve", self.edition.name)
        if self.next is None:  # else another one is on its way already
            if self._switching is not None:  # it waits to try again
                self._switching.cancel()
            self._switching = self._group.create_task(self._switch())

    def _stand_by(self, version: str | None, seconds: float = 0.0) -> None:
        """Hold a version so long, in place of the one before."""
        if self._recalling is not None:
            self._recalling.cancel()
            self._recalling = None
        self._standby, self._standby_until = version, asyncio.get_running_loop().time() + seconds

    def _recall(self, standing: SlotState) -> None:
        """After a restart: what was replaced a short while ago is held again."""
        if standing.since is None or not standing.before or self._standby is not None:
            return
        left = standing.since.timestamp() + self.config.model.standby_s - wall_ms() / 1_000
        if left > 0 and standing.before[0] != self.edition.version:
            self._stand_by(standing.before[0], left)
            self._recalling = self._group.create_task(self._load_again(standing.before[0]))

    async def _load_again(self, version: str) -> None:
        edition = await retry(partial(self.editions.load, version), partial(self._lost, version))
        if edition is not None:
            ledger = self.editions.upkeep(self.edition).ledger
            if ledger.held(edition.encoder.version) or not len(ledger):
                self._encoder_before = edition.encoder.version
                await self.editions.ready(version)
                return
        self._standby = None

    async def _tidy(self) -> None:
        """Let go of what nobody needs any more. The topic keeps what the encoder before made, for a rollback."""
        while True:
            await asyncio.sleep(self.config.model.watch_s)
            if self._standby_until <= asyncio.get_running_loop().time():
                self._stand_by(None)
            if await self.editions.let_go(self._wanted):
                keep = {self._encoder_before, *(catalogue.encoder.version for catalogue in self.catalogues())}
                await self.editions.upkeep(self.edition).sweeper.retire(keep)

    def _wanted(self) -> set[str]:
        challenger = self.trial.challenger.version if self.trial.challenger is not None else None
        named = (self.edition.version, self.next, self._standby, challenger, self.trial.held_back)
        return {version for version in named if version is not None}

    def _lost(self, version: str, error: Exception) -> bool:
        """Say why a version cannot be loaded; returns whether it may be later."""
        if not transient(error):
            self._refuse(version, error)
            return False
        if version not in self._unread:  # said once, not at every try
            self._unread.add(version)
            words = "%s cannot be read now, %s goes on and it is tried again: %s"
            log.error(words, self._name(version), self.edition.name, told(error))
        return True

    def _refuse(self, version: str, error: Exception) -> None:
        self.meter.count("model.refused")
        log.error("%s is refused, %s goes on: %s", self._name(version), self.edition.name, told(error))

    def _name(self, version: str) -> str:
        return version or self.config.model.weights


def first(model: ModelConfig) -> tuple[LoadedModel, SlotWatcher | None]:
    """The edition to begin with, and the slot to follow where the settings name one.

    Of a slot it is the version in charge or, where that cannot be loaded, the newest before it that can. Before the
    first one, as after all of them, come the weights of the settings. Where one could not be read now, the slot is left
    unseen, so that who follows it tries again.

    Raises
    ------
    models.store.errors.StoreError, models.weights.WeightsError
        When there is none to begin with, as the first that was tried says.
    """
    charge = SlotWatcher.of(ModelStore(model.store), model.version) if model.version else None
    if charge is None:
        return load(fetch(model.version or UNTRAINED, model), model), None
    standing = charge.read()
    lost: list[Exception] = []
    for version in dict.fromkeys((standing.champion or UNTRAINED, *standing.before, UNTRAINED)):
        try:
            edition = load(fetch(version, model), model)
        except (StoreError, WeightsError, OSError, ValueError, RuntimeError) as error:
            what = "cannot be read now" if transient(error) else "is refused"
            log.error("%s %s: %s", version or model.weights, what, told(error))
            lost.append(error)
        else:
            if not any(map(transient, lost)):
                charge.watch.update(standing.champion)
            return edition, charge
    raise lost[0]


def told(error: Exception) -> str:
    """What went wrong, in one line."""
    words = " ".join(str(error).split())
    return words if isinstance(error, StoreError | WeightsError) else f"{type(error).__name__}: {words}"
