"""Takes items that are not to be sold any more out of the shelves that lie in Redis.

Each worker sees to the items whose partition of ``shop.items`` it owns: at once through the index of what shelves show,
and again a little later for shelves that were made by someone who did not know yet. What the index does not hold, an
item on very many shelves and whatever a killed worker left undone, a pass over all shelves finds. Knows the catalogue
and Redis through ``StateStore``; nothing of how either changes.
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

AGAIN_S = (0.0, 0.5, 2.0, 8.0, 30.0, 90.0)
"""When an item is taken out of shelves, in seconds after its change: a shelf made by a worker whose catalogue lagged by
less than the last of these does not keep it."""
PENDING_KEPT = 100_000
CHUNK = 200
LOOK_EVERY_S = 0.1
OWNED_EVERY_S = 1.0


class Shown(msgspec.Struct):
    """Of a shelf's item, which one it is."""

    item_id: str


class ShownItems(msgspec.Struct):
    """Of a shelf, what it shows."""

    items: list[Shown]


shown_decoder = msgspec.json.Decoder(ShownItems)


class Pending:
    """Items that are to be taken out, and when.

    Attributes
    ----------
    overflowed
        Whether some were passed over because there were too many: then only a pass over all shelves will do.

    Examples
    --------
    >>> pending = Pending(again_s=(0.0, 2.0), bound=2)
    >>> pending.add(["a"], now=10.0); pending.due(10.0, 5), pending.due(11.0, 5), pending.due(12.0, 5), len(pending)
    (['a'], [], ['a'], 0)
    >>> pending.add(["a", "b", "c"], now=20.0); len(pending), pending.overflowed
    (2, True)
    """

    def __init__(self, again_s: Sequence[float] = AGAIN_S, bound: int = PENDING_KEPT) -> None:
        self.again_s, self.bound = again_s, bound
        self.overflowed = False
        self._since: dict[str, float] = {}
        self._heap: list[tuple[float, int, float, str]] = []

    def __len__(self) -> int:
        return len(self._since)

    def add(self, items: Iterable[str], now: float) -> None:
        """Items that changed just now; what was planned for an earlier change of theirs is dropped."""
        for item in items:
            if item not in self._since and len(self._since) >= self.bound:
                self.overflowed = True
                continue
            self._since[item] = now
            heapq.heappush(self._heap, (now + self.again_s[0], 0, now, item))

    def due(self, now: float, most: int) -> list[str]:
        """Those whose time has come, at most so many; each is planned anew, unless this was its last time."""
        found: list[str] = []
        while self._heap and self._heap[0][0] <= now and len(found) < most:
            _, times, since, item = heapq.heappop(self._heap)
            if self._since.get(item) != since:
                continue
            found.append(item)
            if times + 1 < len(self.again_s):
                heapq.heappush(self._heap, (since + self.again_s[times + 1], times + 1, since, item))
            else:
                del self._since[item]
        return found


class Withdrawals:
    """Of one worker.

    Parameters
    ----------
    serving
        Tells the catalogue that serves now, and the ledger of what its topic holds.
    owned
        Tells the partitions of ``shop.items`` that are this worker's now.
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
        self._mine: Set[int] = set()
        self._looked = 0.0

    def left(self, items: Iterable[tuple[str, int]]) -> None:
        """Hear of items that are on sale no more, with the partitions that said so."""
        owned = self.owned()
        self.pending.add((item for item, partition in items if partition in owned), time.monotonic())

    async def run(self) -> None:
        """Take out what is due, until cancelled; begins with a pass over all shelves."""
        while True:
            everywhere = self._gained()
            while items := self.pending.due(time.monotonic(), CHUNK):
                everywhere |= await self._take_out([item for item in items if not self._on_sale(item)])
            if everywhere or self.pending.overflowed:
                self.pending.overflowed = False
                await self.store.patience.until_done(self._pass)
            await asyncio.sleep(LOOK_EVERY_S)

    def _gained(self) -> bool:
        """Whether partitions came to be this worker's: whose they were may have left something undone."""
        now = time.monotonic()
        if now - self._looked < OWNED_EVERY_S:
            return False
        self._looked, before, self._mine = now, self._mine, self.owned()
        return bool(self._mine - before)

    async def _take_out(self, items: Sequence[str]) -> bool:
        """Through the index; returns whether that is not enough."""
        shown, everywhere = await self.store.take_shown(items, self.ttl_s)
        keys = list(shown)
        for start in range(0, len(keys), CHUNK):
            some = {key: shown[key] for key in keys[start : start + CHUNK]}
            self.meter.count("shelves.taken_out", await self.store.take_out(some))
        return bool(everywhere)

    async def _pass(self) -> None:
        """Look at all shelves, taking at most half of the event loop's time."""
        if not len(self.serving()[1]):
            return  # a catalogue of nothing is a catalogue that was lost: what is shown is better
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
            return []  # nobody's shelf of ours
        return [item.item_id for item in shown if not self._on_sale(item.item_id)]

    def _on_sale(self, item_id: str) -> bool:
        """Whether an item may be shown. One that the serving catalogue lacks and another encoder's has is on sale."""
        catalogue, ledger = self.serving()
        if item_id not in catalogue:
            return ledger.live(item_id)
        return not self.only_in_stock or catalogue.on_sale(item_id)
