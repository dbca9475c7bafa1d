"""Keeps a worker's copy of the statistics of behaviour up to date: reads what changed in Redis.

Reads through the store that it is given; the arithmetic is in ``streams.features``. Knows nothing of how shelves are
ranked.
"""

import asyncio
from collections.abc import Iterable

import numpy as np
from cachetools import FIFOCache

from streams.config import StateConfig
from streams.features.behaviour import Behaviour
from streams.features.click_effects import Effects
from streams.features.items import Floats, Places
from streams.redis.store import StateStore

FRESH_MS = 60_000
"""How long a row of items seen together is used before it is read again."""

KEPT = 100_000
"""Rows of items seen together that are kept."""

READ_AT_ONCE = 128
"""Rows that are read for one batch at most: after a start, a batch must not wait for thousands."""

CHUNK = 2_000
"""Items whose statistics are read in one round trip."""

EMPTY = np.zeros(0, np.int64), np.zeros(0)


class CachedPairs:
    """Items touched in one visit, as they were last read."""

    def __init__(self) -> None:
        self._rows: FIFOCache[int, tuple[int, Places, Floats]] = FIFOCache(KEPT)

    def row(self, place: int) -> tuple[Places, Floats]:
        """As :class:`streams.features.pairs.Rows`."""
        found = self._rows.get(place)
        return found[1:] if found is not None else EMPTY

    def stale(self, place: int, now_ms: int) -> bool:
        """Whether a row has to be read again."""
        found = self._rows.get(place)
        return found is None or now_ms - found[0] > FRESH_MS

    def put(self, place: int, others: Places, counts: Floats, now_ms: int) -> None:
        """Keep a row."""
        self._rows[place] = now_ms, others, counts


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

    async def refresh(self) -> None:
        """Read the statistics of items that changed since the last call; of all items in the first one."""
        changed, self._since = await self.store.changed(self._since)
        items = self.behaviour.items
        room = self.config.items - len(items)
        new = [item for item in changed if item not in items]
        wanted = [item for item in changed if item in items] + new[: max(0, room)]
        for start in range(0, len(wanted), CHUNK):
            found = await self.store.statistics(wanted[start : start + CHUNK])
            for place, parts in zip(items.places(list(found)).tolist(), found.values(), strict=True):
                items.put(place, parts)
        self.behaviour.refresh()

    async def refresh_effects(self, now_ms: int) -> None:
        """Read the touches beside expected touches of items and brands."""
        parts, half_life_ms = (await self.store.effects()).values(), self.config.effects_half_life_s * 1000
        # In a thread, so that no shopper waits for sums over hundreds of thousands of counts.
        self.behaviour.effects = await asyncio.to_thread(Effects.of, parts, now_ms, half_life_ms)

    async def read(self, wanted: Iterable[str], now_ms: int) -> None:
        """Read rows of items seen together that are not fresh, the first ones first."""
        items = self.behaviour.items
        ids = list(dict.fromkeys(wanted))
        places = dict(zip(ids, items.places(ids).tolist(), strict=True))
        stale = [item for item, place in places.items() if self.pairs.stale(place, now_ms)][:READ_AT_ONCE]
        for item, counts in (await self.store.together(stale)).items():
            others = items.places(list(counts))
            self.pairs.put(places[item], others, np.fromiter(counts.values(), np.float64, len(counts)), now_ms)

    def together(self, wanted: Iterable[str], k: int) -> dict[str, list[str]]:
        """Of each item the ``k`` seen together with it most often, as far as known."""
        items = self.behaviour.items
        found = {}
        for item in wanted:
            for place in items.find([item]).tolist():
                others, counts = self.pairs.row(place)
                best = others[np.argsort(-counts, kind="stable")[:k]]
                found[item] = [items.ids[other] for other in best.tolist()]
        return found
