"""Makes feeds again while their shoppers are away: what is due, and what others buy, changes meanwhile.

A feed lies in Redis as of its shopper's last event, and is read when the shopper comes back. The feed of a shopper who
has bought is made again a day after that event, then at twice the age each time, and at least twice in a shelf's life.
Time is that of the stream, so it goes with a history that is replayed. Knows how shelves are made and where what is due
is noted; nothing of how they are ranked.
"""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from streams.clock import Moment, StreamClock, wall_ms
from streams.config import StreamsConfig
from streams.events.shelf import ShelfRecord
from streams.features.items import DAY_MS
from streams.features.shopper import Shopper
from streams.kafka.errors import KAFKA_ERRORS
from streams.ranking.arms import Arms
from streams.ranking.recommender import RankRequest
from streams.redis import connection, keys
from streams.redis.store import StateStore
from streams.telemetry.meter import Meter

log = logging.getLogger(__name__)

FIRST_MS = DAY_MS
"""After how long a feed is made again for the first time."""

AT_ONCE = 4
"""Feeds that are taken at once, and made one by one: events are processed between any two."""

SHARE = 0.2
"""The most of the time that is spent on this."""

IDLE_S = 1.0
"""How long to wait where nothing is due."""

LEASE_MS = 600_000
"""When a feed is due again should whoever took it die."""


class _Lying(msgspec.Struct):
    event_ts: Moment


def renewals(requests: Sequence[RankRequest]) -> dict[str, int]:
    """By shopper when the feeds that are made now are to be made again for the first time, epoch ms."""
    return {
        one.shopper_id: one.event_ts + FIRST_MS
        for one in requests
        if one.surface == "feed" and not one.filter and one.shopper_id is not None and one.shopper.bought
    }


def following(event_ms: int, due_ms: int, ttl_s: float) -> int:
    """When a feed is due after it was due at a time; epoch ms.

    Examples
    --------
    >>> ages, age = [], FIRST_MS
    >>> for _ in range(5):
    ...     ages.append(age / DAY_MS)
    ...     age = following(0, age, 7 * 86_400)
    >>> ages
    [1.0, 2.0, 4.0, 7.5, 11.0]
    """
    longest = max(FIRST_MS, int(ttl_s * 1_000) // 2)
    return due_ms + min(max(due_ms - event_ms, FIRST_MS), longest)


class Renewals:
    """Takes what is due from Redis, shard by shard.

    Parameters
    ----------
    clock
        The stream's time.
    together, write, drop_feed
        ``Pipeline.together``, ``Pipeline.write`` and ``Identity.drop_feed``.
    """

    def __init__(
        self,
        store: StateStore,
        arms: Arms,
        clock: StreamClock,
        together: Callable[[Sequence[RankRequest], int], Awaitable[Mapping[str, Sequence[str]]]],
        write: Callable[[Sequence[ShelfRecord]], Awaitable[None]],
        drop_feed: Callable[[str], Awaitable[None]],
        meter: Meter,
        config: StreamsConfig,
    ) -> None:
        self.store, self.arms, self.clock, self.together, self.write = store, arms, clock, together, write
        self.drop_feed, self.meter, self.config = drop_feed, meter, config
        self._shards = itertools.cycle(range(config.state.shards))

    async def run(self) -> None:
        """Make what is due until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            made = await self.turn(wall_ms())
            spent = loop.time() - started
            await asyncio.sleep(spent / SHARE - spent if made else IDLE_S)

    async def turn(self, now_ms: int) -> int:
        """Make some feeds of one shard that are due; returns how many were."""
        number, clock = next(self._shards), self.clock.get(now_ms)
        due = await self.store.take_due(number, clock, clock + LEASE_MS, AT_ONCE) if clock else {}
        for name, due_ms in due.items():
            try:
                then = await self._make(name, due_ms, clock, now_ms)
            except (*KAFKA_ERRORS, OSError, *connection.ERRORS):
                raise  # it is due again once the lease is over
            except Exception:  # one shopper's state must not end the worker; their next event is processed as any
                log.exception("a feed cannot be made again; it is left as it lies")
                self.meter.count("renewals_failed")
                then = None
            await self.store.renew({name: (then, clock + LEASE_MS)})
        return len(due)

    async def _make(self, name: str, due_ms: int, clock: int, now_ms: int) -> int | None:
        """Make a shopper's feed that is due; returns when it is due then."""
        # The feed first: what it includes is then in its shopper's past.
        [lying] = await self.store.values([keys.feed(name)])
        shoppers, _ = await self.store.remember({name: ()}, self.config.worker.recent_items, kept=False)
        request, then = self._renewed(name, shoppers[name], due_ms, _event_ts(lying), clock)
        if request is not None:
            together = await self.together([request], now_ms)
            await self.write(self.arms.recommend([request], together, now_ms).records)
            self.meter.count("renewed")
            if (await self.store.forgotten([name])).get(name, -1) > shoppers[name].forgotten_ms:
                await self.drop_feed(name)  # the shopper was forgotten meanwhile, perhaps after the feeds were removed
        return then

    def _renewed(
        self, name: str, shopper: Shopper, due_ms: int, event_ts: int | None, clock: int
    ) -> tuple[RankRequest | None, int | None]:
        """What is made of a shopper that was taken, and when it is due then."""
        event_ms, ttl_s = shopper.newest_ms if event_ts is None else event_ts, self.config.shelf.ttl_s
        if event_ms >= due_ms:  # an event came first
            return None, event_ms + FIRST_MS
        last = event_ms + self.config.shelf.renewed_s * 1_000
        while (then := following(event_ms, due_ms, ttl_s)) <= min(clock, last):
            due_ms = then
        if not shopper.bought or due_ms > last:
            return None, None
        event_id = f"renewed-{due_ms}"
        return RankRequest("feed", event_id, event_ms, name, shopper, renewed_ms=due_ms), then if then <= last else None


def _event_ts(shelf: bytes | None) -> int | None:
    """The time of the newest event of a shelf; None where there is none that can be read."""
    try:
        return msgspec.json.decode(shelf or b"", type=_Lying).event_ts
    except (msgspec.DecodeError, RecursionError):
        return None
