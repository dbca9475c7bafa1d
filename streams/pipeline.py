"""Processes a micro-batch, from the bytes read to acknowledged shelves.

Decodes events, dead-letters the invalid ones, updates the shoppers' past, ranks, publishes and writes shelves; then a
shadow may run. When ``process`` returns, Redis has everything, and Kafka has all shelves. When the awaitables that it
returns are done, Kafka has the dead letters too, and the batch's offsets may be committed. If either raises, they may
not be committed; processing the batch again is harmless. Knows Redis through ``StateStore`` and Kafka through ``Send``;
nothing of Faust.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from streams.batch import Batch, Placement, Recent, page_for_all, rank_requests
from streams.clock import StreamClock, wall_ms
from streams.config import StreamsConfig
from streams.events import receipt
from streams.events.bots import Bots, Pages
from streams.events.decode import Refusal
from streams.events.shelf import ShelfRecord, bounded, encoder, fitted
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


class Pipeline:
    """Processes batches, one at a time."""

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
        self.behaviour = LiveBehaviour(store, arms.champion.behaviour, config.state)

    async def process(self, records: Sequence[Record], retrying: bool = False) -> Sent:
        """Process a batch: its results are in Redis on return, and in Kafka once the returned awaitables are done.

        If a batch raises, its records are processed one by one, and a record that raises alone is dead-lettered. So one
        bad event never stops the stream.

        Parameters
        ----------
        retrying
            Whether the record is from a batch that raised.
        """
        try:
            return await self._process(records, retrying)
        except (*KAFKA_ERRORS, OSError, *connection.ERRORS):
            raise  # not the events' fault: nothing may be committed
        except Exception as error:
            if len(records) == 1:
                log.exception("an event broke the pipeline and goes to the dead letters")
                self.meter.count("refused")
                return self._refuse([(records[0], Refusal("internal", f"{type(error).__name__}: {error}"))])
            log.exception("a batch of %d broke: taking its events one by one", len(records))
            return [sent for record in records for sent in await self.process([record], retrying=True)]

    async def _process(self, records: Sequence[Record], retrying: bool) -> Sent:
        now = wall_ms()
        clock = time.perf_counter()
        batch = Batch.of(records, now, self.config.events)
        requests: list[RankRequest] = []
        together: dict[str, list[str]] = {}
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
            requests = rank_requests(batch, shoppers, self._similar, now)
            together = await self.together(requests, now)
            stages = {"state": (time.perf_counter() - clock) * 1000}
            result = self.arms.recommend(requests, together, now)
            clock = time.perf_counter()
            await self.write(result.records, renewals(requests) if self.config.shelf.renewed_s else {})
            for request in requests:
                if request.surface == "similar" and request.item_id is not None:
                    self._similar.done(request.item_id, now)
                elif request.surface == "popular":
                    self._similar.done(page_for_all(request.filter), now)
            stages |= {**result.stages, "write": (time.perf_counter() - clock) * 1000}
            for stage, spent in stages.items():
                self.meter.time(stage, spent, len(records))
        done = wall_ms()
        for record in records:
            self.meter.time("queue", now - record.timestamp_ms)
            self.meter.time("end_to_end", done - record.timestamp_ms)
        for record in batch.searches:
            self.meter.time("end_to_end.search", done - record.timestamp_ms)
        self.meter.count("events", len(batch.events))
        self.meter.count("refused", len(batch.refused))
        self.meter.count("events.converted", batch.notes.counts.total())
        for sentence in batch.notes.news(self._told):
            log.warning("events: %s", sentence)
        self.meter.count("batches")
        self.meter.count("filters.malformed", sum(one.malformed for one in batch.filters.values()))
        if len(records) < self.config.worker.batch_events:  # else the next batch waits already
            self.arms.shadow(requests, together, now)
        # Last, since a batch that raises is processed again one by one: each dead letter is sent once and awaited.
        return self._refuse(batch.refused)

    async def _forget(self, batch: Batch) -> None:
        """Forget shoppers before the batch's other events are remembered: those up to its time are then ignored."""
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
        limit = self.config.topics.max_message_bytes - KEY_AND_OVERHEAD
        full = [fit for record in records if (fit := bounded(record, limit)).shelf.items]
        refused = await asyncio.gather(
            *(
                self.send(self.topics.shelves, (one.shopper or one.key).encode("utf-8", "replace"), encoder.encode(one))
                for one in full
            )
        )
        taken = [record for record, why in zip(full, refused, strict=True) if why is None]
        empty = [record for record in records if not record.shelf.items and record.filter is not None]
        taken += empty
        limit = self.config.shelf.max_bytes
        values = [(record.key, fitted(record.shelf, limit), record.shelf.event_ts) for record in taken]
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
        for record in records:
            for sources in record.sources[:TOP]:
                self.meter.count("top")
                for source in sources.split("+"):
                    self.meter.count(f"top.{source}")

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

    def _refuse(self, refused: Sequence[tuple[Record, Refusal]]) -> Sent:
        return [self._dead_letters(record, refusal) for record, refusal in refused]
