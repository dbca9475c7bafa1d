"""The live join: batches of ``shop.events`` to committed partitions, examples and rates.

When ``process`` returns, Redis has the batch. Once the returned sends are done, Kafka has its examples, and the batch's
offsets may be committed. Events taken before are recognised by their offsets, so to process them again is harmless.
Knows the store through its class and Kafka through ``Send``; nothing of Faust.
"""

import asyncio
import dataclasses
import logging
import math
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from functools import partial

from evaluator.attribution import example
from evaluator.attribution.example import LabelledExample, ShelfContext
from evaluator.attribution.items import Items
from evaluator.attribution.join import JoinWindow
from evaluator.attribution.live_metrics import LiveMetrics
from evaluator.attribution.partition import HOUR_MS, Commit, Partition
from evaluator.attribution.store import JoinStore, OutpacedError
from evaluator.config import EvaluatorConfig
from evaluator.metrics.impression import AttributedImpression
from evaluator.metrics.rates import WINDOWS, RollingRates
from models.store.slots import Slot
from streams.clock import wall_ms
from streams.config import BotsConfig, EventsConfig, StateConfig
from streams.events.bots import REASONS
from streams.events.decode import Refusal, decode_event, refuse
from streams.events.schema import AnyEvent, Touch
from streams.events.shelf import ShelfRecord
from streams.kafka.dead_letters import DeadLetterWriter
from streams.kafka.errors import KAFKA_ERRORS
from streams.kafka.record import Record, Send, Sent
from streams.kafka.topics import Topics
from streams.redis import connection
from streams.redis.retry import RedisRetry
from streams.redis.store import StateStore
from streams.telemetry.meter import Meter, Series

log = logging.getLogger(__name__)

RATE_HOURS = WINDOWS["24h"] // HOUR_MS + 1

LOOK_AGAIN_S = 0.05

INFRASTRUCTURE_ERRORS = (*KAFKA_ERRORS, OSError, OutpacedError, *connection.ERRORS)
"""Errors that events do not cause."""

Numbered = tuple[int, AnyEvent | None]
"""An event with its offset; None for a record that cannot be read."""
Take = Callable[[Partition], list[AttributedImpression]]
ReadAgain = Callable[[int, int, int | None], AsyncGenerator[Sequence[Record]]]
"""Reads a partition's events from an offset up to before another; without the other up to the partition's end."""


class StreamJoin:
    """Keeps the partitions that this process works on.

    Redis may have less than the offset that is committed in Kafka, where a replica took a master's place without its
    last commits. So events between the loaded state and the next batch are read again first.

    Parameters
    ----------
    shelf_partitions
        Number of partitions of the topic of shelves.
    gone
        Whether an offset that was taken once is no longer in its partition, because the topic was recreated.
    read_again
        Reads a partition's events again.
    progress
        Called after each commit. After a pause of a night a batch takes many commits, which must not look like a stall.
    clock
        The time, epoch milliseconds, where no record has one.
    state
        What workers keep: which shoppers were forgotten, and up to when, as what they saw until then gives no example;
        and the click effects that were counted before. Without it nobody was forgotten and nothing was counted.

    Attributes
    ----------
    metrics
        Everything measured of attributed impressions. Rates include those attributed before this process began.
    assigned
        The partitions that are assigned to this process.
    """

    def __init__(
        self,
        store: JoinStore,
        send: Send,
        meter: Meter,
        topics: Topics,
        config: EvaluatorConfig,
        events: EventsConfig,
        items: Items,
        shelf_partitions: int,
        letters: DeadLetterWriter,
        gone: Callable[[int, int], Awaitable[bool]],
        read_again: ReadAgain,
        bots: BotsConfig | None = None,
        progress: Callable[[], None] = lambda: None,
        clock: Callable[[], int] = wall_ms,
        state: StateStore | None = None,
    ) -> None:
        self.store, self.send, self.meter, self.topics = store, send, meter, topics
        self.config, self.events, self.bots = config, events, bots
        self.shelf_partitions, self._letters = shelf_partitions, letters
        self.gone, self.read_again, self._progress = gone, read_again, progress
        self.rules = JoinWindow(int(config.window_s * 1000), int(config.grace_s * 1000))
        self.retry = RedisRetry() if state is None else state.retry  # a pause of either is one of the process
        self.partitions: dict[int, Partition] = {}
        self.metrics = LiveMetrics(
            config, items, (StateConfig() if state is None else state.config).effects_half_life_s
        )
        self.assigned: set[int] = set()
        self._idle: set[int] = set()
        self._slot_known = False
        self._slot: Slot | None = None
        self._began: dict[int, tuple[int, float]] = {}
        self._loading = asyncio.Lock()
        self._last_records: dict[int, float] = {}
        self._measured_until: dict[int, int] = {}
        self._clock, self._state = clock, state
        self._revoked = False

    async def process(self, records: Sequence[Record]) -> Sent:
        """Take a batch of events, of any partitions.

        A batch that raises an exception is taken record by record. A record that raises one alone is dead-lettered and
        counts as no event.
        """
        try:
            return await self._process(records)
        except INFRASTRUCTURE_ERRORS:
            raise  # nothing may be committed
        except Exception as error:
            async with self._loading:
                self._forget()  # what is in memory may be inconsistent
            if len(records) == 1:
                log.exception("an event broke the join and goes to the dead letters")
                return await self._give_up(records[0], error)
            log.exception("a batch of %d broke: taking its events one by one", len(records))
            return [sent for record in records for sent in await self.process([record])]

    async def _process(self, records: Sequence[Record]) -> Sent:
        now = self._clock()
        decoded = [self._decoded(record, now) for record in records]
        events: defaultdict[int, list[Numbered]] = defaultdict(list)
        for record, event in zip(records, decoded, strict=True):
            events[record.partition].append((record.offset, event))
        sent = await self._take(events)
        for record, event in zip(records, decoded, strict=True):
            self.meter.count("refused" if event is None else "events")
            self.meter.time("delay", now - record.timestamp_ms)
            if isinstance(event, Touch):
                self._update_metrics(partial(self.metrics.update_item, event))
        return sent

    async def _take(self, events: Mapping[int, Sequence[Numbered]]) -> Sent:
        sent: Sent = []
        async with self._loading:
            self._idle -= events.keys()  # before the first commit: it moves the monitors
            for number, some in events.items():
                self._last_records[number] = time.monotonic()
                sent += await self._commit(number, lambda partition, some=some: partition.take(some), some[0][0])  # type: ignore[misc]
        return sent

    async def _give_up(self, record: Record, error: Exception) -> Sent:
        """Dead-letter a record, then take it as no event. Once its offset is committed, it is not read again."""
        await self._letters(record, refuse("internal", f"evaluator: {type(error).__name__}: {error}"))
        self.meter.count("refused")
        return await self._take({record.partition: [(record.offset, None)]})

    def _update_metrics(self, update: Callable[[], None]) -> None:
        """Update the metrics with something that is committed already. An exception is counted and stops nothing."""
        try:
            update()
        except Exception:
            self.meter.count("figures.failed")
            log.exception("an update of the metrics failed")

    def update_shelves(self, records: Sequence[ShelfRecord]) -> None:
        """Update the metrics with shelves, each once."""
        for record in records:
            self._update_metrics(partial(self.metrics.update_shelf, record))
        self.meter.count("shelves", len(records))

    async def advance_idle(self, caught_up: Iterable[int]) -> Sent:
        """Move the watermark of partitions where nothing arrives to the clock's time, as no record has a newer one.
        Which later events count as late then depends on when the partition was idle."""
        now, sent = self._clock(), Sent()
        async with self._loading:
            self._idle.clear()
            for number in caught_up:
                partition, left = await self._partition(number, None)
                sent += left
                idle_s = time.monotonic() - self._last_records.setdefault(number, time.monotonic())
                if idle_s < self.config.idle_s:
                    continue
                if not partition.counts().waiting:
                    self._idle.add(number)
                    continue
                sent += await self._commit(number, lambda partition: partition.take([], now), None)
        return sent

    async def keep(self, assigned: Iterable[int]) -> None:
        """Forget the partitions that are not assigned to this process any more."""
        async with self._loading:
            self.assigned = set(assigned)
            if set(self.partitions) - self.assigned:
                self._forget()
            if not self._revoked:
                self._update_monitors()

    def hold(self, slot: Slot | None) -> None:
        """Take in the present state of the challenger's slot."""
        self._slot_known, self._slot = True, slot
        for canary in (self.metrics.canary, *(one.canary for one in self.partitions.values())):
            canary.hold(slot)

    async def gather(self, partitions: Callable[[], Awaitable[int]]) -> None:
        """Add up the running experiment of all partitions, whose number is given, from Redis."""
        if self.metrics.canary.running:
            numbers = range(await partitions())
            states = await self.retry.until_done(partial(self.store.experiments, numbers))
            self._update_metrics(partial(self.metrics.canary.gather, states))

    def revoked(self) -> None:
        """Note that another process may have the partitions for a while: the state in memory may be out of date."""
        self._revoked = True

    def _forget(self) -> None:
        """Drop all partitions and rates, to be loaded again: one partition's rates cannot be taken out of the sums."""
        self.partitions.clear()
        self._idle.clear()
        self._last_records.clear()
        self.metrics.rates = RollingRates()
        self.metrics.effects.clear()

    def gauges(self) -> dict[str, float]:
        """Counts of the partitions, and of alerts."""
        counts = [partition.counts() for partition in self.partitions.values()]
        return {
            "alerts": float(len(self.metrics.monitors.active.get())),
            "waiting": float(sum(one.waiting for one in counts)),
            "closed": float(sum(one.attributed.total() for one in counts)),
            "orphans": float(sum(one.orphans.total() for one in counts)),
            "late": float(sum(one.late.total() for one in counts)),
        }

    def series(self) -> list[Series]:
        """All measurements, up to the time before which impressions are attributed."""
        until = max((partition.attributed_until for partition in self.partitions.values()), default=0)
        return [*self._bots(), *self.metrics.get(until, wall_ms())]

    def _bots(self) -> Iterator[Series]:
        """By reason: shoppers marked as bots now; their impressions and clicks set aside since the state began."""
        marked, aside = Counter[str](), Counter[str]()
        for partition in self.partitions.values():
            marked += partition.marked()
            aside += partition.counts().bots
        for reason in REASONS:
            yield Series("bots", {"reason": reason}, float(marked[reason]))
            for what in ("impressions", "clicks"):
                yield Series(f"bot_{what}", {"reason": reason}, float(aside[f"{reason}.{what}"]))

    def _update_monitors(self) -> None:
        until = min((self._reached(number) for number in self.assigned), default=-math.inf)
        self._update_metrics(partial(self.metrics.monitor, until))

    def _reached(self, number: int) -> float:
        """Up to when a partition's impressions are attributed; infinity where it has no events, or is idle and nothing
        waits in it, to delay no monitor: events that come late to a partition that was idle reach the monitors late."""
        partition = self.partitions.get(number)
        if partition is None:
            return -math.inf
        return partition.attributed_until if partition.watermark and number not in self._idle else math.inf

    async def _commit(self, number: int, take: Take, before: int | None) -> Sent:
        """Take events into a partition and commit; ``before`` is the offset of the first, None where there is none."""
        while True:
            partition, sent = await self._partition(number, before)
            if await self.gone(number, partition.offset):
                log.warning("partition %d of the events was recreated: it is read from its beginning", number)
                partition.begin_anew()
                self._began.pop(number, None)
            try:
                return [*sent, *await self._step(number, partition, take)]
            except OutpacedError as outpaced:
                self._outpaced(outpaced)

    async def _step(self, number: int, partition: Partition, take: Take) -> Sent:
        """Take and commit, repeatedly while one commit is not enough."""
        sent = Sent()
        while True:
            started = time.perf_counter()
            attributed = take(partition)
            self.meter.time("join", (time.perf_counter() - started) * 1000)
            known = await self._known(attributed)
            commit = await self._without_forgotten(partition.commit(known))
            started = time.perf_counter()
            await self.retry.until_done(partial(self.store.commit, number, commit))
            self.meter.time("commit", (time.perf_counter() - started) * 1000)
            self._update_metrics(partial(self._measure, number, commit, attributed, known))
            self._measured_until[number] = max(partition.attributed_until, self._measured_until.get(number, 0))
            sent += self._publish(number, commit.examples)
            self._progress()
            if not partition.full:
                return sent

    async def _without_forgotten(self, commit: Commit) -> Commit:
        """The commit without examples of shoppers that were forgotten since. They stay in the rates, which name
        nobody."""
        shoppers = sorted({one.shopper for one in commit.examples})
        if self._state is None or not shoppers:
            return commit
        gone = await self._state.forgotten(shoppers)
        kept = [one for one in commit.examples if one.ts > gone.get(one.shopper, -1)]
        for name in ("closed", "examples.forgotten"):
            self.meter.count(name, len(commit.examples) - len(kept))
        return dataclasses.replace(commit, examples=kept)

    def _outpaced(self, outpaced: OutpacedError) -> None:
        """Reload: another process has committed, the answer to an own commit was lost, or Redis lost commits."""
        log.warning("%s: loading it again", outpaced)
        self._forget()

    async def _known(self, attributed: Sequence[AttributedImpression]) -> dict[str, ShelfContext]:
        """What is known of the impressions' shelves; waits until Redis has all shelves made before they were seen.

        A backlog of events is read faster than that of their shelves, and shelves that Redis lost are read again. An
        example without its shelf would never get its model.
        """
        found: dict[str, ShelfContext | None] = {}
        wanted, until = [one.shelf_id for one in attributed], max((one.ts for one in attributed), default=0)
        while wanted:
            lookup = partial(self.store.shelves.known, wanted, until, self.shelf_partitions)
            found |= await self.retry.until_done(lookup)
            wanted = [shelf_id for shelf_id in wanted if shelf_id not in found]
            if wanted:
                await asyncio.sleep(LOOK_AGAIN_S)
        return {shelf_id: known for shelf_id, known in found.items() if known is not None}

    async def _partition(self, number: int, before: int | None) -> tuple[Partition, Sent]:
        """The partition, loaded if it is not in memory; after loading also the sends of examples not yet in Kafka."""
        broken: set[int] | None = None
        if self._revoked:
            self._revoked = False
            self._forget()
        while number not in self.partitions:
            saved = await self.retry.until_done(lambda: self.store.load(number))
            newest = max(0, saved.watermark - self.rules.grace_ms - self.rules.window_ms) // HOUR_MS
            hours = range(max(0, newest - RATE_HOURS), newest + 1)
            rates = await self.retry.until_done(partial(self.store.rates, number, hours))
            by, block_ms = uuid.uuid4().hex, self.metrics.canary.block_ms
            partition = self.partitions[number] = Partition(self.rules, saved, rates, self.bots, by, block_ms)
            if self._slot_known:
                partition.canary.hold(self._slot)
            self.metrics.count(rates)
            if self._state is not None:
                self.metrics.load_effects(number, (await self._state.effects(number)).get(number, {}))
            unsent = await self.retry.until_done(lambda: self.store.examples(number))
            try:
                missed = await self._take_missed(number, partition, before, broken)
            except OutpacedError as outpaced:
                self._outpaced(outpaced)
            except INFRASTRUCTURE_ERRORS:
                raise
            except Exception:
                log.exception("events that are taken again raise an exception: taking them one by one")
                self._forget()
                broken = broken or set()
            else:
                return partition, [*self._publish(number, unsent), *missed]
        return self.partitions[number], []

    async def _take_missed(
        self, number: int, partition: Partition, before: int | None, broken: set[int] | None
    ) -> Sent:
        """Take the events again that Redis lost, up to before the offset ``before``.

        Parameters
        ----------
        broken
            Offsets of events that count as none. Where it is given, events are taken one by one, and the offset of one
            that raises an exception is added.
        """
        first, sent = self._first(number, partition, before), Sent()
        if first is None or (before is not None and before <= first):
            return sent
        async with aclosing(self.read_again(number, first, before)) as batches:
            async for records in batches:
                now = self._clock()
                some = [(one.offset, self._decoded(one, now)) for one in records]
                log.warning("partition %d: %d events are taken again", number, len(some))
                for part in [some] if broken is None else [[one] for one in some]:
                    offset = part[0][0]
                    taken = part if broken is None or offset not in broken else [(offset, None)]
                    try:
                        sent += await self._step(number, partition, lambda one, taken=taken: one.take(taken))  # type: ignore[misc]
                    except INFRASTRUCTURE_ERRORS:
                        raise
                    except Exception:
                        if broken is not None:
                            broken.add(offset)
                        raise
        return sent

    def _first(self, number: int, partition: Partition, before: int | None) -> int | None:
        """The first offset that Redis lacks; None where it is not known.

        Redis may have lost a partition altogether. Then it is the first offset that this process took, for as long as
        the shelves of these events are known. Events before it are not taken.
        """
        if partition.offset >= 0:
            return partition.offset + 1
        now = time.monotonic()
        if number in self._began and now - self._began[number][1] > self.store.shelves.ttl_s:
            del self._began[number]
        if before is not None:
            self._began.setdefault(number, (before, now))
        return self._began[number][0] if number in self._began else None

    def _decoded(self, record: Record, now: int) -> AnyEvent | None:
        """The event; None where it cannot be read or is later than its record. The worker dead-letters such records."""
        event = record.refusal or decode_event(record.value, record.came_ms(now), self.events)
        return None if isinstance(event, Refusal) else event

    def _publish(self, number: int, examples: Sequence[LabelledExample]) -> Sent:
        """Start to send examples to Kafka; once all are there, they are removed from Redis."""

        async def publish() -> None:
            await asyncio.gather(
                *(
                    self.send(self.topics.examples, one.shopper.encode("utf-8", "replace"), example.encoder.encode(one))
                    for one in examples
                )
            )
            await self.retry.until_done(lambda: self.store.sent(number, examples))

        return [asyncio.ensure_future(publish())] if examples else []

    def _measure(
        self, number: int, commit: Commit, attributed: Sequence[AttributedImpression], known: Mapping[str, ShelfContext]
    ) -> None:
        """Update the metrics with a commit. Views measured before are skipped: after a loss in Redis, impressions are
        attributed again."""
        self.meter.count("closed", len(commit.examples) + commit.aside)
        self.meter.count("broken", commit.broken)
        views = example.views(attributed, known)
        self.meter.count("clicked", sum(sums.clicks for sums in commit.rates.values()))
        for view in views:
            if view.made_at is not None:
                self.meter.time("freshness", view.ts - view.made_at)
        self.metrics.count(commit.rates)
        new = [view for view in views if view.ts >= self._measured_until.get(number, 0)]
        self.metrics.update(new)
        self.metrics.update_effects(number, new)
        self._update_monitors()
