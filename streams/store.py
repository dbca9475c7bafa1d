"""Redis, the only door to it: shopper memory, demand counters and shelves, through three atomic scripts.

Every call waits until Redis has answered. When Redis is away, loading, full or was flushed, calls wait and try again
with backoff for as long as it takes: all writes may be repeated without harm, so a pause is the whole cost. Knows
nothing of Kafka, models, or why anything is written.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Set
from importlib.resources import files
from typing import Any, TypeVar

from redis import exceptions
from redis.asyncio import Redis

from streams import shopper as memory
from streams.config import BotsConfig, StateConfig
from streams.events import AnyEvent
from streams.keys import own, shard
from streams.patience import Patience

log = logging.getLogger(__name__)
T = TypeVar("T")


class Store:
    """Liveshelf's state in Redis.

    Parameters
    ----------
    client
        A connected asyncio client, owned by the caller.
    config
        Caps, windows and lifetimes.
    marked_s
        How long a shopper who was marked as a bot makes no demand.
    """

    def __init__(self, client: "Redis", config: StateConfig, marked_s: int = BotsConfig().marked_s) -> None:
        self.client = client
        self.config = config
        self.marked_s = marked_s
        self.patience = Patience()
        self._scripts: dict[str, str] = {}

    async def remember(
        self, events: Mapping[str, Sequence[AnyEvent]], newest: int, bots: Set[str] = frozenset()
    ) -> dict[str, memory.Shopper]:
        """Put events to their shoppers' memory and return it, in one round trip.

        Parameters
        ----------
        events
            New events by shopper; an empty sequence only reads.
        newest
            How many of the newest touched items to return.
        bots
            Shoppers that are marked from now on: what they do is remembered, but makes no demand.
        """
        config = self.config

        async def send(pipe: Any) -> list[Any]:
            for shopper, mine in events.items():
                number = shard(shopper, config.shards)
                keys = (own(number, kind, shopper) for kind in ("items", "queries", "bought"))
                pipe.execute_command(
                    "EVALSHA",
                    self._scripts["remember"],
                    3,
                    *keys,
                    own(number),
                    config.ttl_s,
                    config.history_items,
                    config.history_queries,
                    config.bought_items,
                    config.together_items,
                    config.trend_bucket_s * 1000,
                    config.trend_bucket_s * config.trend_buckets * 2,
                    newest,
                    own(number, "counted", shopper),
                    config.counted_items,
                    own(number, "bot", shopper),
                    self.marked_s if shopper in bots else 0,
                    *memory.arguments(mine),
                )
            replies: list[Any] = await pipe.execute()
            return replies

        replies = await self._patiently(send)
        return {shopper: memory.parse(reply) for shopper, reply in zip(events, replies, strict=True)}

    async def together(self, items: Sequence[str], k: int) -> dict[str, list[str]]:
        """Items seen within the same visit as each of these, most often first.

        Returns
        -------
        dict
            For each item, at most ``k`` others.
        """
        sums = await self._top([f"with:{item}" for item in items], k)
        return {
            item: sorted(counts, key=lambda name: (-counts[name], name))[:k]
            for item, counts in zip(items, sums, strict=True)
        }

    async def trend(self, buckets: Iterable[int]) -> dict[int, dict[str, int]]:
        """Weighted counts of touches by item for each time bucket, of the items most touched in each shard."""
        wanted = list(buckets)
        return dict(
            zip(wanted, await self._top([f"trend:{bucket}" for bucket in wanted], self.config.trend_items), strict=True)
        )

    async def _top(self, names: Sequence[str], k: int) -> list[dict[str, int]]:
        """For each of our sorted sets, the ``k`` highest members of every shard with their scores added up."""

        async def send(pipe: Any) -> list[Any]:
            for number in range(self.config.shards):
                keys = (own(number) + name for name in names)
                pipe.execute_command("EVALSHA", self._scripts["top"], len(names), *keys, k)
            replies: list[Any] = await pipe.execute()
            return replies

        sums: list[dict[str, int]] = [{} for _ in names]
        for reply in await self._patiently(send) if names else ():
            for counts, flat in zip(sums, reply, strict=True):
                for member, score in zip(flat[::2], flat[1::2], strict=True):
                    name = member.decode()
                    counts[name] = counts.get(name, 0) + int(score)
        return sums

    async def put(self, shelves: Sequence[tuple[str, bytes, int]], ttl_s: int) -> list[bool]:
        """Write shelves ``(key, value, event time ms)``; a newer one in place stays.

        Returns
        -------
        list of bool
            Whether each was written.
        """

        async def send(pipe: Any) -> list[Any]:
            for key, value, event_ts in shelves:
                pipe.execute_command("EVALSHA", self._scripts["put_shelf"], 1, key, value, event_ts, ttl_s)
            replies: list[Any] = await pipe.execute()
            return replies

        return [bool(reply) for reply in await self._patiently(send)] if shelves else []

    async def _patiently(self, send: Callable[[Any], Awaitable[T]]) -> T:
        async def attempt() -> T:
            while True:
                try:
                    if not self._scripts:
                        await self._load()
                    async with self.client.pipeline(transaction=False) as pipe:
                        return await send(pipe)
                except exceptions.NoScriptError:
                    self._scripts.clear()

        return await self.patience.until_done(attempt)

    async def _load(self) -> None:
        loaded = {}
        for name in ("remember", "top", "put_shelf"):
            source = files("streams").joinpath("scripts", f"{name}.lua").read_text("utf-8")
            loaded[name] = str(await self.client.script_load(source))
        self._scripts = loaded
