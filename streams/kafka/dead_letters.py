"""Dead letters: records that could not be read, each with the reason and its place.

A letter's value is the bad record's value, byte for byte, so nothing is lost and a replay sends the same again; reason
and source are headers. A part that does not fit into a letter is cut, and its full length and SHA-256 are kept: the
source topic still has it, until its retention ends. Makes, sends and reads letters; knows nothing of why a record is
bad. :mod:`streams.kafka.dead_letter_topic` sends the records again.
"""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from streams.config import KafkaConfig, StreamsConfig, TopicsConfig
from streams.events.decode import Refusal
from streams.kafka.record import Header, Record, Send
from streams.kafka.topic_reader import contents
from streams.kafka.topics import OVERHEAD_BYTES, Topics, largest_record

MAX_DETAIL = 1_000
KEY_BYTES = 16_384
"""Bytes to which a longer key is cut."""

UNREADABLE = "unreadable"
"""The reason of a letter that holds a whole unreadable batch instead of a record."""

PARTS = "key", "value"
"""Parts of a record that may be cut in a letter."""

FIRST_BYTES = 16_384
"""Bytes that are kept of a value that does not fit."""


class Uncut(NamedTuple):
    """A part before it was cut: its length in bytes, and its SHA-256 in hexadecimal."""

    length: int
    sha256: str

    @classmethod
    def of(cls, part: bytes) -> "Uncut":
        """The length and hash of some bytes."""
        return cls(len(part), hashlib.sha256(part).hexdigest())


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A letter that was read: its own place, and the bad record with the reason of its refusal.

    ``cut`` describes the record's whole ``key`` and ``value`` where the letter has only the first part of them.
    """

    partition: int
    offset: int
    reason: str
    detail: str
    source: Record
    timestamp_ms: int = -1
    cut: Mapping[str, Uncut] = field(default_factory=dict)


class Letter(NamedTuple):
    """A letter to send."""

    key: bytes
    value: bytes | None
    headers: list[Header]


def letter(record: Record, refusal: Refusal, limit: int, first: int = FIRST_BYTES) -> Letter:
    """The letter for a record.

    Parameters
    ----------
    limit
        Bytes of the largest record that Kafka takes; a larger letter has only the value's first bytes.
    first
        The number of these first bytes.

    Examples
    --------
    >>> bad = Record("shop.events", 2, 7, 0, None, b"x" * 9_000)
    >>> len(letter(bad, Refusal("malformed", "no JSON"), limit=20_000).value)
    9000
    >>> cut = letter(bad, Refusal("malformed", "no JSON"), limit=2_000, first=10)
    >>> cut.value, dict(cut.headers)["value-length"], dict(cut.headers)["offset"]
    (b'xxxxxxxxxx', b'9000', b'7')
    """
    fields, value = headers(record, refusal), record.value if record.raw is None else record.raw
    size = len(value or b"") + sum(len(name) + len(part) for name, part in fields) + OVERHEAD_BYTES
    if value is not None and size > limit and len(value) > first:
        fields += _whole("value", value)
        value = value[:first]
    return Letter(key(record), value, fields)


def headers(record: Record, refusal: Refusal) -> list[Header]:
    """The headers of a record's letter; their size is bounded for any record.

    Examples
    --------
    >>> dict(headers(Record("shop.events", 2, 7, 0, None, b"x"), Refusal("malformed", "no JSON")))["offset"]
    b'7'
    """
    fields = [
        ("reason", refusal.reason.encode()),
        ("detail", refusal.detail[:MAX_DETAIL].encode("utf-8", "replace")),
        ("topic", record.topic.encode()),
        ("partition", str(record.partition).encode()),
        ("offset", str(record.offset).encode()),
        ("timestamp", str(record.timestamp_ms).encode()),
        *([("no-value", b"1")] if record.value is None else []),
    ]
    if record.key is not None:
        fields.append(("key", record.key[:KEY_BYTES]))
        if len(record.key) > KEY_BYTES:
            fields += _whole("key", record.key)
    return fields


def key(record: Record) -> bytes:
    """The key of a record's letter: its partition, so that the letters of one partition keep their order."""
    return f"{record.topic}:{record.partition}".encode()


class DeadLetterWriter:
    """Sends letters, cut to the size that the topic takes.

    Where the topic takes less than the settings say, for example because it was created with other settings, a letter
    is cut further. A letter that is still refused is dropped; the producer counts and logs it.
    """

    def __init__(self, send: Send, config: TopicsConfig) -> None:
        self._send, self._topic, self._limit = send, Topics(config.prefix).dead_letters, largest_record(config)

    def __call__(self, record: Record, refusal: Refusal) -> Awaitable[None]:
        """Send a record's letter; the awaitable is done once the broker has it."""
        return asyncio.ensure_future(self._post(record, refusal))

    async def _post(self, record: Record, refusal: Refusal) -> None:
        for limit, first in ((self._limit, FIRST_BYTES), (0, FIRST_BYTES), (0, 0)):
            fitted = letter(record, refusal, limit, first)
            if (await self._send(self._topic, *fitted)) is None:
                return


def parse(message: Any) -> DeadLetter:
    """A letter from a consumed Kafka message, whatever it holds; fields that are missing or bad are empty or -1."""
    fields = dict(message.headers or ())
    return DeadLetter(
        partition=message.partition,
        offset=message.offset,
        reason=_text(fields.get("reason")),
        detail=_text(fields.get("detail")),
        source=Record(
            topic=_text(fields.get("topic")),
            partition=_number(fields.get("partition")),
            offset=_number(fields.get("offset")),
            timestamp_ms=_number(fields.get("timestamp")),
            key=fields.get("key"),
            value=None if "no-value" in fields else message.value,
        ),
        timestamp_ms=message.timestamp,
        cut={
            part: Uncut(_number(fields.get(f"{part}-length")), _text(fields.get(f"{part}-sha256")))
            for part in PARTS
            if f"{part}-sha256" in fields
        },
    )


def _text(raw: bytes | None) -> str:
    return "" if raw is None else raw.decode("utf-8", "replace")


def _number(raw: bytes | None) -> int:
    """A whole number, -1 where there is none; longer ones, as in hostile letters, count as none."""
    return int(raw) if raw and re.fullmatch(rb"-?[0-9]{1,18}", raw) else -1


def read(kafka: KafkaConfig, config: TopicsConfig) -> Iterator[DeadLetter]:
    """All present letters, oldest first in each partition."""
    return map(parse, contents(StreamsConfig(kafka=kafka, topics=config), Topics(config.prefix).dead_letters))


def _whole(part: str, value: bytes) -> list[Header]:
    whole = Uncut.of(value)
    return [(f"{part}-length", str(whole.length).encode()), (f"{part}-sha256", whole.sha256.encode())]
