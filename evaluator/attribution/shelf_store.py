"""What is known of shelves, in Redis: in buckets, each with marks up to which offset it is complete.

All of a bucket lies in one hash slot, and so on one server. A script writes its shelves and its marks together. A
replica that takes a master's place without the last writes has lost both. So a mark is never above what is there, and
a loss shows. Knows Redis; nothing of Kafka but partitions and offsets.
"""

import logging
import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from redis.asyncio import Redis

from evaluator.attribution import example
from evaluator.attribution.example import ShelfContext
from streams.events.decode import UNDECODABLE
from streams.redis.lua import Scripts, replacing

log = logging.getLogger(__name__)

BUCKETS = 16
"""Never to be changed: a shelf is looked up in the bucket of its id."""

SCRIPTS = ("remember", "known")


class OffsetRange(NamedTuple):
    """A range of a partition of the shelves, which a batch has completely.

    Attributes
    ----------
    first, end
        Its first offset, and the one after its last.
    until
        After it, all of the partition's shelves that were made before this time (epoch ms) are known; None where it
        does not show how far the partition was read.
    """

    partition: int
    first: int
    end: int
    until: int | None = None


class ShelfStore:
    """What an evaluator group knows of shelves.

    Parameters
    ----------
    client
        A connected asyncio client, owned by the caller.
    group
        The evaluators' consumer group, part of every key.
    ttl_s
        How long a shelf is known.
    """

    def __init__(self, client: "Redis", group: str, ttl_s: int) -> None:
        self.client, self.group, self.ttl_s = client, group, ttl_s
        self._scripts = Scripts(client, "evaluator.attribution", SCRIPTS)
        self._every_mark = [self.marks(number) for number in range(BUCKETS)]

    async def remember(self, shelves: Mapping[str, ShelfContext], ranges: Sequence[OffsetRange]) -> dict[int, int]:
        """Keep shelves, by id, that were read in these ranges.

        Returns
        -------
        dict
            For each partition the offset before which all buckets are complete; -1 where one has nothing. It is lower
            than a range's end where Redis has lost something before it. Then the partition must be read again from it.
        """
        if not ranges:
            return {}
        parts: list[dict[str, bytes]] = [{} for _ in range(BUCKETS)]
        for shelf_id, known in shelves.items():
            parts[bucket(shelf_id)][shelf_id] = example.context_encoder.encode(known)
        numbers = [word for one in ranges for word in (*one[:3], "" if one.until is None else one.until)]

        async def send(pipe: Any) -> list[Any]:
            for number, mine in enumerate(parts):
                keys = [self.marks(number), *(self._shelf(number, shelf_id) for shelf_id in mine)]
                self._scripts.add(pipe, "remember", keys, self.ttl_s, len(ranges), *numbers, *mine.values())
            return list(await pipe.execute())

        answers = await self._scripts.run(send)
        return {one.partition: min(has) for one, has in zip(ranges, zip(*answers, strict=True), strict=True)}

    async def lowest(self, partitions: Sequence[int]) -> dict[int, int]:
        """For each partition the offset before which all buckets are complete; -1 where one has nothing."""
        if not partitions:
            return {}
        fields = [f"{partition}.offset" for partition in partitions]

        async def read() -> list[Any]:
            async with self.client.pipeline(transaction=False) as pipe:
                for key in self._every_mark:
                    pipe.hmget(key, fields)
                return list(await pipe.execute())

        answers = await replacing(self.client, read, self._every_mark)
        marks = zip(partitions, zip(*answers, strict=True), strict=True)
        return {partition: min(map(_offset, has)) for partition, has in marks}

    async def begin(self, partition: int, offset: int) -> None:
        """Begin a partition at an offset: all buckets are complete up to it, but not known to be up to any time."""

        async def write() -> None:
            async with self.client.pipeline(transaction=False) as pipe:
                for key in self._every_mark:
                    pipe.hset(key, mapping={f"{partition}.offset": offset, f"{partition}.until": 0})
                await pipe.execute()

        await replacing(self.client, write, self._every_mark)

    async def known(self, shelf_ids: Iterable[str], until: int, partitions: int) -> dict[str, ShelfContext | None]:
        """What is known of shelves; None for a shelf that is not ours.

        Parameters
        ----------
        until
            A time (epoch ms). Shelves are left out where their bucket lacks some that were made before it.
        partitions
            Number of partitions of the topic of shelves; 0 where there is no topic, and nothing is known.
        """
        parts: defaultdict[int, list[str]] = defaultdict(list)
        for shelf_id in dict.fromkeys(shelf_ids):
            parts[bucket(shelf_id)].append(shelf_id)

        async def send(pipe: Any) -> list[Any]:
            for number, mine in parts.items():
                keys = [self.marks(number), *(self._shelf(number, shelf_id) for shelf_id in mine)]
                self._scripts.add(pipe, "known", keys, until, partitions)
            return list(await pipe.execute())

        answers = await self._scripts.run(send)
        return {
            shelf_id: _known(value)
            for mine, values in zip(parts.values(), answers, strict=True)
            if values
            for shelf_id, value in zip(mine, values, strict=True)
        }

    def marks(self, number: int) -> str:
        """The key of a bucket's marks: for each partition up to which offset, and up to when, it is complete."""
        return f"ls:{{{self.group}.shelves.{number}}}:marks"

    def _shelf(self, number: int, shelf_id: str) -> str:
        return f"ls:{{{self.group}.shelves.{number}}}:shelf:{shelf_id}"


def bucket(shelf_id: str) -> int:
    """The bucket of a shelf.

    Examples
    --------
    >>> bucket("d311770f6c5809dd84d03546") == bucket("d311770f6c5809dd84d03546") < BUCKETS
    True
    """
    return zlib.crc32(shelf_id.encode("utf-8", "surrogatepass")) % BUCKETS


def _offset(mark: bytes | None) -> int:
    """The offset of a mark; -1 where there is none."""
    return int(mark) if mark is not None and re.fullmatch(rb"[0-9]{1,18}", mark) else -1


def _known(value: bytes | None) -> ShelfContext | None:
    """What is kept of a shelf; None where there is nothing, or something that cannot be read."""
    try:
        return example.context_decoder.decode(value) if value else None
    except UNDECODABLE as error:
        log.error("Redis holds what is no shelf under a shelf's key, which counts as none: %s", error)
        return None
