"""Stepping over a batch that nobody can read, at an operator's word.

What is skipped is written to the dead-letter topic, as far as the broker gives it out; then the skip is written down,
and every process that stands there, or comes there later, goes on behind it.
"""

import asyncio
import struct

from aiokafka import TopicPartition

from streams.config import StreamsConfig
from streams.events.decode import Refusal
from streams.kafka import skips
from streams.kafka.admin import KafkaConnectionError
from streams.kafka.consumer import Answer, Consumer, skipped
from streams.kafka.dead_letters import UNREADABLE, DeadLetterWriter
from streams.kafka.errors import KAFKA_ERRORS
from streams.kafka.producer import Producer
from streams.kafka.record import Record
from streams.kafka.record_batches import Unreadable
from streams.kafka.skips import Skip
from streams.kafka.topics import Topics
from streams.kafka.unreadable import ERROR

PATIENCE_S = 30.0
BASE = struct.Struct(">q")
"""A batch's first offset, which it begins with."""


class SkipError(Exception):
    """There is nothing to skip, or it is not known how far; its words say which."""


def skip(config: StreamsConfig, topic: str, partition: int, offset: int, to: int | None = None) -> Skip:
    """Have a batch skipped by all who read it; done once Kafka has it.

    Parameters
    ----------
    topic, partition, offset
        Where reading stops.
    to
        Where it shall go on; where the batch ends, when not given.

    Raises
    ------
    SkipError
        When the offset can be read, is skipped already, or it cannot be told how far the batch reaches.
    kafka.errors.KafkaError
        When the broker is out of reach.
    """
    try:
        return asyncio.run(_skip(config, TopicPartition(topic, partition), offset, to))
    except (*KAFKA_ERRORS, TimeoutError, OSError) as error:
        raise KafkaConnectionError(str(error) or f"no answer in {PATIENCE_S:g} s") from error


async def _skip(config: StreamsConfig, partition: TopicPartition, offset: int, to: int | None) -> Skip:
    before = skips.over(await skipped(config), partition.topic, partition.partition, offset)
    if before is not None:
        raise SkipError(f"{_name(partition)} is skipped already from offset {offset}, to {before}")
    bad, end = await _unreadable(config, partition, offset)
    after = bad.next if to is None else to
    if after is None:
        raise SkipError(
            f"{_name(partition)} cannot be read at offset {offset} ({bad.error}), and how far that reaches cannot be "
            f"told: say where reading shall go on with --to; all that is there now ends at {end}"
        )
    if after <= offset:
        raise SkipError(f"--to {after} is not behind offset {offset}")
    first = min(offset, BASE.unpack_from(bad.batch)[0]) if len(bad.batch) >= BASE.size else offset
    done = Skip(partition.topic, partition.partition, first, after, bad.error)
    async with Producer(config) as send:
        source = Record(partition.topic, partition.partition, first, -1, None, bad.batch)
        refusal = Refusal(UNREADABLE, f"offsets {first} to {after - 1}: {bad.error}")
        await DeadLetterWriter(send, config.topics)(source, refusal)
        await send(Topics(config.topics.prefix).skipped, skips.key(done), skips.encode(done))
    return done


async def _unreadable(config: StreamsConfig, partition: TopicPartition, offset: int) -> tuple[Unreadable, int]:
    """What stops reading at an offset, and where the partition ends."""
    consumer = Consumer(config)
    try:
        await consumer.start()
        if partition not in await consumer.partitions(partition.topic):
            raise SkipError(f"there is no {_name(partition)}")
        consumer.assign([partition])
        consumer.seek(partition, offset)
        begin = (await consumer.beginning_offsets([partition]))[partition]
        end = (await consumer.end_offsets([partition]))[partition]
        if not begin <= offset < end:
            raise SkipError(f"{_name(partition)} holds offsets {begin} to {end - 1}")
        if (await consumer.ask(partition, offset)).silent(offset):
            return Unreadable(offset, await _speaks(consumer, partition, offset, end), ERROR), end
        async with asyncio.timeout(PATIENCE_S):
            while (bad := consumer.stopped.get(partition)) is None:
                if await consumer.getmany(timeout_ms=100, max_records=1) or (consumer.at(partition) or 0) > offset:
                    raise SkipError(f"{_name(partition)} can be read at offset {offset}: there is nothing to skip")
        return bad, end
    finally:
        await consumer.stop()


async def _speaks(consumer: Consumer, partition: TopicPartition, silent: int, end: int) -> int | None:
    """The first offset behind a silent one from which the broker gives batches again; None where there is none.

    It is looked for by asking, in strides that double and then by halves: as far as the broker is lost, it is silent
    at each offset.
    """
    found, stride = None, 1
    while found is None or found - silent > 1:
        offset = min(silent + stride, end - 1) if found is None else (silent + found) // 2
        if offset == silent:
            return None
        base = _base(await consumer.ask(partition, offset))
        if base is None:
            silent, stride = offset, 2 * stride
        else:  # of a batch, or of one behind a gap
            found = base if base > silent else offset
    return found


def _base(answer: Answer) -> int | None:
    """Where the first batch of an answer begins; None where there is none."""
    return None if answer.code or len(answer.data) < BASE.size else int(BASE.unpack_from(answer.data)[0])


def _name(partition: TopicPartition) -> str:
    return f"{partition.topic}/{partition.partition}"
