"""Dead letters: what could not be read, kept with the reason and where it stood.

The value is the bad record's value to the byte, so nothing is lost and a replay sends the same again; reason and source
are headers. What does not fit into a letter is cut, with the whole's length and SHA-256: the source topic still has it,
for as long as it keeps it. This module makes, sends and reads letters and knows nothing of why something is bad;
``streams.dead_letter_replay`` sends them again.
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
"""A longer key is cut to so many bytes."""

UNREADABLE = "unreadable"
"""Why a letter was written that holds no record but a whole batch, which nobody can read."""

PARTS = "key", "value"
"""Parts of a record that a letter may have cut."""

FIRST_BYTES = 16_384
"""What is kept of a value that does not fit."""


class Uncut(NamedTuple):
    """What a part was before it was cut: its bytes, and their SHA-256 in hexadecimal."""

    length: int
    sha256: str

    @classmethod
    def of(cls, part: bytes) -> "Uncut":
        """The length and hash of some bytes."""
        return cls(len(part), hashlib.sha256(part).hexdigest())


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A letter read back: its own place, and the bad record with the reason it was refused for.

    ``cut`` tells what the record's ``key`` and ``value`` were where the letter has only the first part of them.
    """

    partition: int
    offset: int
    reason: str
    detail: str
    source: Record
    timestamp_ms: int = -1
    cut: Mapping[str, Uncut] = field(default_factory=dict)


class Letter(NamedTuple):
    """A letter as it is sent."""

    key: bytes
    value: bytes | None
    headers: list[Header]


def letter(record: Record, refusal: Refusal, limit: int, first: int = FIRST_BYTES) -> Letter:
    """The letter for a record.

    Parameters
    ----------
    limit
        Bytes of the largest record that Kafka takes; a larger letter has only the first bytes of the value.
    first
        How many then.

    Examples
    --------
    >>> bad = Record("shop.events", 2, 7, 0, None, b"x" * 9_000)
    >>> len(letter(bad, Refusal("malformed", "no JSON"), limit=20_000).value)
    9000
    >>> cut = letter(bad, Refusal("malformed", "no JSON"), limit=2_000, first=10)
    >>> cut.value, dict(cut.headers)["value-length"], dict(cut.headers)["offset"]
    (b'xxxxxxxxxx', b'9000', b'7')
    """
    told, value = headers(record, refusal), record.value
    size = len(value or b"") + sum(len(name) + len(part) for name, part in told) + OVERHEAD_BYTES
    if value is not None and size > limit and len(value) > first:
        told += _whole("value", value)
        value = value[:first]
    return Letter(key(record), value, told)


def headers(record: Record, refusal: Refusal) -> list[Header]:
    """The headers of the letter for a record: bounded, whatever it is.

    Examples
    --------
    >>> dict(headers(Record("shop.events", 2, 7, 0, None, b"x"), Refusal("malformed", "no JSON")))["offset"]
    b'7'
    """
    told = [
        ("reason", refusal.reason.encode()),
        ("detail", refusal.detail[:MAX_DETAIL].encode("utf-8", "replace")),
        ("topic", record.topic.encode()),
        ("partition", str(record.partition).encode()),
        ("offset", str(record.offset).encode()),
        ("timestamp", str(record.timestamp_ms).encode()),
        *([("no-value", b"1")] if record.value is None else []),
    ]
    if record.key is not None:
        told.append(("key", record.key[:KEY_BYTES]))
        if len(record.key) > KEY_BYTES:
            told += _whole("key", record.key)
    return told


def key(record: Record) -> bytes:
    """Letters are keyed by source, so one source's letters keep their order."""
    return f"{record.topic}:{record.partition}".encode()


class DeadLetterWriter:
    """Sends letters that fit.

    Where the topic takes less than the settings say, as one made with others, a letter is cut further; one that is
    refused even so is left out, which the producer counts and logs.
    """

    def __init__(self, send: Send, config: TopicsConfig) -> None:
        self._send, self._topic, self._limit = send, Topics(config.prefix).dead_letters, largest_record(config)

    def __call__(self, record: Record, refusal: Refusal) -> Awaitable[None]:
        """Send the letter for a record; what it returns is done once the broker has it."""
        return asyncio.ensure_future(self._post(record, refusal))

    async def _post(self, record: Record, refusal: Refusal) -> None:
        for limit, first in ((self._limit, FIRST_BYTES), (0, FIRST_BYTES), (0, 0)):
            made = letter(record, refusal, limit, first)
            if (await self._send(self._topic, *made)) is None:
                return


def parse(message: Any) -> DeadLetter:
    """A letter from a consumed Kafka message; total, for anybody may write there: what says nothing is empty or -1."""
    told = dict(message.headers or ())
    return DeadLetter(
        partition=message.partition,
        offset=message.offset,
        reason=_text(told.get("reason")),
        detail=_text(told.get("detail")),
        source=Record(
            topic=_text(told.get("topic")),
            partition=_number(told.get("partition")),
            offset=_number(told.get("offset")),
            timestamp_ms=_number(told.get("timestamp")),
            key=told.get("key"),
            value=None if "no-value" in told else message.value,
        ),
        timestamp_ms=message.timestamp,
        cut={
            part: Uncut(_number(told.get(f"{part}-length")), _text(told.get(f"{part}-sha256")))
            for part in PARTS
            if f"{part}-sha256" in told
        },
    )


def _text(raw: bytes | None) -> str:
    return "" if raw is None else raw.decode("utf-8", "replace")


def _number(raw: bytes | None) -> int:
    """A whole number, -1 where there is none; hostile letters have long ones, too."""
    return int(raw) if raw and re.fullmatch(rb"-?[0-9]{1,18}", raw) else -1


def read(kafka: KafkaConfig, config: TopicsConfig) -> Iterator[DeadLetter]:
    """All letters there are now, oldest first in each partition."""
    return map(parse, contents(StreamsConfig(kafka=kafka, topics=config), Topics(config.prefix).dead_letters))


def _whole(part: str, value: bytes) -> list[Header]:
    whole = Uncut.of(value)
    return [(f"{part}-length", str(whole.length).encode()), (f"{part}-sha256", whole.sha256.encode())]
