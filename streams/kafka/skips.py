"""Skips: unreadable batches that an operator had skipped.

Each is a record on ``liveshelf.skipped``, which is compacted: a process that reaches such a batch for the first time,
years later, skips it too. Pure.
"""

from collections.abc import Iterable

import msgspec


class Skip(msgspec.Struct, frozen=True):
    """Offsets of a partition, from ``first`` to before ``next``, that are not read."""

    topic: str
    partition: int
    first: int
    next: int
    error: str = ""


encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Skip).decode


def key(skip: Skip) -> bytes:
    """The key of a skip's record: its first offset's place."""
    return f"{skip.topic}:{skip.partition}:{skip.first}".encode()


def skip_decoder(value: bytes | None) -> Skip | None:
    """A skip from its record's value; None where the value is not a skip.

    Examples
    --------
    >>> skip_decoder(b'{"topic": "shop.events", "partition": 3, "first": 8, "next": 9}')
    Skip(topic='shop.events', partition=3, first=8, next=9, error='')
    >>> [skip_decoder(value) for value in (b"{}", b"[" * 100_000, b'{"topic": "\\xff"}', None)]
    [None, None, None, None]
    """
    try:
        return None if value is None else _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def over(skips: Iterable[Skip], topic: str, partition: int, offset: int) -> int | None:
    """The offset at which reading resumes after an unreadable one; None where that is not skipped.

    Examples
    --------
    >>> skips = [Skip("shop.events", 3, 812, 822), Skip("shop.events", 3, 822, 830)]
    >>> over(skips, "shop.events", 3, 812), over(skips, "shop.events", 3, 830)
    (822, None)
    """
    found = [
        skip.next
        for skip in skips
        if (skip.topic, skip.partition) == (topic, partition) and skip.first <= offset < skip.next
    ]
    return max(found, default=None)
