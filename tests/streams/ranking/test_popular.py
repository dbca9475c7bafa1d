"""What is in demand is what Redis holds, whenever it was counted."""

import asyncio
from collections.abc import Sequence

import pytest

from models.constant import ConstantScorer
from streams.catalog.catalog import Catalog
from streams.config import RedisConfig, StreamsConfig
from streams.events.schema import Click
from streams.events.shelf import ShelfRecord
from streams.features.trending import Ranked, Trending
from streams.ranking.arms import Arms
from streams.ranking.live_behaviour import LiveBehaviour
from streams.ranking.popular import PopularShelves
from streams.ranking.recommender import Recommender
from streams.redis.connection import connect
from streams.redis.store import StateStore
from streams.telemetry.meter import Meter

pytestmark = pytest.mark.integration

HOUR = 3_600_000
NOW = 500_000 * HOUR
LATE = {1: "mouse", 2: "mouse", 3: "usb", 23: "pad", 24: "toner"}
"""What is touched, by how many hours later it is processed."""


@pytest.mark.parametrize("buckets", [24, 4, 2, 1])
def test_what_is_processed_hours_late_counts_as_after_a_restart(
    redis_db: str, catalogue: Catalog, buckets: int
) -> None:
    config = StreamsConfig()
    config = config.model_copy(update={"state": config.state.model_copy(update={"trend_buckets": buckets})})

    async def write(_: Sequence[ShelfRecord]) -> None:
        return None

    def starting(store: StateStore) -> PopularShelves:
        trending = Trending(config.state.trend_bucket_s, buckets)
        champion = Recommender(catalogue, ConstantScorer(), trending, config)
        arms = Arms(champion, Meter("worker", "w", 0))
        return PopularShelves(
            store, trending, arms, LiveBehaviour(store, champion.behaviour, config.state), write, config
        )

    def told(demand: PopularShelves) -> list[Ranked]:
        return [demand.trending.get(segment, NOW, 10) for segment in ("all", "Mice", "Cables")]

    async def run() -> None:
        client = connect(RedisConfig(url=redis_db))  # type: ignore[arg-type]
        try:
            store = StateStore(client, config.state)
            await store.remember({"u": [Click(event_id="e", ts=NOW, user_id="u", item_id="hdmi")]}, 1)
            demand = starting(store)
            await demand.refresh(NOW)
            for age, item in LATE.items():
                late = Click(event_id=f"l{age}", ts=NOW - age * HOUR, user_id=f"v{age}", item_id=item)
                await store.remember({late.shopper: [late]}, 1)
            for _ in range(buckets):
                await demand.refresh(NOW)
            restarted = starting(store)
            await restarted.refresh(NOW)
            assert told(demand) == told(restarted)
            assert {item for item, _ in told(demand)[0]} == {
                "hdmi",
                *(item for age, item in LATE.items() if age < buckets),
            }
        finally:
            await client.aclose()

    asyncio.run(run())
