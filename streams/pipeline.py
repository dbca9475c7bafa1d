"""Processes a micro-batch, from the bytes read to acknowledged shelves.

Decodes events, updates the shoppers' past and ranks; then, while the next batch may come, publishes and writes shelves
and dead-letters the invalid events; then a shadow may run. When ``process`` returns, Redis has the shoppers' past. When
the awaitables that it returns are done, Kafka and Redis have everything, and the batch's offsets may be committed. If
either raises, they may not be committed; processing the batch again is harmless. Knows Redis through ``StateStore`` and
Kafka through ``Send``; nothing of Faust.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from streams.batch import Batch, Placement, Recent, page_for_all, rank_requests
from streams.clock import StreamClock, wall_ms
from streams.config import StreamsConfig
from streams.events import receipt
from streams.events.bots import Bots, Pages
from streams.events.decode import Refusal
from streams.events.shelf import ShelfRecord, encoded, fitted
from streams.kafka.dead_letters import DeadLetterWriter
from streams.kafka.errors import KAFKA_ERRORS
from streams.kafka.record import Record, Send, Sent, place
from streams.kafka.topics import Topics
from streams.ranking.arms import Arms
from streams.ranking.live_behaviour import LiveBehaviour
from streams.ranking.recommender import RankRequest, anchors, remembered_items
from streams.ranking.renewals import renewals
from streams.redis import connection
from streams.redis.identity import Identity, logins
from streams.redis.store import StateStore
from streams.telemetry.meter import Meter

log = logging.getLogger(__name__)

BOTS_KEPT = 100_000
TOP = 10

KEY_AND_OVERHEAD = 8_192
"""The most bytes that a shelf's record has besides its value: its key is an id or the shelf's key."""


@dataclass(slots=True)
class _Made:
    """A batch, and the shelves made for it that are not written yet."""

    records: Sequence[Record]
    batch: Batch
    now_ms: int
    requests: Sequence[RankRequest] = ()
    together: Mapping[str, Sequence[str]] = field(default_factory=dict)
    shelves: Sequence[ShelfRecord] = ()
    stages: dict[str, float] = field(default_factory=dict)


class Pipeline:
    """Processes batches: while the shelves of one are written, the past of the next one's shoppers is updated."""

    def __init__(self, arms: Arms, store: StateStore, send: Send, meter: Meter, config: StreamsConfig) -> None:
        self.arms, self.store, self.send = arms, store, send
        self.meter, self.config = meter, config
        self.topics = Topics(config.topics.prefix)
        self.identity = Identity(store)
        self._dead_letters = DeadLetterWriter(send, config.topics)
        self._pages, self._bots, self.clock = Pages(), Bots(config.bots, BOTS_KEPT), StreamClock()
        self._told, self._placement, self._misplaced = set[str](), Placement(), False
        self._tires = "fatigue" in config.policy.steps and config.policy.fatigue > 0
        self._similar = Recent(config.shelf.similar_refresh_s * 1000)
        self._writing: asyncio.Task[None] | None = None
        self.behaviour = LiveBehaviour(store, arms.champion.behaviour, config.state)

    async def process(self, records: Sequence[Record]) -> Sent:
        """Process a batch: its results are in Redis and in Kafka once the returned awaitables are done.

        Called again before they are done, it makes the next batch's shelves once the last one's are written. If a batch
        raises, its records are processed one by one, and a record that raises alone is dead-lettered. So one bad event
        never stops the stream.
        """
        try:
            made = await self._make(records)
        except (*KAFKA_ERRORS, OSError, *connection.ERRORS):
            raise  # not the events' fault: nothing may be committed
        except Exception as error:
            await self._written()  # whose shelves are older
            await self._apart(records, error)
            return []
        await self._written()
        self._writing = asyncio.create_task(self._write_or_apart(made))
        return [self._writing]

    async def _written(self) -> None:
        """Wait for the last batch's shelves, unless this is the task that writes them, as it is where that batch's
        records are taken one by one. Who awaits its results learns whether that failed."""
        if self._writing is not None and self._writing is not asyncio.current_task():
            await asyncio.wait([self._writing])

    async def _write_or_apart(self, made: _Made) -> None:
        try:
            await self._complete(made)
        except (*KAFKA_ERRORS, OSError, *connection.ERRORS):
            raise
        except Exception as error:
            await self._apart(made.records, error)

    async def _apart(self, records: Sequence[Record], error: Exception) -> None:
        """Process the records of a batch that raised one by one; one that raised alone goes to the dead letters."""
        if len(records) == 1:
            log.error("an event broke the pipeline and goes to the dead letters", exc_info=error)
            self.meter.count("refused")
            await self._refuse([(records[0], Refusal("internal", f"{type(error).__name__}: {error}"))])
            return
        log.error("a batch of %d broke: taking its events one by one", len(records), exc_info=error)
        for record in records:
            try:
                await self._complete(await self._make([record], retrying=True))
            except (*KAFKA_ERRORS, OSError, *connection.ERRORS):
                raise
            except Exception as alone:
                await self._apart([record], alone)

    async def _make(self, records: Sequence[Record], retrying: bool = False) -> _Made:
        """Remember a batch's events and make its shelves.

        Parameters
        ----------
        retrying
            Whether the record is from a batch that raised.
        """
        now = wall_ms()
        clock = time.perf_counter()
        batch = Batch.of(records, now, self.config.events)
        made = _Made(records, batch, now)
        self._check_placement(batch, retrying)
        bots = self._marked(batch, retrying, now)
        await self._forget(batch)
        if batch.profiles:
            await self.identity.update_profiles(batch.profiles)
        if batch.seen and self._tires:
            await self.identity.see(batch.seen)
        logged_in = logins(batch.events)
        if batch.by_shopper or logged_in:
            recent = self.config.worker.recent_items
            shoppers, uncounted = await self.identity.remember(batch.by_shopper, logged_in, recent, bots)
            ignored = batch.drop_forgotten(shoppers)
            if not retrying:
                self.meter.count("events.forgotten", ignored)
                self.meter.count("acts.late", uncounted.late)
                self.meter.count("acts.beyond", uncounted.beyond)
            made.requests = rank_requests(batch, shoppers, self._similar, now)
            made.together = await self.together(made.requests, now)
            made.stages = {"state": (time.perf_counter() - clock) * 1000}
            if not retrying:
                await self._written()  # else they would wait while these shelves are computed
            result = self.arms.recommend(made.requests, made.together, now)
            made.shelves = result.records
            made.stages |= result.stages
        return made

    async def _complete(self, made: _Made) -> None:
        """Write a batch's shelves and dead letters, and count it."""
        clock, records, batch = time.perf_counter(), made.records, made.batch
        if made.shelves:
            await self._put(made)
            made.stages["write"] = (time.perf_counter() - clock) * 1000
        for stage, spent in made.stages.items():
            self.meter.time(stage, spent, len(records))
        done = wall_ms()
        self.meter.times("queue", (made.now_ms - record.timestamp_ms for record in records))
        self.meter.times("end_to_end", (done - record.timestamp_ms for record in records))
        self.meter.times("end_to_end.search", (done - record.timestamp_ms for record in batch.searches))
        self.meter.count("events", len(batch.events))
        self.meter.count("refused", len(batch.refused))
        self.meter.count("events.converted", batch.notes.counts.total())
        for sentence in batch.notes.news(self._told):
            log.warning("events: %s", sentence)
        self.meter.count("batches")
        self.meter.count("filters.malformed", sum(one.malformed for one in batch.filters.values()))
        if len(records) < self.config.worker.batch_events:  # else the next batch waits already
            self.arms.shadow(made.requests, made.together, made.now_ms)
        # Last, since a batch that raises is processed again one by one: each dead letter is sent once.
        await self._refuse(batch.refused)

    async def _put(self, made: _Made) -> None:
        shared = [
            page_for_all(request.filter) if request.surface == "popular" else request.item_id
            for request in made.requests
            if request.surface in ("popular", "similar")
        ]
        for name in filter(None, shared):  # now, so that the next batch does not make them again
            self._similar.done(name, made.now_ms)
        try:
            await self.write(made.shelves, renewals(made.requests) if self.config.shelf.renewed_s else {})
        except BaseException:
            for name in filter(None, shared):
                self._similar.failed(name)
            raise

    async def _forget(self, batch: Batch) -> None:
        """Forget shoppers before the batch's other events are remembered: those up to its time are then ignored. And
        after the last batch's shelves are written, which may be theirs."""
        if batch.forgets:
            await self._written()
        for event in batch.forgets:
            told = await self.identity.forget(event)
            log.info("forgotten: %s", receipt.encoder.encode(told).decode())
            refused = await self.send(
                self.topics.forgotten, event.shopper.encode("utf-8", "replace"), receipt.encoder.encode(told)
            )
            if refused is not None:
                raise ValueError(f"the receipt of a shopper that was forgotten is not on Kafka: {refused}")
            self.meter.count("forgotten")

    async def together(self, requests: Sequence[RankRequest], now_ms: int) -> dict[str, list[str]]:
        """Items seen together with those that requests are about, as far as known."""
        items = self.behaviour.behaviour.items
        await self.behaviour.read((item for one in requests for item in remembered_items(one, items)), now_ms)
        wanted = {item for one in requests for item in anchors(one)}
        return self.behaviour.together(wanted, self.config.candidates.together)

    async def write(self, records: Sequence[ShelfRecord], renewals: Mapping[str, int] = MappingProxyType({})) -> None:
        """Write shelves to Kafka, then to Redis. Empty shelves are not written, so that a frontend falls back and shows
        no empty page; but one under a filter is written to Redis, since nothing is what matches.

        Every shelf that a shopper can see is on the topic. A worker that dies between the two writes may never make the
        same shelf again, since its event is then processed together with newer ones. A shelf that Kafka refuses is not
        written to Redis. ``renewals`` is when shoppers' feeds are to be made again, epoch ms.
        """
        limits = self.config.topics.max_message_bytes - KEY_AND_OVERHEAD, self.config.shelf.max_bytes
        made = [encoded(record, *limits) for record in records if record.shelf.items]
        full = [one for one in made if one.record.shelf.items]
        refused = await asyncio.gather(
            *(
                self.send(
                    self.topics.shelves, (one.record.shopper or one.record.key).encode("utf-8", "replace"), one.value
                )
                for one in full
            )
        )
        pairs = [(one.record, one.shelf) for one, why in zip(full, refused, strict=True) if why is None]
        empty = [record for record in records if not record.shelf.items and record.filter is not None]
        pairs += [(record, fitted(record.shelf, limits[1])) for record in empty]
        taken = [record for record, _ in pairs]
        values = [(record.key, value, record.shelf.event_ts) for record, value in pairs]
        shown = [[item.item_id for item in record.shelf.items] for record in taken]
        lives = {record.key: self.config.shelf.filtered_ttl_s for record in taken if record.filter is not None}
        await self.store.limit_filtered(
            [(record.shopper, record.key) for record in taken if record.filter is not None and record.shopper],
            self.config.shelf.filtered,
            self.config.shelf.filtered_ttl_s,
        )
        written = await self.store.put(values, self.config.shelf.ttl_s, shown, lives, renewals)
        self.meter.count("shelves", sum(written))
        self.meter.count("shelves.stale", len(taken) - sum(written))
        self.meter.count("shelves.empty", len(records) - len(full) - len(empty))
        self.meter.count("filters.empty", len(empty))
        self._count_sources(taken)
        self.meter.count("shelf_bytes", sum(len(value) for _, value, _ in values))

    def _count_sources(self, records: Sequence[ShelfRecord]) -> None:
        """Count the top items that each candidate source found: ``top.vector`` of ``top``, and so on."""
        found = Counter(sources for record in records for sources in record.sources[:TOP])
        for sources, count in found.items():
            self.meter.count("top", count)
            for source in sources.split("+"):
                self.meter.count(f"top.{source}", count)

    def _check_placement(self, batch: Batch, retrying: bool) -> None:
        """Count the events that do not lie with their shopper's others, each once; log the first."""
        for record, event in zip(batch.records, batch.events, strict=True) if not retrying else ():
            why = self._placement.update(record, event)
            if why is None:
                continue
            self.meter.count("events.misplaced")
            if not self._misplaced:
                self._misplaced = True
                log.warning(
                    "an event at %s does not lie with its shopper's others: %s. It is taken, but where a shopper's "
                    "events are in several partitions, their order is lost, and clicks are not joined with what was "
                    "shown. Key each event by its user_id, else its session_id, and use one partitioner in all "
                    "producers, or send them through liveshelf repartition (docs/events.md). Further ones are only "
                    "counted, as events.misplaced",
                    place([record]),
                    why,
                )

    def _marked(self, batch: Batch, retrying: bool, now: int) -> set[str]:
        """The shoppers of a batch that this worker has marked as bots; each event counts once."""
        for event in batch.events if not retrying else ():
            for shopper, page in self._pages.update(event):
                self._bots.update(shopper, page)
            self.clock.update(event.time_ms, now)
        self._bots.forget(self.clock.newest_ms)
        self.meter.gauges["bots"] = float(self._bots.marked().total())
        return {shopper for shopper in batch.by_shopper if self._bots.get(shopper)}

    async def _refuse(self, refused: Sequence[tuple[Record, Refusal]]) -> None:
        await asyncio.gather(*(self._dead_letters(record, refusal) for record, refusal in refused))
