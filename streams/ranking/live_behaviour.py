"""Keeps a worker's copy of the statistics of behaviour up to date: reads what changed in Redis.

Redis has them by item; here those of the variants of one product are added up, by what the catalogue says now. Reads
through the store that it is given; the arithmetic is in ``streams.features``. Knows nothing of how shelves are ranked.
"""

import asyncio
from collections.abc import Iterable

import numpy as np

from streams.catalog.catalog import Catalog
from streams.config import StateConfig
from streams.features.behaviour import Behaviour
from streams.features.click_effects import Effects
from streams.features.items import Floats, Places
from streams.features.pairs import summed
from streams.redis.store import StateStore

FRESH_MS = 60_000
"""How long a row of items seen together is used before it is read again."""

KEPT = 100_000
"""Rows of items seen together that are kept."""

READ_AT_ONCE = 128
"""Rows that are read for one batch, and of one product's variants, at most: after a start, or of a product with very
many variants, a batch must not wait for thousands."""

CHUNK = 2_000
"""Items whose statistics are read in one round trip."""

EMPTY = np.zeros(0, np.int64), np.zeros(0)


class CachedPairs:
    """Items touched in one visit, as they were last read."""

    def __init__(self) -> None:
        # Read thousands of times a batch, where a cache that is no plain dictionary costs a call of Python each.
        self._rows: dict[int, tuple[int, int, Places, Floats, Places]] = {}

    def row(self, place: int) -> tuple[Places, Floats]:
        """As :class:`streams.features.pairs.Rows`."""
        found = self._rows.get(place)
        return found[2:4] if found is not None else EMPTY

    def best(self, place: int) -> Places:
        """The others of a row, those of the highest counts first."""
        found = self._rows.get(place)
        return found[4] if found is not None else EMPTY[0]

    def stale(self, place: int, now_ms: int, moves: int) -> bool:
        """Whether a row has to be read again: it is old, or items have moved to other places since."""
        found = self._rows.get(place)
        return found is None or not 0 <= now_ms - found[0] <= FRESH_MS or found[1] != moves

    def put(self, place: int, others: Places, counts: Floats, now_ms: int, moves: int) -> None:
        """Keep a row that was read after so many moves."""
        if place not in self._rows and len(self._rows) >= KEPT:
            del self._rows[next(iter(self._rows))]
        self._rows[place] = now_ms, moves, others, counts, others[np.argsort(-counts, kind="stable")]

    def clear(self) -> None:
        """Forget all rows: places are no longer what they were."""
        self._rows.clear()


class LiveBehaviour:
    """The statistics of behaviour that a worker ranks with, and their refreshing.

    Parameters
    ----------
    store
        Where all workers count.
    """

    def __init__(self, store: StateStore, behaviour: Behaviour, config: StateConfig) -> None:
        self.store, self.behaviour, self.config = store, behaviour, config
        self.pairs = CachedPairs()
        behaviour.pairs = self.pairs
        self._since = [0] * config.shards
        self._grouped_by: Catalog | None = None

    def group(self, catalogue: Catalog) -> None:
        """Take over which items are variants of one product: what changed since the last call, all of another
        catalogue."""
        items = self.behaviour.items
        reuses = items.reuses
        changed = catalogue.take_regrouped()
        if catalogue is not self._grouped_by:
            changed, self._grouped_by = [*items.groups, *catalogue.groups], catalogue
        for item in changed:
            items.assign(item, catalogue.groups.get(item, ""))
        items.settle()
        if items.reuses != reuses:
            self.pairs.clear()

    async def refresh(self) -> None:
        """Read the statistics of items that changed since the last call; of all items in the first one."""
        changed, self._since = await self.store.changed(self._since)
        items = self.behaviour.items
        room = self.config.items - len(items)
        new = [item for item in changed if item not in items]
        wanted = [item for item in changed if item in items] + new[: max(0, room)]
        for start in range(0, len(wanted), CHUNK):
            found = await self.store.statistics(wanted[start : start + CHUNK])
            for item, parts in found.items():
                items.put(item, parts)
        self.behaviour.refresh()

    async def refresh_effects(self, now_ms: int) -> None:
        """Read the touches beside expected touches of items and brands."""
        parts, half_life_ms = (await self.store.effects()).values(), self.config.effects_half_life_s * 1000
        # In a thread, so that no shopper waits for sums over hundreds of thousands of counts.
        self.behaviour.effects = await asyncio.to_thread(Effects.of, parts, now_ms, half_life_ms)

    async def read(self, wanted: Iterable[str], now_ms: int) -> None:
        """Read rows of items seen together that are not fresh, the first ones first."""
        items = self.behaviour.items
        moves, reuses = items.moves, items.reuses
        ids = list(dict.fromkeys(wanted))
        places: dict[int, list[str]] = {}
        for item, place in zip(ids, items.places(ids).tolist(), strict=True):
            places.setdefault(place, []).append(item)
        stale: dict[int, list[str]] = {}
        rows = 0
        for place, mine in places.items():
            if rows < READ_AT_ONCE and self.pairs.stale(place, now_ms, moves):
                stale[place] = list(dict.fromkeys((*mine, *items.touched(place))))[:READ_AT_ONCE]
                rows += len(stale[place])
        found = await self.store.together([item for some in stale.values() for item in some])
        for place, some in stale.items() if items.reuses == reuses else ():
            names = [name for item in some for name in found[item]]
            others = items.places(names)
            counts = np.fromiter((count for item in some for count in found[item].values()), np.float64, len(names))
            if items.grouped:
                others, counts = summed(place, others, counts)
            self.pairs.put(place, others, counts, now_ms, moves)

    def together(self, wanted: Iterable[str], k: int) -> dict[str, list[str]]:
        """Of each item the ``k`` seen together with it most often, as far as known."""
        items = self.behaviour.items
        found = {}
        for item in wanted:
            for place in items.find([item]).tolist():
                found[item] = [items.ids[other] for other in self.pairs.best(place)[:k].tolist()]
        return found
