"""Skips an unreadable batch on an operator's command.

Writes what the broker gives of the batch to the dead-letter topic, then writes the skip to its own topic. Every process
that is stopped at the batch, or reaches it later, resumes behind it.
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

TIMEOUT_S = 30.0
BASE = struct.Struct(">q")
"""A batch's base offset, its first field."""


class SkipError(Exception):
    """There is nothing to skip, or the end of the batch is not known; the message says which."""


def skip(config: StreamsConfig, topic: str, partition: int, offset: int, to: int | None = None) -> Skip:
    """Have all readers skip a batch; returns once Kafka has the skip.

    Parameters
    ----------
    topic, partition, offset
        The place at which reading stops.
    to
        The offset at which reading resumes; by default the end of the batch.

    Raises
    ------
    SkipError
        When the offset can be read, is skipped already, or the end of the batch is not known.
    kafka.errors.KafkaError
        When the broker is out of reach.
    """
    try:
        return asyncio.run(_skip(config, TopicPartition(topic, partition), offset, to))
    except (*KAFKA_ERRORS, TimeoutError, OSError) as error:
        raise KafkaConnectionError(str(error) or f"no answer in {TIMEOUT_S:g} s") from error


async def _skip(config: StreamsConfig, partition: TopicPartition, offset: int, to: int | None) -> Skip:
    before = skips.over(await skipped(config), partition.topic, partition.partition, offset)
    if before is not None:
        raise SkipError(f"{_name(partition)} is skipped already from offset {offset}, to {before}")
    bad, end = await _unreadable(config, partition, offset)
    after = bad.next if to is None else to
    if after is None:
        raise SkipError(
            f"{_name(partition)} cannot be read at offset {offset} ({bad.error}), and the end of the batch is not "
            f"known: say where reading shall go on with --to; all that is there now ends at {end}"
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
    """The batch that stops reading at an offset, and the partition's end."""
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
            return Unreadable(offset, await _next_readable(consumer, partition, offset, end), ERROR), end
        async with asyncio.timeout(TIMEOUT_S):
            while (bad := consumer.stopped.get(partition)) is None:
                if await consumer.getmany(timeout_ms=100, max_records=1) or (consumer.at(partition) or 0) > offset:
                    raise SkipError(f"{_name(partition)} can be read at offset {offset}: there is nothing to skip")
        return bad, end
    finally:
        await consumer.stop()


async def _next_readable(consumer: Consumer, partition: TopicPartition, silent: int, end: int) -> int | None:
    """The first offset behind a silent one from which the broker gives batches again; None where there is none.

    Found by exponential, then binary search, since the broker is silent at each offset of the damaged range.
    """
    found, stride = None, 1
    while found is None or found - silent > 1:
        offset = min(silent + stride, end - 1) if found is None else (silent + found) // 2
        if offset == silent:
            return None
        base = _base(await consumer.ask(partition, offset))
        if base is None:
            silent, stride = offset, 2 * stride
        else:  # the offset's own batch, or the first one behind a gap
            found = base if base > silent else offset
    return found


def _base(answer: Answer) -> int | None:
    """The base offset of an answer's first batch; None where there is none."""
    return None if answer.code or len(answer.data) < BASE.size else int(BASE.unpack_from(answer.data)[0])


def _name(partition: TopicPartition) -> str:
    return f"{partition.topic}/{partition.partition}"
