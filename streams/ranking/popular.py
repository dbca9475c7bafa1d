"""Refreshes the trending counts and the popular shelves: reads the counters of touched items, writes the shelves.

Reads and writes through the store and function that it is given; the arithmetic is in ``trending``.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

from cachetools import FIFOCache

from streams.clock import wall_ms
from streams.config import StreamsConfig
from streams.events.shelf import ShelfRecord
from streams.features.trending import ALL, Trending
from streams.ranking.arms import Arms
from streams.ranking.live_behaviour import LiveBehaviour
from streams.ranking.recommender import RankRequest
from streams.redis.store import StateStore

CATEGORIES_KNOWN = 100_000
"""The most categories whose names are kept: a segment of shoppers with the name of one has no shelf."""

CHANGING = 2
"""How many of the newest buckets most events fall into."""


class PopularShelves:
    """Trending counts in, popularity and popular shelves out."""

    def __init__(
        self,
        store: StateStore,
        trending: Trending,
        arms: Arms,
        behaviour: LiveBehaviour,
        write: Callable[[Sequence[ShelfRecord]], Awaitable[None]],
        config: StreamsConfig,
    ) -> None:
        self.store, self.trending, self.arms, self.behaviour = store, trending, arms, behaviour
        self.write, self.config = write, config
        self._categories: list[str] = []
        self._known_categories: FIFOCache[str, None] = FIFOCache(CATEGORIES_KNOWN)
        self._segments: list[str] = []
        self._ages: Sequence[int] = range(config.state.trend_buckets)
        self._turns = itertools.cycle(range(CHANGING, max(config.state.trend_buckets, CHANGING + 1)))

    async def run(self) -> None:
        """Refresh until cancelled: counts every ``trend_refresh_s``, popular shelves every ``popular_refresh_s``."""
        written = looked = 0.0
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.config.state.trend_refresh_s)
            await self.refresh(wall_ms())
            if self.config.policy.click_effects and loop.time() - looked >= self.config.state.effects_refresh_s:
                await self.behaviour.refresh_effects(wall_ms())
                looked = loop.time()
            if loop.time() - written >= self.config.shelf.popular_refresh_s:
                await self.popular(wall_ms())
                written = loop.time()

    async def refresh(self, now_ms: int) -> None:
        """Read the counts. The first call reads all buckets. Later calls read the newest ones and one older bucket in
        turn, since any worker may have changed it with a late event."""
        current = self.trending.bucket(now_ms)
        self.behaviour.group(self.arms.champion.catalogue)
        await self.behaviour.refresh()
        buckets = [current - age for age in self._ages]
        counts = await self.store.trend(buckets)
        by_segment = await self.store.segment_trend(buckets, self.config.shelf.segments)
        self._ages = (*range(CHANGING), next(self._turns))
        self._take(counts, now_ms)
        self._take_segments(by_segment, now_ms)
        self.arms.refresh(now_ms)

    async def popular(self, now_ms: int) -> None:
        """Write the popular shelf of everything, of the categories most in demand and of the shoppers' segments that
        act most."""
        for segment in (
            ALL,
            *filter(self._sells, self._categories),
            *self._segments,
        ):  # one by one, so that no shopper waits for all of them
            request = RankRequest("popular", f"{segment}:{now_ms}", now_ms, segment=segment)
            await self.write(self.arms.recommend([request], {}, now_ms).records)

    def _sells(self, segment: str) -> bool:
        """Whether a trending item of a category is in stock; else its shelf would only have the newest items."""
        catalogue = self.arms.champion.catalogue
        ranked = self.trending.get(segment, wall_ms(), self.config.candidates.total)
        return any(
            catalogue.item(slot).category == segment
            for slot in catalogue.slots([item_id for item_id, _ in ranked]).tolist()
            if catalogue.in_stock[slot]
        )

    def _take(self, counts: Mapping[int, Mapping[str, int]], now_ms: int) -> None:
        catalogue = self.arms.champion.catalogue
        demand: Counter[str] = Counter()
        for bucket, by_item in counts.items():
            self.trending.update(ALL, bucket, by_item)
            by_category: dict[str, dict[str, int]] = {}
            for item_id, count in by_item.items():
                slot = catalogue.slot(item_id)
                category = catalogue.item(slot).category if slot is not None else ""
                if category and category != ALL:  # such a category's shelf would replace the shelf of all items
                    by_category.setdefault(category, {})[item_id] = count
                    self._known_categories[category] = None
                    if bucket > self.trending.bucket(now_ms) - CHANGING:
                        demand[category] += count
            for category, category_counts in by_category.items():
                self.trending.update(category, bucket, category_counts)
        self._categories = [category for category, _ in demand.most_common(self.config.shelf.segments)]

    def _take_segments(self, counts: Mapping[int, Mapping[str, Mapping[str, int]]], now_ms: int) -> None:
        """Take in the demand of shoppers' segments. A category of the same name keeps its shelf, as does ``all``."""
        demand: Counter[str] = Counter()
        for bucket, by_segment in counts.items():
            for segment, by_item in by_segment.items():
                if segment == ALL or segment in self._known_categories:
                    continue
                self.trending.update(segment, bucket, by_item)
                if bucket > self.trending.bucket(now_ms) - CHANGING:
                    demand[segment] += sum(by_item.values())
        self._segments = [segment for segment, _ in demand.most_common(self.config.shelf.segments)]
