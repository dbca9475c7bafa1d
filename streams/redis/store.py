"""The store of the state in Redis: shoppers' past, demand counters, shelves and an index of what they show. All access
to this state goes through here, by atomic scripts.

Every call waits for Redis' answer. If Redis is away, loading, full or was flushed, calls retry with backoff for as long
as it takes: all writes may be repeated without harm, so the cost is only a pause. Knows nothing of Kafka, models, or
why anything is written.
"""

import hashlib
import logging
import math
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence, Set
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from streams.clock import wall_ms
from streams.config import BotsConfig, StateConfig
from streams.events.schema import AnyEvent
from streams.features import shopper as memory
from streams.features.click_effects import Counts, Key
from streams.features.items import WIDTH
from streams.features.own import MOST_VISITS
from streams.features.shopper import shard
from streams.redis.connection import slot
from streams.redis.keys import escape, own
from streams.redis.lua import Scripts, wrong_kind
from streams.redis.retry import RedisRetry

log = logging.getLogger(__name__)

SCRIPTS = (
    *("remember", "changed", "top", "put_shelves", "note_shown", "take_shown", "take_out", "note_filtered"),
    *("renew", "take_due", "statistics"),
)
SHOPPERS_AT_ONCE = 16
"""Shoppers whose events one script takes: Redis answers nobody else meanwhile."""

SHELVES_AT_ONCE = 64
"""Shelves that one script writes."""

SEARCHED_KEPT = 200
"""The newest queries of a shopper whose personal shelves are found without a scan."""

SHOWN_KEPT = 512
"""Shelves kept for an item and epoch: the most integers that Redis keeps in one array (``set-max-intset-entries``)."""

COMPACT = 127
"""The most items seen together with one that stay a listpack. With more than 128 (``zset-max-listpack-entries``) Redis
makes a sorted set a skiplist, of ten times the bytes, and leaves it one however many are removed."""

EFFECTS = own(0, "effects")
"""A hash of what is counted of shown items: by partition and what it is of, the counts and their time."""

_COUNTS = struct.Struct("<ddq")

MOST_COUNTED = 1e15
"""Touches from which a count is not ours; sums of smaller ones are far from infinity."""

NUMBER_DIGITS = 16
"""The most digits of a shelf's number; a longer value, or one that is not a number, is not ours."""

T = TypeVar("T")


class StateStore:
    """Liveshelf's state in Redis.

    Parameters
    ----------
    client
        A connected asyncio client, owned by the caller.
    config
        Caps, windows and lifetimes.
    marked_s
        For how long the events of a shopper marked as a bot do not count as demand.
    """

    def __init__(self, client: "Redis", config: StateConfig, marked_s: int = BotsConfig().marked_s) -> None:
        self.client = client
        self.config = config
        self.marked_s = marked_s
        self.retry = RedisRetry()
        self._scripts = Scripts(client, "streams.redis", SCRIPTS)
        bounds = (
            *(config.history_items, config.history_queries, config.bought_items, config.own_items, MOST_VISITS),
            *(config.items, config.together_items, most_together(config.together_items)),
            *(config.trend_bucket_s * 1000, config.trend_bucket_s * config.trend_buckets * 2),
        )
        self._bounds = [b"%d" % bound for bound in bounds]  # sent with each event, so encoded once

    async def remember(
        self,
        events: Mapping[str, Sequence[AnyEvent]],
        newest: int,
        bots: Set[str] = frozenset(),
        brought: Mapping[str, Sequence[Any]] | None = None,
        *,
        kept: bool = True,
    ) -> tuple[dict[str, memory.Shopper], memory.Uncounted]:
        """Add events to their shoppers' past and return it, by a script for each shard in one round trip; with how many
        acts count for nothing.

        Parameters
        ----------
        events
            New events by shopper; an empty sequence only reads.
        newest
            How many of the newest touched items to return.
        bots
            Shoppers that are marked from now on: their events are remembered, but do not count as demand.
        brought
            By shopper, more arguments of the script, four for each event (`streams.redis.identity`).
        kept
            Whether what is remembered of these shoppers lives on from now.
        """
        config, brought = self.config, brought or {}
        lives = (config.ttl_s if kept else 0, max(config.ttl_s, config.buyer_ttl_s))

        by_shard: dict[int, list[str]] = {}
        for shopper in events:
            by_shard.setdefault(shard(shopper, config.shards), []).append(shopper)
        calls = [
            (number, names[start : start + SHOPPERS_AT_ONCE])
            for number, names in by_shard.items()
            for start in range(0, len(names), SHOPPERS_AT_ONCE)
        ]

        def new(shopper: str) -> tuple[str, int, list[Any]]:
            more = (
                packed_bytes(one if isinstance(one, bytes) else str(one).encode()) for one in brought.get(shopper, ())
            )
            return (
                escape(shopper),
                self.marked_s if shopper in bots else 0,
                [*memory.arguments(events[shopper]), *more],
            )

        async def send(pipe: Any) -> list[Any]:
            for number, names in calls:
                self._scripts.add(
                    pipe,
                    "remember",
                    [own(number)],
                    *lives,
                    *self._bounds,
                    newest,
                    config.counted_items,
                    memory.ACTS,
                    config.segments,
                    SEARCHED_KEPT,
                    msgspec.msgpack.encode([new(shopper) for shopper in names]),
                )
            replies: list[Any] = await pipe.execute()
            return replies

        found: dict[str, memory.Shopper] = {}
        uncounted = memory.Uncounted()
        for (_, names), replies in zip(calls, await self._with_retry(send), strict=True):
            for shopper, reply in zip(names, replies, strict=True):
                found[shopper], mine = memory.parse(reply)
                uncounted += mine
        return {shopper: found[shopper] for shopper in events}, uncounted

    async def together(self, items: Sequence[str]) -> dict[str, dict[str, float]]:
        """For each of these items those seen in the same visit, with forward-decayed counts, the highest first."""
        sums = await self._top([f"with:{item}" for item in items], most_together(self.config.together_items))
        return {
            item: {name: counts[name] for name in sorted(counts, key=lambda name: (-counts[name], name))}
            for item, counts in zip(items, sums, strict=True)
        }

    async def changed(self, since_ms: Sequence[int]) -> tuple[list[str], list[int]]:
        """Items whose statistics changed, and when they did last, by shard.

        Parameters
        ----------
        since_ms
            For each shard the time by Redis' clock, epoch ms, from which on changes are wanted.
        """

        async def send(pipe: Any) -> list[Any]:
            for number, since in enumerate(since_ms):
                self._scripts.add(pipe, "changed", [own(number, "changed")], since)
            replies: list[Any] = await pipe.execute()
            return replies

        found: dict[str, None] = {}
        last, latest = list(since_ms), wall_ms() + 86_400_000
        for number, reply in enumerate(await self._with_retry(send)):
            for item, at in zip(reply[::2], reply[1::2], strict=True):
                found[item.decode("utf-8", "replace")] = None
                if float(at) <= latest:  # what claims to be from later would hide all changes until then
                    last[number] = max(last[number], int(float(at)))
        return list(found), last

    async def statistics(self, items: Sequence[str]) -> dict[str, list[npt.NDArray[np.float64]]]:
        """For each item the statistics that shards hold, float64 [WIDTH] each; none for values that are not ours."""
        packed = msgspec.msgpack.encode(items)

        async def send(pipe: Any) -> list[Any]:
            for number in range(self.config.shards):
                self._scripts.add(pipe, "statistics", [own(number)], packed)
            replies: list[Any] = await pipe.execute()
            return replies

        of_shards = await self._with_retry(send) if items else []
        return {
            item: [np.frombuffer(one, "<f8") for one in parts if one and len(one) == 8 * WIDTH]
            for item, parts in zip(items, zip(*of_shards, strict=True), strict=True)
        }

    async def trend(self, buckets: Iterable[int]) -> dict[int, dict[str, int]]:
        """Weighted counts of touches by item for each time bucket, for the most touched items of each shard."""
        wanted = list(buckets)
        return dict(
            zip(
                wanted,
                (
                    {item: int(count) for item, count in counts.items()}
                    for counts in await self._top([f"trend:{bucket}" for bucket in wanted], self.config.trend_items)
                ),
                strict=True,
            )
        )

    async def segment_trend(self, buckets: Sequence[int], segments: int) -> dict[int, dict[str, dict[str, int]]]:
        """The counts of `trend` by the segment of who touched, for each bucket's segments of highest demand."""
        named = await self._top([f"segments:{bucket}" for bucket in buckets], segments)
        wanted = [
            (bucket, segment)
            for bucket, counts in zip(buckets, named, strict=True)
            for segment in sorted(counts, key=lambda name: (-counts[name], name))[:segments]
        ]
        names = [f"trend:{bucket}:{segment}" for bucket, segment in wanted]
        found: dict[int, dict[str, dict[str, int]]] = {}
        for (bucket, segment), counts in zip(wanted, await self._top(names, self.config.trend_items), strict=True):
            found.setdefault(bucket, {})[segment] = {item: int(count) for item, count in counts.items()}
        return found

    async def effects(self, partition: int | None = None) -> dict[int, dict[Key, Counts]]:
        """What is counted of shown items by each partition of the events, or by one of them. Entries that are not ours
        are left out."""
        wanted = "*" if partition is None else f"{partition} *"
        latest = wall_ms() + 86_400_000  # what claims to be from later would never lose weight

        async def scan() -> dict[int, dict[Key, Counts]]:
            found: dict[int, dict[Key, Counts]] = {}
            async for name, value in self.client.hscan_iter(EFFECTS, match=wanted, count=1_000):
                number, _, rest = name.decode("utf-8", "replace").partition(" ")
                kind, _, of = rest.partition(" ")
                if not (of and number.isdecimal() and len(number) <= NUMBER_DIGITS and len(value) == _COUNTS.size):
                    continue
                counts = Counts(*_COUNTS.unpack(value))
                if 0 <= counts.expected < MOST_COUNTED and 0 <= counts.touched < MOST_COUNTED and counts.ts <= latest:
                    found.setdefault(int(number), {})[Key(kind, of)] = counts
            return found

        return await self._replaced(EFFECTS, scan)

    async def put_effects(self, partition: int, counts: Mapping[Key, Counts], dropped: Sequence[Key]) -> None:
        """Write what a partition counts of shown items, and remove what it has dropped."""
        rows: dict[Any, Any] = {f"{partition} {key.kind} {key.name}": _COUNTS.pack(*one) for key, one in counts.items()}
        gone = [f"{partition} {key.kind} {key.name}" for key in dropped]

        async def send() -> None:
            async with self.client.pipeline(transaction=False) as pipe:
                if rows:
                    pipe.hset(EFFECTS, mapping=rows)
                if gone:
                    pipe.hdel(EFFECTS, *gone)
                pipe.expire(EFFECTS, self.config.ttl_s)
                await pipe.execute()

        if rows or gone:
            await self._replaced(EFFECTS, send)

    async def forgotten(self, shoppers: Sequence[str]) -> dict[str, int]:
        """Those of some shoppers that were forgotten, and up to when (epoch ms): events until then are ignored."""
        names = [own(shard(one, self.config.shards), "forgotten", one) for one in shoppers]

        async def send(pipe: Any) -> list[Any]:
            for name in names:
                pipe.hget(name, "at")
            replies: list[Any] = await pipe.execute()
            return replies

        found = zip(shoppers, await self._with_retry(send) if names else (), strict=True)
        return {shopper: int(at) for shopper, at in found if at is not None and at.isdigit()}

    async def _top(self, names: Sequence[str], k: int) -> list[dict[str, float]]:
        """For each named sorted set, the ``k`` highest members of every shard, with their scores summed over shards."""
        packed = msgspec.msgpack.encode(names)

        async def send(pipe: Any) -> list[Any]:
            for number in range(self.config.shards):
                self._scripts.add(pipe, "top", [own(number)], k, packed)
            replies: list[Any] = await pipe.execute()
            return replies

        sums: list[dict[str, float]] = [{} for _ in names]
        for reply in await self._with_retry(send) if names else ():
            for counts, flat in zip(sums, reply, strict=True):
                for member, score in zip(flat[::2], flat[1::2], strict=True):
                    if math.isfinite(count := float(score)):
                        name = member.decode("utf-8", "replace")
                        counts[name] = counts.get(name, 0.0) + count
        return sums

    async def put(
        self,
        shelves: Sequence[tuple[str, bytes, int]],
        ttl_s: int,
        shown: Sequence[Sequence[str]] = (),
        lives: Mapping[str, int] = MappingProxyType({}),
        renewals: Mapping[str, int] = MappingProxyType({}),
    ) -> list[bool]:
        """Write shelves ``(key, value, event time ms)``; a newer shelf under the key stays.

        Parameters
        ----------
        shown
            The ids of each shelf's items, so that an item can be removed later. They are written to the index first, so
            that the index knows every shelf.
        lives
            How long shelves live that live less than ``ttl_s``, in seconds, by key.
        renewals
            Shoppers whose feeds are to be made again, and when, epoch ms.

        Returns
        -------
        list of bool
            Whether each was written.
        """
        by_shard = self._shown_by_shard([(key, items) for (key, _, _), items in zip(shelves, shown, strict=False)])
        epoch = epochs(wall_ms(), ttl_s)[0]
        by_slot: dict[int, list[int]] = {}
        for place, (key, _, _) in enumerate(shelves):
            by_slot.setdefault(slot(self.client, key), []).append(place)
        calls = [
            places[start : start + SHELVES_AT_ONCE]
            for places in by_slot.values()
            for start in range(0, len(places), SHELVES_AT_ONCE)
        ]

        async def send(pipe: Any) -> list[Any]:
            for number, shown_items in by_shard.items():
                self._scripts.add(pipe, "note_shown", [own(number)], epoch, ttl_s, SHOWN_KEPT, shown_items)
            for places in calls:
                mine = [
                    part
                    for key, value, event_ts in (shelves[place] for place in places)
                    for part in (key, packed_bytes(value), event_ts, min(lives.get(key, ttl_s), ttl_s))
                ]
                self._scripts.add(pipe, "put_shelves", [shelves[places[0]][0]], msgspec.msgpack.encode(mine))
            self._add_renewals(pipe, {shopper: (due, None) for shopper, due in renewals.items()})
            replies: list[Any] = await pipe.execute()
            return replies[len(by_shard) :][: len(calls)]

        written = [False] * len(shelves)
        for places, reply in zip(calls, await self._with_retry(send) if shelves else (), strict=True):
            for place, done in zip(places, reply, strict=True):
                written[place] = bool(done)
        return written

    async def take_due(self, number: int, now_ms: int, again_ms: int, most: int) -> dict[str, int]:
        """Take shoppers of a shard whose feeds are to be made again.

        Parameters
        ----------
        now_ms, again_ms
            The time now, and when they are due again should they not be noted until then (`renew`).

        Returns
        -------
        dict
            By shopper the time (ms) at which it was due, the earliest first.
        """

        async def send(pipe: Any) -> list[Any]:
            self._scripts.add(pipe, "take_due", [own(number, "renewals")], now_ms, again_ms, most)
            replies: list[Any] = await pipe.execute()
            return replies

        [flat] = await self._with_retry(send)
        found: dict[str, int] = {}
        foreign: list[bytes] = []  # no shoppers of this shard: they cannot be noted again
        for member, due in zip(flat[::2], flat[1::2], strict=True):
            name = member.decode("utf-8", "replace")
            if name.encode("utf-8", "replace") != member or shard(name, self.config.shards) != number:
                foreign.append(member)
            else:
                found[name] = int(float(due)) if math.isfinite(float(due)) else 0

        async def remove(pipe: Any) -> None:
            pipe.zrem(own(number, "renewals"), *foreign)
            await pipe.execute()

        if foreign:
            await self._with_retry(remove)
        return found

    async def renew(self, renewals: Mapping[str, tuple[int | None, int]]) -> None:
        """Note when feeds are made again, by shopper: the time (ms; None for never), and the one that it replaces."""

        async def send(pipe: Any) -> None:
            self._add_renewals(pipe, renewals)
            await pipe.execute()

        if renewals:
            await self._with_retry(send)

    def _add_renewals(self, pipe: Any, renewals: Mapping[str, tuple[int | None, int | None]]) -> None:
        by_shard: dict[int, list[tuple[msgspec.Raw, int | None, int | None]]] = {}
        for shopper, (due, was) in renewals.items():
            one = packed_bytes(shopper.encode("utf-8", "replace")), due, was
            by_shard.setdefault(shard(shopper, self.config.shards), []).append(one)
        for number, mine in by_shard.items():
            packed = msgspec.msgpack.encode(mine)
            self._scripts.add(pipe, "renew", [own(number, "renewals")], self.config.buyer_ttl_s, packed)

    async def limit_filtered(self, shelves: Sequence[tuple[str, str]], most: int, ttl_s: int) -> None:
        """Note shelves under filters ``(shopper, key)`` that will be written, and remove those beyond the newest
        ``most`` of each shopper. What a lost connection leaves over expires."""
        mine: dict[str, list[str]] = {}
        for shopper, key in shelves:
            mine.setdefault(shopper, []).append(key)
        now = wall_ms()

        async def note(pipe: Any) -> list[bytes]:
            for shopper, keys in mine.items():
                noted = own(shard(shopper, self.config.shards), "filtered", shopper)
                self._scripts.add(pipe, "note_filtered", [noted], now, most, ttl_s, *keys)
            return [key for old in await pipe.execute() for key in old]

        async def remove(pipe: Any) -> None:
            for key in old:
                pipe.unlink(key)
            await pipe.execute()

        if mine and (old := await self._with_retry(note)):
            await self._with_retry(remove)

    async def take_shown(self, items: Sequence[str], ttl_s: int) -> tuple[dict[str, list[str]], set[str]]:
        """Read and clear the index of some items.

        Returns
        -------
        dict, set
            By shelf key, those of the items that the index says it shows; and the items that are on more shelves than
            the index holds, so that only `every_shelf` finds all of them.
        """
        by_shard: dict[int, list[str]] = {}
        for item in items:
            by_shard.setdefault(shard(item, self.config.shards), []).append(item)
        current = epochs(wall_ms(), ttl_s)

        async def send(pipe: Any) -> list[Any]:
            for number, mine in by_shard.items():
                self._scripts.add(pipe, "take_shown", [own(number)], len(current), *current, *mine)
            replies: list[Any] = await pipe.execute()
            return replies

        shown: dict[str, list[str]] = {}
        everywhere = set()
        for mine, reply in zip(by_shard.values(), await self._with_retry(send) if items else (), strict=False):
            for item, numbers in zip(mine, reply, strict=True):
                if len(numbers) >= SHOWN_KEPT:
                    everywhere.add(item)
                for number in (one for one in set(numbers) if one.isdigit() and len(one) <= NUMBER_DIGITS):
                    shown.setdefault(number.decode(), []).append(item)
        numbers = list(shown)
        names = await self.values([self._numbered(number) for number in numbers])
        found = zip(numbers, names, strict=True)
        return {key.decode("utf-8", "replace"): shown[number] for number, key in found if key}, everywhere

    async def take_out(self, items: Mapping[str, Sequence[str]]) -> int:
        """Remove items from shelves, given by shelf key; returns how many places were removed."""

        async def send(pipe: Any) -> list[Any]:
            for key, mine in items.items():
                self._scripts.add(pipe, "take_out", [key], *map(msgspec.json.encode, mine))
            replies: list[Any] = await pipe.execute()
            return replies

        return sum(await self._with_retry(send)) if items else 0

    async def every_shelf(self, chunk: int = 200) -> AsyncIterator[dict[str, bytes]]:
        """All shelves, in chunks; a shelf that is written meanwhile may be missed.

        Raises
        ------
        redis.RedisError
            When the scan for keys fails; it then has to start again.
        """
        waiting: list[str] = []
        keys = self.client.scan_iter(match="shelf:*", count=1000)
        while True:
            key = await anext(keys, None)
            if key is not None:
                waiting.append(key.decode("utf-8", "replace"))
            if len(waiting) >= chunk or (key is None and waiting):
                found = await self.values(waiting)
                yield {key: value for key, value in zip(waiting, found, strict=True) if value is not None}
                waiting = []
            if key is None:
                return

    async def values(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values of some keys; None where there is none, or it is not a string."""

        async def send(pipe: Any) -> list[Any]:
            for key in keys:
                pipe.get(key)
            replies: list[Any] = await pipe.execute(raise_on_error=False)
            for reply in replies:
                if isinstance(reply, Exception) and not wrong_kind(reply):
                    raise reply
            return [None if isinstance(reply, Exception) else reply for reply in replies]

        return await self._with_retry(send) if keys else []

    def _shown_by_shard(self, shown: Sequence[tuple[str, Sequence[str]]]) -> dict[int, bytes]:
        """The arguments of `note_shown` for each shard."""
        shelves: dict[int, list[str]] = {}
        by_item: dict[str, list[str]] = {}
        for key, mine in shown:
            number = shelf_number(key)
            written = str(number)
            shelves.setdefault(number % self.config.shards, []).extend((written, key))
            for item in mine:
                if (numbers := by_item.get(item)) is None:
                    by_item[item] = [written]
                else:
                    numbers.append(written)
        items: dict[int, list[str | list[str]]] = {}
        for item, numbers in by_item.items():
            items.setdefault(shard(item, self.config.shards), []).extend((item, numbers))
        return {
            number: msgspec.msgpack.encode((items.get(number, ()), shelves.get(number, ())))
            for number in items.keys() | shelves.keys()
        }

    def _numbered(self, number: str) -> str:
        return own(int(number) % self.config.shards, "numbered", number)

    async def _replaced(self, key: str, send: Callable[[], Awaitable[T]]) -> T:
        """Send commands about one key. If it holds another kind of value, that is removed first."""
        while True:
            try:
                return await self.retry.until_done(send)
            except ResponseError as error:
                if not wrong_kind(error):
                    raise
                log.error("Redis holds another kind of value under %s, which is removed", key)
                await self.retry.until_done(lambda: self.client.delete(key))

    async def _with_retry(self, send: Callable[[Any], Awaitable[T]]) -> T:
        return await self.retry.until_done(lambda: self._scripts.run(send))


def packed_bytes(value: bytes) -> msgspec.Raw:
    """Bytes as MessagePack's text of any bytes: Redis' scripts do not know its type for bytes.

    Examples
    --------
    >>> msgspec.msgpack.decode(msgspec.msgpack.encode([packed_bytes(b"ab"), 1]))
    ['ab', 1]
    """
    return msgspec.Raw(b"\xdb" + len(value).to_bytes(4) + value)


def most_together(cap: int) -> int:
    """How many items seen together may be held before they are cut to ``cap``: twice as many, so that new ones have
    time to grow, but no more than are held in few bytes.

    Examples
    --------
    >>> [most_together(cap) for cap in (50, 100, 127, 128, 200)]
    [100, 127, 127, 256, 400]
    """
    return 2 * cap if cap > COMPACT else min(2 * cap, COMPACT)


def shelf_number(key: str) -> int:
    """A number that stands for a shelf in sets: it takes eight bytes, a key takes fifty or more.

    It is below 2^53, the exact integers of Redis' scripts. Among a million shelves, the chance that any two share a
    number is 1 in 18,000.

    Examples
    --------
    >>> shelf_number("shelf:feed:u1")
    480702303010589
    """
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=8).digest()) >> 11


def epochs(now_ms: int, ttl_s: int) -> tuple[int, int]:
    """The epochs whose index may hold a shelf that still exists, the current one first.

    An epoch is as long as a shelf's time to live. So old index keys expire, and no key is refreshed for ever.

    Examples
    --------
    >>> epochs(25_000, 10)
    (2, 1)
    """
    current = now_ms // 1000 // ttl_s
    return current, current - 1
