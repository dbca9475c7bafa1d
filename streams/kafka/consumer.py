"""The project's only consumer: it reads committed records in any codec, and no bytes on a topic end it.

A batch that cannot be read stops its own partition; the others go on. The process reports the stopped partition and its
offset. The partition resumes within seconds once an operator skips the batch, or once the broker returns it undamaged.
Knows Kafka's library; nothing of what records mean. ``docs/reading.md`` lists the library's known faults and the
workaround for each.
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
from streams.kafka.unreadable import ERROR, SILENT_S, SilenceDetector, unreadable_partitions

log = logging.getLogger(__name__)

METADATA_MS = 10_000
"""Largest age of the topics' metadata; added partitions are read after at most so long."""
CHECK_S = 2.0
"""Interval at which skips are checked for while a partition is stopped."""
RETRY_S = 30.0
"""Interval at which a stopped partition is read again: damage on the way, or on one replica, may be gone next time."""
MISSING_S = 1.0
"""How long a missing partition is not fetched; the library would fetch it without a pause."""

ALONE_BYTES = 1 << 20
"""Bytes to fetch from a single partition; the first batch is returned whole, whatever its size."""

_OUT_OF_RANGE, _UNKNOWN_TOPIC = 1, 3
_BROKER_CANNOT = {-1, 2, 56, 87}
"""Errors of a broker that cannot read the batch itself: unknown server error, corrupt message, storage error, invalid
record."""


class Answer(NamedTuple):
    """A broker's answer for one partition: an error code, the end of what can be read, and batches from the requested
    offset on."""

    code: int
    end: int
    data: bytes

    @classmethod
    def of(cls, fields: tuple[Any, ...]) -> "Answer":
        """From a partition's fields in a fetch response; up to version 3 there is no last stable offset."""
        stable = fields[3] if len(fields) > 4 else -1
        return cls(fields[1], stable if stable >= 0 else fields[2], bytes(fields[-1] or b""))

    def silent(self, offset: int) -> bool:
        """Whether it is empty although the partition has records from an offset on."""
        return self.code == 0 and offset < self.end and readable(self.data, offset) == (b"", None)


class Consumer(AIOKafkaConsumer):  # type: ignore[misc]
    """aiokafka's consumer with the behaviour that this project needs.

    Parameters
    ----------
    config
        Kafka's addresses, the topics' prefix, and the largest record.
    topics
        The topics to read; none where the caller subscribes or assigns.
    settings
        More of the library's settings. They override the defaults here: the earliest offset, no automatic commits.

    Attributes
    ----------
    stopped
        The stopped partitions, each with its unreadable batch.
    silence
        Detects partitions that give no records although they hold more.
    on_reset
        Called with a partition whose offsets are gone, for example because its topic was deleted and created again;
        reading restarts there.
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
        self._logged: dict[TopicPartition, int] = {}
        self._resuming: asyncio.Task[None] | None = None
        self._unguarded_send = self._client.send
        self._client.send = self._send
        self._assign = self._subscription.assign_from_subscribed
        if settings.get("group_id") is None:  # a group resumes at its commits, so later positions do not count there
            self._subscription.assign_from_subscribed = self._assign_keeping_positions

    async def start(self) -> None:
        """Connect, and begin to read. After a failure or a cancellation nothing stays open.

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
        """As the library's.

        Raises
        ------
        aiokafka.errors.KafkaError
            Also when reading has ended.
        """
        self.check()
        found: dict[TopicPartition, list[Any]] = await super().getmany(*partitions, **options)
        return found

    async def getone(self, *partitions: TopicPartition) -> Any:
        """As the library's.

        Raises
        ------
        aiokafka.errors.KafkaError
            Also when reading has ended.
        """
        self.check()
        return await super().getone(*partitions)

    def check(self) -> None:
        """Check that reading goes on; the library itself would wait for records forever.

        Raises
        ------
        aiokafka.errors.KafkaError
            When reading has ended although nobody stopped it.
        """
        if self._fetcher is not None and self._fetcher.error_future.done() and not self._fetcher._closed:
            raise _ended(self._fetcher.error_future)

    def _reading_ended(self, reading: "asyncio.Future[None]") -> None:
        """Raise the error where a caller waits for records."""
        error = _ended(reading)
        if not self._fetcher._closed:
            log.error("%s", error)
            for waiting in list(self._fetcher._fetch_waiters):
                if not waiting.done():
                    waiting.set_exception(error)

    async def stop(self) -> None:
        """Close the connections."""
        if self._resuming is not None:
            self._resuming.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._resuming
        unreadable_partitions.forget(self)
        await super().stop()

    async def partitions(self, topic: str) -> list[TopicPartition]:
        """All partitions of a topic; none where there is no such topic."""
        cluster = self._client.cluster
        if cluster.partitions_for_topic(topic) is None:
            self._client.add_topic(topic)
            await self._client.force_metadata_update()
        return [TopicPartition(topic, number) for number in sorted(cluster.partitions_for_topic(topic) or ())]

    def passed(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Whether reading has passed these offsets; stopped and missing partitions do not count."""
        return all(self._passed(partition, end) for partition, end in ends.items())

    def assigned(self) -> object:
        """An object that stays the same as long as the assignment does."""
        subscription = self._subscription.subscription
        return None if subscription is None else subscription.assignment

    def at(self, partition: TopicPartition) -> int | None:
        """The offset of the next record to read in a partition; None while that is not known."""
        state = self._state(partition)
        return int(state.position) if state is not None and state.has_valid_position else None

    def end(self, partition: TopicPartition, committed: bool = True) -> int | None:
        """A partition's end at its last fetch; None before the first.

        Parameters
        ----------
        committed
            Whether it is the end before the first open transaction.
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
        """Keep the positions when the topics change, without a group.

        The library would reset them, and where it reads from the end it would miss the records of new partitions.
        """
        before: Any = self.assigned()
        self._assign(partitions)
        if before is None:
            return
        for partition in partitions:
            old, new = before.state_value(partition), self._state(partition)
            if old is None:
                new.await_reset(OffsetResetStrategy.EARLIEST)
            elif old.has_valid_position:
                new.seek(old.position)

    async def _send(self, node: Any, request: Any, **options: Any) -> Any:
        response = await self._unguarded_send(node, request, **options)
        if isinstance(request, FetchRequest):
            offsets = {(topic, one[0]): one[1] for topic, some in request.topics for one in some}
            response.topics = [
                (topic, [self._checked(TopicPartition(topic, one[0]), offsets, one) for one in some])
                for topic, some in response.topics
            ]
            while self._suspects:
                await self._ask_alone(*self._suspects.popitem())
        return response

    def _checked(
        self, partition: TopicPartition, offsets: Mapping[Any, int], fields: tuple[Any, ...]
    ) -> tuple[Any, ...]:
        """A partition's fields in a fetch response, without batches that cannot be read."""
        answer, position = Answer.of(fields), offsets[partition]
        if answer.code in _BROKER_CANNOT:
            error = f"the broker cannot read it: {for_code(answer.code).__name__}"
            self._stop_at(partition, Unreadable(position, None, error))
        elif answer.code == _UNKNOWN_TOPIC:
            self._leave_alone(partition, MISSING_S)
        elif answer.code == _OUT_OF_RANGE:
            log.warning(
                "%s[%d] no longer holds offset %d: reading restarts", partition.topic, partition.partition, position
            )
            self._go_on(partition)
            self.on_reset(partition)
        elif answer.code == 0:
            return (*fields[:-1], self._readable(partition, position, answer))
        return fields

    def _readable(self, partition: TopicPartition, position: int, answer: Answer) -> bytes:
        """The readable batches of an answer; stops the partition, or suspects it, where there are none."""
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
        """Stop a partition that is silent even when it is fetched alone: beside others there may have been no room."""
        try:
            answer = await self.ask(partition, position)
        except KafkaError:
            return  # the next answer raises the suspicion again
        if answer.silent(position):
            self._stop_at(partition, Unreadable(position, None, ERROR))
        else:
            self.silence.forget(partition)

    async def ask(self, partition: TopicPartition, offset: int) -> Answer:
        """The broker's immediate answer to a fetch of a single partition; the read position stays.

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
        response = await self._unguarded_send(node, request)
        found = [one for topic, some in response.topics for one in some if (topic, one[0]) == partition]
        if not found:  # the client exceeds its quota: the broker leaves all partitions out
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
        unreadable_partitions.put(self, partition, bad)
        if self._logged.get(partition) != bad.offset:
            self._logged[partition] = bad.offset
            log.error(
                "%s[%d] cannot be read at offset %d (%s): it is stopped until the batch is skipped",
                partition.topic,
                partition.partition,
                bad.offset,
                bad.error,
            )
        state = self._state(partition)
        if state is not None:
            state.pause()
        if self._resuming is None or self._resuming.done():
            self._resuming = asyncio.create_task(self._resume_stopped())

    def _go_on(self, partition: TopicPartition) -> None:
        if self.stopped.pop(partition, None) is not None:
            unreadable_partitions.remove(self, partition)
            self._logged.pop(partition, None)
            log.warning("%s[%d] is read again", partition.topic, partition.partition)

    async def _resume_stopped(self) -> None:
        """Resume stopped partitions whose batch is skipped, and retry the others from time to time."""
        tried = time.monotonic()
        while self.stopped:
            await asyncio.sleep(CHECK_S)
            retry = time.monotonic() - tried >= RETRY_S
            tried = time.monotonic() if retry else tried
            try:
                self._resume_once(await self._skips(), retry)
            except Exception:  # else they would stay stopped forever
                log.exception("stopped partitions could not be resumed; trying again")

    def _resume_once(self, skips: list[Skip], retry: bool) -> None:
        for partition, bad in list(self.stopped.items()):
            state = self._state(partition)
            if state is None:  # another process has it now, or it is gone
                self._go_on(partition)
            elif (to := over(skips, partition.topic, partition.partition, bad.offset)) is not None:
                log.warning("%s[%d]: skipping to offset %d", partition.topic, partition.partition, to)
                self.seek(partition, to)
                self._go_on(partition)
                state.resume()
            elif retry:
                state.resume()

    async def _skips(self) -> list[Skip]:
        try:
            return await skipped(self.config)
        except (KafkaError, OSError, TimeoutError):
            return []  # the next check is soon


def _ended(reading: "asyncio.Future[None]") -> KafkaError:
    why = None if reading.cancelled() else reading.exception()
    return KafkaError(f"reading has ended: {(why.__cause__ or why) if why else 'unknown'!r}")


async def skipped(config: StreamsConfig) -> list[Skip]:
    """The batches that operators had skipped.

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
