"""The live join: batches of ``shop.events`` to committed partitions, examples and rates.

Knows the store through its class and Kafka through ``Send``; nothing of Faust. When ``process`` returns, Redis has the
batch; once what it returns is done, Kafka has its examples, and the batch's offsets may be committed. What was taken
before is recognised by its offset, so to process anything again is harmless.
"""

import asyncio
import logging
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence

from evaluator.config import EvaluatorConfig
from evaluator.live import labelled
from evaluator.live.labelled import Known, Labelled
from evaluator.live.partition import HOUR_MS, Commit, Partition
from evaluator.live.store import OutpacedError, Store
from evaluator.online.attribution import Closed, Rules
from evaluator.online.rates import WINDOWS, Rates
from evaluator.online.waiting import Waiting
from evaluator.online.watch import WatchRules
from evaluator.online.watches import Watches
from streams.clock import wall_ms
from streams.config import EventsConfig
from streams.decode import Refusal, decode_event
from streams.events import AnyEvent
from streams.meter import Meter
from streams.patience import Patience
from streams.record import Record, Send, Sent
from streams.shelf import record_decoder
from streams.topics import Topics

log = logging.getLogger(__name__)

RATE_HOURS = WINDOWS["24h"] // HOUR_MS + 1


class Join:
    """Keeps the partitions that this process works on.

    Attributes
    ----------
    rates
        Rolling rates of everything closed in these partitions, also before this process began.
    watches
        Click rates under watch, of what this process closes.
    """

    def __init__(
        self, store: Store, send: Send, meter: Meter, topics: Topics, config: EvaluatorConfig, events: EventsConfig
    ) -> None:
        self.store, self.send, self.meter, self.topics = store, send, meter, topics
        self.config, self.events = config, events
        self.rules = Rules(int(config.window_s * 1000), int(config.grace_s * 1000))
        self.patience = Patience()
        self.partitions: dict[int, Partition] = {}
        self.rates = Rates()
        self.watches = Watches(WatchRules(config.watch_learn, float(config.watch_run_length), config.watch_recover))
        self._unwatched: Waiting[tuple[Closed, str]] = Waiting()
        self._assigned: set[int] = set()
        self._loading = asyncio.Lock()
        self._moved: dict[int, int] = {}

    async def process(self, records: Sequence[Record]) -> Sent:
        """Take a batch of events, of any partitions."""
        now = wall_ms()
        events: defaultdict[int, list[tuple[int, AnyEvent | None]]] = defaultdict(list)
        for record in records:
            event = decode_event(record.value, now, self.events)
            self.meter.count("refused" if isinstance(event, Refusal) else "events")
            # The worker dead-letters what cannot be read.
            events[record.partition].append((record.offset, None if isinstance(event, Refusal) else event))
        sent: Sent = []
        async with self._loading:
            for number, some in events.items():
                self._moved[number] = now
                sent += await self._commit(number, lambda partition, some=some: partition.take(some))  # type: ignore[misc]
        return sent

    async def remember(self, records: Sequence[Record]) -> Sent:
        """Take a batch of shelf records: what their impressions will be labelled with."""
        known = {}
        for record in records:
            shelf = record_decoder.decode(record.value or b"")
            known[shelf.shelf.shelf_id] = Known.of(shelf)
        await self.patience.until_done(lambda: self.store.remember(known))
        self.meter.count("shelves", len(known))
        return []

    async def close_idle(self, caught_up: Iterable[int]) -> Sent:
        """Let time go on in partitions where nothing arrives: the wall clock is their watermark then."""
        now, sent = wall_ms(), Sent()
        async with self._loading:
            for number in caught_up:
                partition, left = await self._partition(number)
                sent += left
                waits = now - self._moved.setdefault(number, now) < self.config.idle_s * 1000
                if waits or not partition.counts().waiting:
                    continue
                sent += await self._commit(number, lambda partition: partition.take([], now))
        return sent

    def keep(self, assigned: Iterable[int]) -> None:
        """Forget partitions that are another's now."""
        self._assigned = set(assigned)
        for number in set(self.partitions) - self._assigned:
            del self.partitions[number]
        self._watch()

    def _watch(self) -> None:
        """Show the watches what is closed in all partitions, in order of time: one that is read ahead of others must
        not look like a change."""
        until = min((self._reached(number) for number in self._assigned), default=-math.inf)
        for closed, arm in self._unwatched.take(until):
            self.watches.update(closed, arm)

    def _reached(self, number: int) -> float:
        """Up to when a partition is closed; a partition without events holds nothing up."""
        partition = self.partitions.get(number)
        if partition is None:
            return -math.inf
        return partition.horizon if partition.watermark else math.inf

    async def _commit(self, number: int, take: Callable[[Partition], list[Closed]]) -> Sent:
        while True:
            partition, sent = await self._partition(number)
            closed = take(partition)
            known = await self.patience.until_done(lambda: self.store.known(one.shelf_id for one in closed))  # noqa: B023
            commit = partition.commit(known)
            try:
                await self.patience.until_done(lambda: self.store.commit(number, commit))  # noqa: B023
            except OutpacedError as outpaced:
                # Another process went on, or this one's own commit arrived though its answer was lost.
                log.warning("%s: loading it again", outpaced)
                del self.partitions[number]
                continue
            self._count(commit)
            for one in closed:
                shelf = known.get(one.shelf_id)
                self._unwatched.put(one.ts, (one, shelf.arm if shelf else ""))
            self._watch()
            return [*sent, *self._published(number, commit.examples)]

    async def _partition(self, number: int) -> tuple[Partition, Sent]:
        """A partition as it stands; where it had to be loaded, with the examples that were left unsent."""
        if number in self.partitions:
            return self.partitions[number], []
        saved = await self.patience.until_done(lambda: self.store.load(number))
        partition = self.partitions[number] = Partition(self.rules, saved)
        newest = max(0, partition.horizon) // HOUR_MS
        hours = range(max(0, newest - RATE_HOURS), newest + 1)
        for (minute, cut), sums in (await self.patience.until_done(lambda: self.store.rates(number, hours))).items():
            self.rates.add(cut, minute, sums)
        left = await self.patience.until_done(lambda: self.store.examples(number))
        return partition, self._published(number, left)

    def _published(self, number: int, examples: Sequence[Labelled]) -> Sent:
        """Examples on their way to Kafka; once all are there, Redis forgets them."""

        async def publish() -> None:
            await asyncio.gather(
                *(
                    self.send(
                        self.topics.examples, one.shopper.encode("utf-8", "replace"), labelled.encoder.encode(one)
                    )
                    for one in examples
                )
            )
            await self.patience.until_done(lambda: self.store.sent(number, examples))

        waiting: list[Awaitable[None]] = [publish()] if examples else []
        return waiting

    def _count(self, commit: Commit) -> None:
        for (minute, cut), sums in commit.rates.items():
            self.rates.add(cut, minute, sums)
        self.meter.count("closed", len(commit.examples))
        self.meter.count("clicked", sum(sums.clicks for sums in commit.rates.values()))
