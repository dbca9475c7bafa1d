"""Dead letters: what could not be read, kept whole with the reason and where it stood.

The value is the bad record's value to the byte, so nothing is lost and a replay sends the same again; reason and source
are headers. This module makes and reads letters and knows nothing of why something is bad.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

from streams.config import KafkaConfig, StreamsConfig, TopicsConfig
from streams.contents import contents
from streams.decode import Refusal
from streams.record import Header, Record
from streams.topics import Topics

MAX_DETAIL = 1_000


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A letter read back: its own place, and the bad record with the reason it was refused for."""

    partition: int
    offset: int
    reason: str
    detail: str
    source: Record


def headers(record: Record, refusal: Refusal) -> list[Header]:
    """The headers of the letter for a record.

    Examples
    --------
    >>> dict(headers(Record("shop.events", 2, 7, 0, None, b"x"), Refusal("malformed", "no JSON")))["offset"]
    b'7'
    """
    return [
        ("reason", refusal.reason.encode()),
        ("detail", refusal.detail[:MAX_DETAIL].encode("utf-8", "replace")),
        ("topic", record.topic.encode()),
        ("partition", str(record.partition).encode()),
        ("offset", str(record.offset).encode()),
        ("timestamp", str(record.timestamp_ms).encode()),
        *([("no-value", b"1")] if record.value is None else []),
        *([("key", record.key)] if record.key is not None else []),
    ]


def key(record: Record) -> bytes:
    """Letters are keyed by source, so one source's letters keep their order."""
    return f"{record.topic}:{record.partition}".encode()


def parse(message: Any) -> DeadLetter:
    """A letter from a consumed Kafka message."""
    told = dict(message.headers or ())

    def number(name: str) -> int:
        text = told.get(name, b"").decode("ascii", "replace")
        return int(text) if text.lstrip("-").isdigit() else -1

    return DeadLetter(
        partition=message.partition,
        offset=message.offset,
        reason=told.get("reason", b"").decode("utf-8", "replace"),
        detail=told.get("detail", b"").decode("utf-8", "replace"),
        source=Record(
            topic=told.get("topic", b"").decode("utf-8", "replace"),
            partition=number("partition"),
            offset=number("offset"),
            timestamp_ms=number("timestamp"),
            key=told.get("key"),
            value=None if "no-value" in told else message.value,
        ),
    )


def read(kafka: KafkaConfig, config: TopicsConfig, group: str | None = None) -> Iterator[DeadLetter]:
    """All letters there are now, oldest first in each partition.

    Parameters
    ----------
    group
        A consumer group: letters before its committed offsets are left out.
    """
    return map(
        parse, contents(StreamsConfig(kafka=kafka, topics=config), Topics(config.prefix).dead_letters, group=group)
    )


def replay(
    kafka: KafkaConfig, config: TopicsConfig, group: str, reason: str | None = None, again: bool = False
) -> tuple[int, int]:
    """Send letters to the topics they came from, each once; meant for after the cause is mended.

    Letters are remembered as replayed by the group's committed offsets, which are set once the broker has them all.

    Parameters
    ----------
    reason
        Only letters refused for this; the others are passed over for good, unless ``again``.
    again
        Replay from the first letter, whatever was replayed before.

    Returns
    -------
    (sent, passed) : int, int
    """
    topic = Topics(config.prefix).dead_letters
    producer = KafkaProducer(**kafka.client(), acks="all", max_request_size=2 * config.max_message_bytes)
    sent = passed = 0
    reached: dict[int, int] = {}
    failures: list[BaseException] = []
    try:
        for letter in read(kafka, config, None if again else group):
            reached[letter.partition] = letter.offset + 1
            if (reason is not None and letter.reason != reason) or not letter.source.topic:
                passed += 1
                continue
            future = producer.send(letter.source.topic, key=letter.source.key, value=letter.source.value)
            future.add_errback(failures.append)
            sent += 1
        producer.flush()
    finally:
        producer.close()
    if failures:
        raise failures[0]
    _commit(kafka, topic, group, reached)
    return sent, passed


def _commit(kafka: KafkaConfig, topic: str, group: str, reached: dict[int, int]) -> None:
    consumer = KafkaConsumer(**kafka.client(), group_id=group, enable_auto_commit=False)
    try:
        consumer.assign([TopicPartition(topic, number) for number in reached])
        consumer.commit(
            {TopicPartition(topic, number): OffsetAndMetadata(offset, "", -1) for number, offset in reached.items()}
        )
    finally:
        consumer.close()
