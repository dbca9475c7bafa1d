"""The live join: batches of ``shop.events`` to committed partitions, examples and rates.

Knows the store through its class and Kafka through ``Send``; nothing of Faust. When ``process`` returns, Redis has the
batch; once what it returns is done, Kafka has its examples, and the batch's offsets may be committed. What was taken
before is recognised by its offset, so to process anything again is harmless.
"""

import asyncio
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
from streams.config import BotsConfig, EventsConfig
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
from streams.telemetry.meter import Meter, Series

log = logging.getLogger(__name__)

RATE_HOURS = WINDOWS["24h"] // HOUR_MS + 1

LOOK_AGAIN_S = 0.05

NOT_THE_EVENTS = (*KAFKA_ERRORS, OSError, OutpacedError, *connection.ERRORS)
"""What may break while events are taken, and is not their fault."""

Numbered = tuple[int, AnyEvent | None]
"""An event with its offset; None is one that cannot be read."""
Take = Callable[[Partition], list[AttributedImpression]]
ReadAgain = Callable[[int, int, int | None], AsyncGenerator[Sequence[Record]]]
"""Reads a partition's events from an offset on: to before another, or to where the partition ends now."""


class StreamJoin:
    """Keeps the partitions that this process works on.

    Redis may know less than Kafka has been told is done: a replica took a master's place without its last commits. So
    whatever lies between what is loaded and what comes next is read again first.

    Parameters
    ----------
    shelf_partitions
        How many the topic of shelves has.
    gone
        Whether an offset of a partition that was taken once is there no more, because its topic was made anew.
    read_again
        Gives a partition's events from an offset on, to before another or to where the partition ends now.
    progress
        Called after each commit: what a pause of a night closes takes many, and is no standstill.
    clock
        What time it is, epoch milliseconds, where no record tells.

    Attributes
    ----------
    figures
        What there is to say of all that is closed: rates also of what was closed before this process began.
    assigned
        The partitions that are this process's own.
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
    ) -> None:
        self.store, self.send, self.meter, self.topics = store, send, meter, topics
        self.config, self.events, self.bots = config, events, bots
        self.shelf_partitions, self._letters = shelf_partitions, letters
        self.gone, self.read_again, self._progress = gone, read_again, progress
        self.rules = JoinWindow(int(config.window_s * 1000), int(config.grace_s * 1000))
        self.retry = RedisRetry()
        self.partitions: dict[int, Partition] = {}
        self.figures = LiveMetrics(config, items)
        self.assigned: set[int] = set()
        self._held = False
        self._slot: Slot | None = None
        self._begun: dict[int, tuple[int, float]] = {}
        self._loading = asyncio.Lock()
        self._moved: dict[int, float] = {}
        self._shown: dict[int, int] = {}
        self._clock = clock
        self._revoked = False

    async def process(self, records: Sequence[Record]) -> Sent:
        """Take a batch of events, of any partitions.

        A batch that breaks is taken record by record; one that breaks alone is dead-lettered, and is no event.
        """
        try:
            return await self._process(records)
        except NOT_THE_EVENTS:
            raise  # not the events' fault, and nothing here can mend it: nothing may be committed
        except Exception as error:
            async with self._loading:
                self._forget()  # what is in memory may be half changed
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
                self._figure(partial(self.figures.update_item, event))
        return sent

    async def _take(self, events: Mapping[int, Sequence[Numbered]]) -> Sent:
        sent: Sent = []
        async with self._loading:
            for number, some in events.items():
                self._moved[number] = time.monotonic()
                sent += await self._commit(number, lambda partition, some=some: partition.take(some), some[0][0])  # type: ignore[misc]
        return sent

    async def _give_up(self, record: Record, error: Exception) -> Sent:
        """The letter goes first: once the offset is committed, nobody looks at the record again."""
        await self._letters(record, refuse("internal", f"evaluator: {type(error).__name__}: {error}"))
        self.meter.count("refused")
        return await self._take({record.partition: [(record.offset, None)]})

    def _figure(self, take: Callable[[], None]) -> None:
        """Let figures take something in. They are told of what is committed already, so what breaks them is counted,
        and holds nothing up."""
        try:
            take()
        except Exception:
            self.meter.count("figures.failed")
            log.exception("something is missing from the figures")

    def made(self, records: Sequence[ShelfRecord]) -> None:
        """Tell the figures of shelves, once of each."""
        for record in records:
            self._figure(partial(self.figures.update_shelf, record))
        self.meter.count("shelves", len(records))

    async def close_idle(self, caught_up: Iterable[int]) -> Sent:
        """Let time go on in partitions where nothing arrives: the clock is their watermark then, for there is no record
        to tell the time. So what a quiet partition makes late depends on when it was quiet."""
        now, sent = self._clock(), Sent()
        async with self._loading:
            for number in caught_up:
                partition, left = await self._partition(number, None)
                sent += left
                quiet_s = time.monotonic() - self._moved.setdefault(number, time.monotonic())
                waits = quiet_s < self.config.idle_s
                if waits or not partition.counts().waiting:
                    continue
                sent += await self._commit(number, lambda partition: partition.take([], now), None)
        return sent

    async def keep(self, assigned: Iterable[int]) -> None:
        """Forget partitions that are another's now."""
        async with self._loading:
            self.assigned = set(assigned)
            if set(self.partitions) - self.assigned:
                self._forget()
            self._watch()

    def hold(self, slot: Slot | None) -> None:
        """Take in what the challenger's slot holds now."""
        self._held, self._slot = True, slot
        for challenge in (self.figures.challenge, *(one.challenge for one in self.partitions.values())):
            challenge.hold(slot)

    async def gather(self, partitions: Callable[[], Awaitable[int]]) -> None:
        """Ask Redis what all partitions, which are so many, know of the experiment that is running."""
        if self.figures.challenge.running:
            numbers = range(await partitions())
            states = await self.retry.until_done(partial(self.store.experiments, numbers))
            self._figure(partial(self.figures.challenge.gather, states))

    def revoked(self) -> None:
        """Note that partitions may be another's for a while: what Redis has then is not what is known here."""
        self._revoked = True

    def _forget(self) -> None:
        """All partitions, to be loaded again with their rates: those of single ones cannot be taken out of the sums."""
        self.partitions.clear()
        self.figures.rates = RollingRates()

    def gauges(self) -> dict[str, float]:
        """Counts of the partitions, and of alerts."""
        counts = [partition.counts() for partition in self.partitions.values()]
        found = {
            "alerts": float(len(self.figures.monitors.active.get())),
            "waiting": float(sum(one.waiting for one in counts)),
        }
        for part in ("closed", "orphans", "late"):
            found[part] = float(sum(getattr(one, part).total() for one in counts))
        return found

    def series(self) -> list[Series]:
        """What is measured, up to where closing has got to."""
        until = max((partition.horizon for partition in self.partitions.values()), default=0)
        return [*self._bots(), *self.figures.get(until, wall_ms())]

    def _bots(self) -> Iterator[Series]:
        """Who is marked now, and what was set aside since the state began, by reason."""
        marked, aside = Counter[str](), Counter[str]()
        for partition in self.partitions.values():
            marked += partition.marked()
            aside += partition.counts().bots
        for reason in REASONS:
            yield Series("bots", {"reason": reason}, float(marked[reason]))
            for what in ("impressions", "clicks"):
                yield Series(f"bot_{what}", {"reason": reason}, float(aside[f"{reason}.{what}"]))

    def _watch(self) -> None:
        until = min((self._reached(number) for number in self.assigned), default=-math.inf)
        self._figure(partial(self.figures.monitor, until))

    def _reached(self, number: int) -> float:
        """Up to when a partition is closed; a partition without events holds nothing up."""
        partition = self.partitions.get(number)
        if partition is None:
            return -math.inf
        return partition.horizon if partition.watermark else math.inf

    async def _commit(self, number: int, take: Take, before: int | None) -> Sent:
        """Commit what a partition takes next, which stands at the offset ``before``; None where nothing comes next."""
        while True:
            partition, sent = await self._partition(number, before)
            if await self.gone(number, partition.offset):
                log.warning("partition %d of the events was made anew: it is read from its beginning", number)
                partition.begin_anew()
                self._begun.pop(number, None)
            try:
                return [*sent, *await self._step(number, partition, take)]
            except OutpacedError as outpaced:
                self._outpaced(outpaced)

    async def _step(self, number: int, partition: Partition, take: Take) -> Sent:
        """Take and commit, as often as it takes."""
        sent = Sent()
        while True:
            started = time.perf_counter()
            closed = take(partition)
            self.meter.time("join", (time.perf_counter() - started) * 1000)
            known = await self._known(closed)
            commit = partition.commit(known)
            started = time.perf_counter()
            await self.retry.until_done(partial(self.store.commit, number, commit))
            self.meter.time("commit", (time.perf_counter() - started) * 1000)
            self._figure(partial(self._measure, number, commit, closed, known))
            self._shown[number] = max(partition.horizon, self._shown.get(number, 0))
            sent += self._published(number, commit.examples)
            self._progress()
            if not partition.full:
                return sent

    def _outpaced(self, outpaced: OutpacedError) -> None:
        """Another process went on, this one's own commit arrived though its answer was lost, or Redis lost commits."""
        log.warning("%s: loading it again", outpaced)
        self._forget()

    async def _known(self, closed: Sequence[AttributedImpression]) -> dict[str, ShelfContext]:
        """What is known of shelves, once Redis has all that were made before what is closed was seen.

        A backlog of events is read faster than that of the shelves which they name, and shelves that Redis lost are
        read again; what is closed without its shelf would lack its model for ever.
        """
        found: dict[str, ShelfContext | None] = {}
        wanted, until = [one.shelf_id for one in closed], max((one.ts for one in closed), default=0)
        while wanted:
            ask = partial(self.store.shelves.known, wanted, until, self.shelf_partitions)
            found |= await self.retry.until_done(ask)
            wanted = [shelf_id for shelf_id in wanted if shelf_id not in found]
            if wanted:
                await asyncio.sleep(LOOK_AGAIN_S)
        return {shelf_id: known for shelf_id, known in found.items() if known is not None}

    async def _partition(self, number: int, before: int | None) -> tuple[Partition, Sent]:
        """A partition as it stands; where it had to be loaded, with the examples that were left unsent."""
        broken: set[int] | None = None
        if self._revoked:
            self._revoked = False
            self._forget()
        while number not in self.partitions:
            saved = await self.retry.until_done(lambda: self.store.load(number))
            newest = max(0, saved.watermark - self.rules.grace_ms - self.rules.window_ms) // HOUR_MS
            hours = range(max(0, newest - RATE_HOURS), newest + 1)
            rates = await self.retry.until_done(partial(self.store.rates, number, hours))
            by, block_ms = uuid.uuid4().hex, self.figures.challenge.block_ms
            partition = self.partitions[number] = Partition(self.rules, saved, rates, self.bots, by, block_ms)
            if self._held:
                partition.challenge.hold(self._slot)
            self.figures.count(rates)
            left = await self.retry.until_done(lambda: self.store.examples(number))
            try:
                missed = await self._take_missed(number, partition, before, broken)
            except OutpacedError as outpaced:
                self._outpaced(outpaced)
            except NOT_THE_EVENTS:
                raise
            except Exception:
                log.exception("events that are taken again break the join: taking them one by one")
                self._forget()
                broken = broken or set()
            else:
                return partition, [*self._published(number, left), *missed]
        return self.partitions[number], []

    async def _take_missed(
        self, number: int, partition: Partition, before: int | None, broken: set[int] | None
    ) -> Sent:
        """What Redis lost; nothing of the past of a partition that it never knew, before what was taken here first.

        Parameters
        ----------
        broken
            Where given, events are taken one by one, those that it has as none, and one that breaks is put there.
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
                    except NOT_THE_EVENTS:
                        raise
                    except Exception:
                        if broken is not None:
                            broken.add(offset)
                        raise
        return sent

    def _first(self, number: int, partition: Partition, before: int | None) -> int | None:
        """Where what Redis has of a partition ends; None where nobody can tell.

        Of one that Redis does not know at all it may have lost what was taken here from the first event on. That is
        read again for as long as the shelves which it names are known.
        """
        if partition.offset >= 0:
            return partition.offset + 1
        now, lasts_s = time.monotonic(), self.store.shelves.ttl_s
        if number in self._begun and now - self._begun[number][1] > lasts_s:
            del self._begun[number]
        if before is not None:
            self._begun.setdefault(number, (before, now))
        return self._begun[number][0] if number in self._begun else None

    def _decoded(self, record: Record, now: int) -> AnyEvent | None:
        """An event; None where it cannot be read, or is from after its record came, which the worker dead-letters."""
        event = decode_event(record.value, record.came_ms(now), self.events)
        return None if isinstance(event, Refusal) else event

    def _published(self, number: int, examples: Sequence[LabelledExample]) -> Sent:
        """Examples on their way to Kafka; once all are there, Redis forgets them."""

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
        self, number: int, commit: Commit, closed: Sequence[AttributedImpression], known: Mapping[str, ShelfContext]
    ) -> None:
        """Let figures take in what a partition's commit has closed; of views those alone that they have not seen: what
        Redis lost is closed again."""
        self.meter.count("closed", len(commit.examples) + commit.aside)
        self.meter.count("broken", commit.broken)
        views = example.views(closed, known)
        self.meter.count("clicked", sum(sums.clicks for sums in commit.rates.values()))
        for view in views:
            if view.made_at is not None:
                self.meter.time("freshness", view.ts - view.made_at)
        self.figures.count(commit.rates)
        self.figures.update([view for view in views if view.ts >= self._shown.get(number, 0)])
        self._watch()
