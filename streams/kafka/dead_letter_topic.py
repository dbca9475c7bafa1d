"""The topic of dead letters: lists the newest, and replays their records.

Letters are counted by offsets, and no more is read than requested. A cut letter does not hold the whole record: the
record is read again from its source, and sent only if it is still there and the same. Knows aiokafka; nothing of why a
record was refused.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError as AsyncKafkaError

from streams.config import KafkaConfig, StreamsConfig, TopicsConfig
from streams.kafka.admin import KafkaError
from streams.kafka.connection import aiokafka_client
from streams.kafka.consumer import Consumer
from streams.kafka.dead_letters import UNREADABLE, DeadLetter, Uncut, parse
from streams.kafka.producer import partition, started, unsent
from streams.kafka.record import Record
from streams.kafka.topics import Topics, plan

T = TypeVar("T")

STEP = 10_000
"""Letters between two commits: the most that are sent twice when a replay is interrupted."""

READ_MS = 1_000
TIMEOUT_S = 30.0
"""How long Kafka may give no records although it has some."""

BATCH_BYTES = 131_072
LARGEST_BYTES = 2**30
"""Before compression a record may be far larger than the topic's limit."""

Progress = Callable[[int, int], None]
"""Called with the number of letters that are done, and the number of all."""


class Newest(NamedTuple):
    """The requested letters, the newest last, and the number of letters of any reason."""

    letters: list[DeadLetter]
    total: int


@dataclass(slots=True)
class Replayed:
    """The result of a replay: letters sent, letters of other reasons, and the rest by why it was not sent."""

    sent: int = 0
    other: int = 0
    left: Counter[str] = field(default_factory=Counter)


def newest(
    kafka: KafkaConfig,
    config: TopicsConfig,
    limit: int,
    reason: str | None = None,
    since_ms: int | None = None,
    progress: Progress | None = None,
) -> Newest:
    """The newest letters, in the order in which they were written; reads backwards from the end.

    Parameters
    ----------
    limit
        The most letters to return.
    reason
        Only letters with this reason.
    since_ms
        Only letters written since this time, epoch ms.

    Raises
    ------
    kafka.errors.KafkaError
        When the broker is out of reach.
    """
    return _run(_newest(kafka, config, limit, reason, since_ms, progress))


def replay(
    kafka: KafkaConfig,
    config: TopicsConfig,
    group: str,
    reason: str | None = None,
    again: bool = False,
    progress: Progress | None = None,
) -> Replayed:
    """Send the records of letters to their source partitions, each once; meant for use after the cause is fixed.

    The group's committed offsets mark letters as replayed. They are committed every :data:`STEP` letters, once the
    broker has the records. Letters that are written meanwhile are left for the next replay.

    Parameters
    ----------
    reason
        Only letters with this reason; the others count as replayed, unless ``again``.
    again
        Replay from the first letter, whatever was replayed before.

    Raises
    ------
    kafka.errors.KafkaError
        When the broker is out of reach, or takes nothing; a second call resumes from there.
    """
    return _run(_replay(kafka, config, group, reason, again, progress))


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except (AsyncKafkaError, TimeoutError, OSError) as error:
        raise KafkaError(str(error) or type(error).__name__) from error


async def _newest(
    kafka: KafkaConfig,
    config: TopicsConfig,
    limit: int,
    reason: str | None,
    since_ms: int | None,
    progress: Progress | None,
) -> Newest:
    async with _consumer(kafka, config) as consumer:
        starts, ends = await _extent(consumer, Topics(config.prefix).dead_letters)
        if since_ms is not None and starts:
            for at, found in (await consumer.offsets_for_times(dict.fromkeys(starts, since_ms))).items():
                starts[at] = ends[at] if found is None else found.offset
        total = sum(ends[at] - starts[at] for at in ends)
        chosen: list[DeadLetter] = []
        through = 0
        for at, start in starts.items():
            mine: list[DeadLetter] = []
            high, size = ends[at], limit
            while high > start and len(mine) < limit:
                low = max(start, high - size)
                some = await _letters(consumer, at, low, high)
                mine = [one for one in some if reason is None or one.reason == reason] + mine
                through += high - low
                if progress is not None:
                    progress(through, total)
                high, size = low, min(size * 4, STEP)
            chosen += mine[-limit:]
    return Newest(sorted(chosen, key=lambda one: (one.timestamp_ms, one.partition, one.offset))[-limit:], total)


async def _replay(
    kafka: KafkaConfig, config: TopicsConfig, group: str, reason: str | None, again: bool, progress: Progress | None
) -> Replayed:
    done = Replayed()
    async with _consumer(kafka, config, group) as consumer, _Sender(kafka, config, done) as sender:
        starts, ends = await _extent(consumer, Topics(config.prefix).dead_letters)
        for at in starts:
            before = None if again else await consumer.committed(at)
            starts[at] = min(max(starts[at], before or 0), ends[at])
        total, through = sum(ends[at] - starts[at] for at in ends), 0
        for at, start in starts.items():
            for low in range(start, ends[at], STEP):
                high = min(low + STEP, ends[at])
                some = await _letters(consumer, at, low, high)
                wanted = [one for one in some if reason is None or one.reason == reason]
                done.other += len(some) - len(wanted)
                await sender.send(wanted)
                await consumer.commit({at: high})
                through += high - low
                if progress is not None:
                    progress(through, total)
    return done


class _Sender:
    """Sends the records of letters in batches; a refused batch is sent again record by record."""

    def __init__(self, kafka: KafkaConfig, config: TopicsConfig, done: Replayed) -> None:
        self._kafka, self._config, self._done = kafka, config, done
        self._known = set(plan(config)) - {Topics(config.prefix).dead_letters}

    async def __aenter__(self) -> "_Sender":
        self._producer = AIOKafkaProducer(
            **aiokafka_client(self._kafka),
            acks="all",
            compression_type="zstd",
            max_batch_size=BATCH_BYTES,
            max_request_size=LARGEST_BYTES,
        )
        await started(self._producer)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()

    async def send(self, letters: Sequence[DeadLetter]) -> None:
        """Send the records of letters; returns once the broker has them."""
        by_place: defaultdict[tuple[str, int], list[Record]] = defaultdict(list)
        records = [letter for letter in letters if letter.reason != UNREADABLE]
        if len(records) < len(letters):
            self._done.left["they are unreadable batches"] += len(letters) - len(records)
        cut = [letter for letter in records if letter.cut]
        for record in [*(letter.source for letter in records if not letter.cut), *await self._whole(cut)]:
            if record.topic not in self._known:
                self._done.left["they name no topic of ours"] += 1
                continue
            every = await self._producer.partitions_for(record.topic)
            to = record.partition if record.partition in every else partition(record.key, sorted(every), sorted(every))
            by_place[record.topic, to].append(record)
        await asyncio.gather(*(self._send(*place, records) for place, records in by_place.items()))

    async def _send(self, topic: str, to: int, records: Sequence[Record]) -> None:
        waiting: list[tuple[Sequence[Record], Awaitable[Any]]] = []
        for batch, held in self._batches(records):
            waiting.append((held, await self._producer.send_batch(batch, topic, partition=to)))
        for some, delivered in waiting:
            try:
                await delivered
            except AsyncKafkaError as error:
                if unsent(error) is None:
                    raise
                await self._alone(topic, to, some)
            else:
                self._done.sent += len(some)

    def _batches(self, records: Iterable[Record]) -> Iterable[tuple[Any, list[Record]]]:
        some: list[Record] = []
        batch = self._producer.create_batch()
        for record in records:
            if not batch.append(timestamp=None, key=record.key, value=record.value):
                yield batch, some
                batch, some = self._producer.create_batch(), []
                batch.append(timestamp=None, key=record.key, value=record.value)
            some.append(record)
        if some:
            yield batch, some

    async def _alone(self, topic: str, to: int, records: Sequence[Record]) -> None:
        for record in records:
            batch = self._producer.create_batch()
            batch.append(timestamp=None, key=record.key, value=record.value)
            try:
                await (await self._producer.send_batch(batch, topic, partition=to))
            except AsyncKafkaError as error:
                if (why := unsent(error)) is None:
                    raise
                self._done.left[f"{topic} does not take them ({why.kind.replace('_', ' ')})"] += 1
            else:
                self._done.sent += 1

    async def _whole(self, letters: Sequence[DeadLetter]) -> list[Record]:
        """The whole records of cut letters, as far as they can still be read."""
        found = []
        if letters:
            async with _consumer(self._kafka, self._config) as consumer:
                for letter in letters:
                    record = await _source(consumer, letter) if letter.source.topic in self._known else None
                    if record is None:
                        self._done.left["they were cut, and the whole record is no longer where it stood"] += 1
                    else:
                        found.append(record)
        return found


async def _source(consumer: Consumer, letter: DeadLetter) -> Record | None:
    """The whole record of a cut letter; None where it is gone, or another record has its offset."""
    source = letter.source
    starts, ends = await _extent(consumer, source.topic)
    at = TopicPartition(source.topic, source.partition)
    if not starts.get(at, 0) <= source.offset < ends.get(at, -1):
        return None
    for message in await _between(consumer, at, source.offset, source.offset + 1):
        if _same(letter, "key", message.key) and _same(letter, "value", message.value):
            return replace(source, key=message.key, value=message.value)
    return None


def _same(letter: DeadLetter, part: str, found: bytes | None) -> bool:
    whole = letter.cut.get(part)
    return found == getattr(letter.source, part) if whole is None else found is not None and Uncut.of(found) == whole


@asynccontextmanager
async def _consumer(kafka: KafkaConfig, config: TopicsConfig, group: str | None = None) -> AsyncIterator[Any]:
    consumer = Consumer(StreamsConfig(kafka=kafka, topics=config), group_id=group)
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()


async def _extent(consumer: Any, topic: str) -> tuple[dict[Any, int], dict[Any, int]]:
    """The first and the end offset of each partition of a topic; empty where there is no such topic."""
    if not (every := await consumer.partitions(topic)):
        return {}, {}
    consumer.assign(every)
    return await consumer.beginning_offsets(every), await consumer.end_offsets(every)


async def _letters(consumer: Any, at: Any, low: int, high: int) -> list[DeadLetter]:
    return [parse(message) for message in await _between(consumer, at, low, high)]


async def _between(consumer: Any, at: Any, low: int, high: int) -> list[Any]:
    """The messages of a partition from one offset up to another, exclusive, or up to an unreadable batch.

    The assignment stays: that of a group's consumer must not change while it looks for its coordinator.
    """
    if others := consumer.assignment() - {at}:
        consumer.pause(*others)
    consumer.resume(at)
    consumer.seek(at, low)
    loop, found = asyncio.get_running_loop(), list[Any]()
    progressed = loop.time()
    while (position := await consumer.position(at)) < high:
        read = (await consumer.getmany(at, timeout_ms=READ_MS)).get(at, ())
        found += [message for message in read if message.offset < high]
        if at in consumer.stopped:
            break
        if await consumer.position(at) > position:
            progressed = loop.time()
        elif loop.time() - progressed > TIMEOUT_S:
            raise TimeoutError(f"Kafka gives no records of {at.topic}[{at.partition}] from offset {position} on")
    return found
