"""The one consumer of this project: it reads committed records only, in any codec, and nothing that lies on a topic
ends it.

A batch that cannot be read stops its own partition. The others go on; the process is told which partition stands where,
and it goes on by itself within seconds once an operator has the batch skipped, or once the broker gives it out whole.
Knows Kafka's library; nothing of what records mean. What is known to go wrong in the library, and how each is designed
around, stands in ``docs/reading.md``.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, OffsetResetStrategy
from aiokafka.errors import KafkaError, LeaderNotAvailableError, RequestTimedOutError, for_code
from aiokafka.protocol.fetch import FetchRequest

from streams.config import StreamsConfig
from streams.kafka.connection import aiokafka_client
from streams.kafka.record_batches import Unreadable, readable
from streams.kafka.skips import Skip, over, skip_decoder
from streams.kafka.topics import Topics, largest_record
from streams.kafka.unreadable import ERROR, SILENT_S, SilenceDetector, book

log = logging.getLogger(__name__)

METADATA_MS = 10_000
"""How old what is known of the topics may be: partitions that are added are read so soon."""
LOOK_S = 2.0
"""How often a stopped partition looks whether it was told to go on."""
AGAIN_S = 30.0
"""How often it tries again to read: what broke on the way, or on one replica, may come whole next time."""
MISSING_S = 1.0
"""How long a partition that is not there is left alone; the library would ask for it without a pause."""

ALONE_BYTES = 1 << 20
"""Asked of a partition alone; its first batch comes whole, however large it is."""

_OUT_OF_RANGE, _UNKNOWN_TOPIC = 1, 3
_BROKER_CANNOT = {-1, 2, 56, 87}
"""The broker cannot read it either: unknown server error, corrupt message, storage error, invalid record."""


class Answer(NamedTuple):
    """What a broker told of one partition: an error's code, where what can be read ends, and batches from the offset
    that was asked for on."""

    code: int
    end: int
    data: bytes

    @classmethod
    def of(cls, told: tuple[Any, ...]) -> "Answer":
        """Out of a fetch's answer, whose layout grew with its versions: until version 3 it named no stable end."""
        stable = told[3] if len(told) > 4 else -1
        return cls(told[1], stable if stable >= 0 else told[2], bytes(told[-1] or b""))

    def silent(self, offset: int) -> bool:
        """Whether there is nothing in it although there is more from an offset on."""
        return self.code == 0 and offset < self.end and readable(self.data, offset) == (b"", None)


class Consumer(AIOKafkaConsumer):  # type: ignore[misc]
    """Kafka's asynchronous consumer with all that this project asks of one.

    Parameters
    ----------
    config
        Where Kafka is, how topics are called, and how large a record may be.
    topics
        Those to read; none where the caller subscribes or assigns.
    settings
        More of the library's, over those set here: offsets begin at the earliest and are not committed by themselves.

    Attributes
    ----------
    stopped
        The partitions that cannot be read on, and where they stand.
    silence
        How long partitions have brought nothing although they hold more.
    on_reset
        Called with a partition whose offsets are gone, as when its topic was deleted and made anew; reading begins
        anew there.
    """

    def __init__(self, config: StreamsConfig, *topics: str, **settings: Any) -> None:
        own = {
            "auto_offset_reset": "earliest",
            "enable_auto_commit": False,
            "max_partition_fetch_bytes": largest_record(config.topics),
            "metadata_max_age_ms": METADATA_MS,
        }
        forced = {"isolation_level": "read_committed", "check_crcs": False}
        super().__init__(*topics, **(own | aiokafka_client(config.kafka) | settings | forced))
        self.config = config
        self.stopped: dict[TopicPartition, Unreadable] = {}
        self.silence = SilenceDetector(SILENT_S)
        self.on_reset: Callable[[TopicPartition], None] = lambda _: None
        self._suspects: dict[TopicPartition, int] = {}
        self._told: dict[TopicPartition, int] = {}
        self._watching: asyncio.Task[None] | None = None
        self._unguarded = self._client.send
        self._client.send = self._send
        self._assign_anew = self._subscription.assign_from_subscribed
        if (
            settings.get("group_id") is None
        ):  # a group goes on where it has committed: what it was given after that is lost
            self._subscription.assign_from_subscribed = self._assign_keeping_positions

    async def start(self) -> None:
        """Connect, and begin to read. Where that fails, or is cancelled, nothing stays open.

        Raises
        ------
        aiokafka.errors.KafkaError
            When the broker is out of reach.
        """
        try:
            await super().start()
        except BaseException:
            await self.stop()
            raise
        self._fetcher.error_future.add_done_callback(self._reading_ended)

    async def getmany(self, *partitions: TopicPartition, **options: Any) -> dict[TopicPartition, list[Any]]:
        """The library's.

        Raises
        ------
        aiokafka.errors.KafkaError
            When reading has ended, besides what the library raises.
        """
        self.check()
        found: dict[TopicPartition, list[Any]] = await super().getmany(*partitions, **options)
        return found

    async def getone(self, *partitions: TopicPartition) -> Any:
        """The library's.

        Raises
        ------
        aiokafka.errors.KafkaError
            When reading has ended, besides what the library raises.
        """
        self.check()
        return await super().getone(*partitions)

    def check(self) -> None:
        """Raise when reading has ended though nobody stopped it; the library would go on to wait for records.

        Raises
        ------
        aiokafka.errors.KafkaError
            When it has.
        """
        if self._fetcher is not None and self._fetcher.error_future.done() and not self._fetcher._closed:
            raise _ended(self._fetcher.error_future)

    def _reading_ended(self, reading: "asyncio.Future[None]") -> None:
        """Tell those that wait for records."""
        error = _ended(reading)
        if not self._fetcher._closed:
            log.error("%s", error)
            for waiting in list(self._fetcher._fetch_waiters):
                if not waiting.done():
                    waiting.set_exception(error)

    async def stop(self) -> None:
        """Close the connections."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        book.forget(self)
        await super().stop()

    async def partitions(self, topic: str) -> list[TopicPartition]:
        """All partitions of a topic; none where it is not there."""
        cluster = self._client.cluster
        if cluster.partitions_for_topic(topic) is None:
            self._client.add_topic(topic)
            await self._client.force_metadata_update()
        return [TopicPartition(topic, number) for number in sorted(cluster.partitions_for_topic(topic) or ())]

    def passed(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Whether reading has passed these offsets, as far as it can: a partition that stopped, or is no longer there,
        holds nothing up."""
        return all(self._passed(partition, end) for partition, end in ends.items())

    def assigned(self) -> object:
        """What stays the same for as long as the partitions do."""
        subscription = self._subscription.subscription
        return None if subscription is None else subscription.assignment

    def at(self, partition: TopicPartition) -> int | None:
        """Where reading is in a partition; None while that is not known."""
        state = self._state(partition)
        return int(state.position) if state is not None and state.has_valid_position else None

    def end(self, partition: TopicPartition, committed: bool = True) -> int | None:
        """Where a partition ended when it was last fetched; None before.

        Parameters
        ----------
        committed
            Whether what lies behind the first open transaction is left out.
        """
        state = self._state(partition)
        return None if state is None else state.lso if committed else state.highwater

    def _passed(self, partition: TopicPartition, end: int) -> bool:
        if partition in self.stopped or self._state(partition) is None:
            return True
        at = self.at(partition)
        return at is not None and at >= end

    def _state(self, partition: TopicPartition) -> Any:
        assignment: Any = self.assigned()
        return None if assignment is None else assignment.state_value(partition)

    def _assign_keeping_positions(self, partitions: Any) -> None:
        """Go on where reading is when the topics change, in no group; the library would begin anew, and miss what new
        partitions hold where it reads from the end."""
        before: Any = self.assigned()
        self._assign_anew(partitions)
        if before is None:
            return
        for partition in partitions:
            old, new = before.state_value(partition), self._state(partition)
            if old is None:
                new.await_reset(OffsetResetStrategy.EARLIEST)
            elif old.has_valid_position:
                new.seek(old.position)

    async def _send(self, node: Any, request: Any, **options: Any) -> Any:
        answer = await self._unguarded(node, request, **options)
        if isinstance(request, FetchRequest):
            asked = {(topic, one[0]): one[1] for topic, some in request.topics for one in some}
            answer.topics = [
                (topic, [self._examined(TopicPartition(topic, one[0]), asked, one) for one in some])
                for topic, some in answer.topics
            ]
            while self._suspects:
                await self._ask_alone(*self._suspects.popitem())
        return answer

    def _examined(self, partition: TopicPartition, asked: Mapping[Any, int], told: tuple[Any, ...]) -> tuple[Any, ...]:
        """What the broker told of a partition, without what cannot be read."""
        answer, position = Answer.of(told), asked[partition]
        if answer.code in _BROKER_CANNOT:
            error = f"the broker cannot read it: {for_code(answer.code).__name__}"
            self._stop_at(partition, Unreadable(position, None, error))
        elif answer.code == _UNKNOWN_TOPIC:
            self._leave_alone(partition, MISSING_S)
        elif answer.code == _OUT_OF_RANGE:
            log.warning(
                "%s[%d] no longer holds offset %d: reading it anew", partition.topic, partition.partition, position
            )
            self._go_on(partition)
            self.on_reset(partition)
        elif answer.code == 0:
            return (*told[:-1], self._taken(partition, position, answer))
        return told

    def _taken(self, partition: TopicPartition, position: int, answer: Answer) -> bytes:
        """What can be read of an answer without an error."""
        found, bad = readable(answer.data, position)
        if bad is not None and not found:
            self._stop_at(partition, bad)
        elif found or position >= answer.end:
            self.silence.forget(partition)
            self._go_on(partition)
        elif self.silence.update(partition, position, answer.end, time.monotonic()) or partition in self.stopped:
            self._suspects[partition] = position
        return found

    async def _ask_alone(self, partition: TopicPartition, position: int) -> None:
        """Stop a partition that is silent even when it is asked for alone: beside others it may have had no room."""
        try:
            answer = await self.ask(partition, position)
        except KafkaError:
            return  # suspected again with the next answer
        if answer.silent(position):
            self._stop_at(partition, Unreadable(position, None, ERROR))
        else:
            self.silence.forget(partition)

    async def ask(self, partition: TopicPartition, offset: int) -> Answer:
        """What the broker answers at once to one who asks for a partition alone; nothing of what is read moves.

        Raises
        ------
        aiokafka.errors.KafkaError
            When the broker is out of reach.
        """
        topics = [(partition.topic, [(partition.partition, offset, ALONE_BYTES)])]
        request = FetchRequest(0, 1, ALONE_BYTES, READ_COMMITTED, topics)
        node = self._client.cluster.leader_for_partition(partition)
        if node is None or node == -1:
            raise LeaderNotAvailableError(partition)
        told = await self._unguarded(node, request)
        found = [one for topic, some in told.topics for one in some if (topic, one[0]) == partition]
        if not found:  # the broker's quota is spent: it leaves all partitions out
            raise RequestTimedOutError(partition)
        return Answer.of(found[0])

    def _leave_alone(self, partition: TopicPartition, seconds: float) -> None:
        """Do not fetch a partition for a while."""
        state = self._state(partition)
        if state is not None and not state.paused:
            state.pause()
            self._loop.call_later(seconds, state.resume)

    def _stop_at(self, partition: TopicPartition, bad: Unreadable) -> None:
        self.stopped[partition] = bad
        book.put(self, partition, bad)
        if self._told.get(partition) != bad.offset:
            self._told[partition] = bad.offset
            log.error(
                "%s[%d] cannot be read at offset %d (%s): it stands still until that is skipped",
                partition.topic,
                partition.partition,
                bad.offset,
                bad.error,
            )
        state = self._state(partition)
        if state is not None:
            state.pause()
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())

    def _go_on(self, partition: TopicPartition) -> None:
        if self.stopped.pop(partition, None) is not None:
            book.take(self, partition)
            self._told.pop(partition, None)
            log.warning("%s[%d] is read on", partition.topic, partition.partition)

    async def _watch(self) -> None:
        """Let stopped partitions go on once they may."""
        tried = time.monotonic()
        while self.stopped:
            await asyncio.sleep(LOOK_S)
            again = time.monotonic() - tried >= AGAIN_S
            tried = time.monotonic() if again else tried
            try:
                self._look(await self._skips(), again)
            except Exception:  # else they would stand still for ever
                log.exception("whether partitions may be read on cannot be told; looking again")

    def _look(self, skips: list[Skip], again: bool) -> None:
        for partition, bad in list(self.stopped.items()):
            state = self._state(partition)
            if state is None:  # another process has it now, or it is gone
                self._go_on(partition)
            elif (to := over(skips, partition.topic, partition.partition, bad.offset)) is not None:
                log.warning("%s[%d]: skipping to offset %d", partition.topic, partition.partition, to)
                self.seek(partition, to)
                self._go_on(partition)
                state.resume()
            elif again:
                state.resume()

    async def _skips(self) -> list[Skip]:
        try:
            return await skipped(self.config)
        except (KafkaError, OSError, TimeoutError):
            return []  # the next look is soon


def _ended(reading: "asyncio.Future[None]") -> KafkaError:
    why = None if reading.cancelled() else reading.exception()
    return KafkaError(f"reading has ended: {(why.__cause__ or why) if why else 'nobody knows why'!r}")


async def skipped(config: StreamsConfig) -> list[Skip]:
    """What operators had skipped.

    Raises
    ------
    aiokafka.errors.KafkaError
        When the broker is out of reach.
    """
    found = []
    consumer = Consumer(config)
    try:
        await consumer.start()
        if not (partitions := await consumer.partitions(Topics(config.topics.prefix).skipped)):
            return []
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        while not consumer.passed(ends):
            for messages in (await consumer.getmany(timeout_ms=200)).values():
                found += [skip for message in messages if (skip := skip_decoder(message.value)) is not None]
    finally:
        await consumer.stop()
    return found
