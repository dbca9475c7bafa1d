"""Removes items that are no longer on sale from the shelves in Redis.

Each worker handles the items whose partition of ``shop.items`` it owns. It removes them at once through the index of
what shelves show, and again later from shelves made by workers that did not know yet. A pass over all shelves finds
what the index misses: items on very many shelves, and what a killed worker did not finish. Knows the catalogue and
Redis through ``StateStore``; nothing of how either changes.
"""

import asyncio
import heapq
import logging
import time
from collections.abc import Callable, Iterable, Sequence, Set

import msgspec

from streams.catalog.catalog import Catalog
from streams.catalog.topic_index import TopicIndex
from streams.config import StreamsConfig
from streams.events.decode import UNDECODABLE
from streams.redis.store import StateStore
from streams.telemetry.meter import Meter

log = logging.getLogger(__name__)

DELAYS_S = (0.0, 0.5, 2.0, 8.0, 30.0, 90.0)
"""When an item is removed from shelves, in seconds after its change. A shelf does not keep it if the worker that made
the shelf lagged by less than the last of these."""
PENDING_KEPT = 100_000
CHUNK = 200
LOOK_EVERY_S = 0.1
OWNED_EVERY_S = 1.0


class Shown(msgspec.Struct):
    """The id of a shelf's item."""

    item_id: str


class ShownItems(msgspec.Struct):
    """The items of a shelf."""

    items: list[Shown]


shown_decoder = msgspec.json.Decoder(ShownItems)


class Pending:
    """Items to remove from shelves, and when.

    Attributes
    ----------
    overflowed
        Whether items were dropped because there were too many: then a pass over all shelves is needed.

    Examples
    --------
    >>> pending = Pending(delays_s=(0.0, 2.0), bound=2)
    >>> pending.add(["a"], now=10.0); pending.due(10.0, 5), pending.due(11.0, 5), pending.due(12.0, 5), len(pending)
    (['a'], [], ['a'], 0)
    >>> pending.add(["a", "b", "c"], now=20.0); len(pending), pending.overflowed
    (2, True)
    """

    def __init__(self, delays_s: Sequence[float] = DELAYS_S, bound: int = PENDING_KEPT) -> None:
        self.delays_s, self.bound = delays_s, bound
        self.overflowed = False
        self._since: dict[str, float] = {}
        self._heap: list[tuple[float, int, float, str]] = []

    def __len__(self) -> int:
        return len(self._since)

    def add(self, items: Iterable[str], now: float) -> None:
        """Schedule items that changed just now. This replaces the schedule of an earlier change."""
        for item in items:
            if item not in self._since and len(self._since) >= self.bound:
                self.overflowed = True
                continue
            self._since[item] = now
            heapq.heappush(self._heap, (now + self.delays_s[0], 0, now, item))

    def due(self, now: float, most: int) -> list[str]:
        """Up to ``most`` items that are due now; each is scheduled again, unless this was its last time."""
        found: list[str] = []
        while self._heap and self._heap[0][0] <= now and len(found) < most:
            _, times, since, item = heapq.heappop(self._heap)
            if self._since.get(item) != since:
                continue
            found.append(item)
            if times + 1 < len(self.delays_s):
                heapq.heappush(self._heap, (since + self.delays_s[times + 1], times + 1, since, item))
            else:
                del self._since[item]
        return found


class Withdrawals:
    """Removes one worker's items from shelves.

    Parameters
    ----------
    serving
        Returns the catalogue that serves now, and its index of the topic.
    owned
        Returns the partitions of ``shop.items`` that this worker owns now.
    """

    def __init__(
        self,
        store: StateStore,
        serving: Callable[[], tuple[Catalog, TopicIndex]],
        owned: Callable[[], Set[int]],
        meter: Meter,
        config: StreamsConfig,
    ) -> None:
        self.store, self.serving, self.owned, self.meter = store, serving, owned, meter
        self.ttl_s = config.shelf.ttl_s
        self.only_in_stock = "in_stock" in config.policy.steps
        self.pending = Pending()
        self._owned_before: Set[int] = set()
        self._looked = 0.0

    def withdraw(self, items: Iterable[tuple[str, int]]) -> None:
        """Schedule items that are no longer on sale, each given with its partition of ``shop.items``."""
        owned = self.owned()
        self.pending.add((item for item, partition in items if partition in owned), time.monotonic())

    async def run(self) -> None:
        """Remove what is due, until cancelled; begins with a pass over all shelves."""
        while True:
            everywhere = self._gained_partitions()
            while items := self.pending.due(time.monotonic(), CHUNK):
                everywhere |= await self._take_out_of_shelves([item for item in items if not self._on_sale(item)])
            if everywhere or self.pending.overflowed:
                self.pending.overflowed = False
                await self.store.retry.until_done(self._pass)
            await asyncio.sleep(LOOK_EVERY_S)

    def _gained_partitions(self) -> bool:
        """Whether this worker got new partitions: their previous owner may not have finished."""
        now = time.monotonic()
        if now - self._looked < OWNED_EVERY_S:
            return False
        self._looked, before, self._owned_before = now, self._owned_before, self.owned()
        return bool(self._owned_before - before)

    async def _take_out_of_shelves(self, items: Sequence[str]) -> bool:
        """Remove items through the index; returns whether a pass over all shelves is needed too."""
        shown, everywhere = await self.store.take_shown(items, self.ttl_s)
        keys = list(shown)
        for start in range(0, len(keys), CHUNK):
            some = {key: shown[key] for key in keys[start : start + CHUNK]}
            self.meter.count("shelves.taken_out", await self.store.take_out(some))
        return bool(everywhere)

    async def _pass(self) -> None:
        """Look at all shelves, taking at most half of the event loop's time."""
        if not len(self.serving()[1]):
            return  # an empty catalogue is one that was lost: the shelves as they are are better
        began, count, taken = time.monotonic(), 0, 0
        resumed = time.perf_counter()
        async for shelves in self.store.every_shelf(CHUNK):
            gone = {key: items for key, value in shelves.items() if (items := self._gone(value))}
            taken += await self.store.take_out(gone)
            count += len(shelves)
            await asyncio.sleep(time.perf_counter() - resumed)
            resumed = time.perf_counter()
        self.meter.count("shelves.taken_out", taken)
        self.meter.count("shelves.passes")
        log.info("looked at %d shelves in %.1f s: took out %d", count, time.monotonic() - began, taken)

    def _gone(self, value: bytes) -> list[str]:
        try:
            shown = shown_decoder.decode(value).items
        except UNDECODABLE:
            return []  # not a shelf that we wrote
        return [item.item_id for item in shown if not self._on_sale(item.item_id)]

    def _on_sale(self, item_id: str) -> bool:
        """Whether an item may be shown. An item that only another encoder's catalogue has is on sale too."""
        catalogue, topic_index = self.serving()
        if item_id not in catalogue:
            return topic_index.live(item_id)
        return not self.only_in_stock or catalogue.on_sale(item_id)
