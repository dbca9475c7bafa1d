"""A batch that breaks is taken event by event as if it had never been taken together."""

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from models.constant import ConstantScorer
from models.scorer import Floats, ScoreRequest
from streams.catalog.catalog import Catalog, Change
from streams.clock import wall_ms
from streams.config import BotsConfig, KafkaConfig, PolicyConfig, RedisConfig, ShelfConfig, StreamsConfig, TopicsConfig
from streams.events.schema import Item
from streams.features.trending import Trending
from streams.kafka import dead_letters, topics
from streams.kafka.producer import Producer
from streams.kafka.record import Record
from streams.pipeline import Pipeline
from streams.ranking.arms import Arms
from streams.ranking.recommender import Recommender
from streams.redis import keys
from streams.redis.connection import connect, connect_now
from streams.redis.store import StateStore
from streams.telemetry.meter import Meter

pytestmark = pytest.mark.integration

BREAKS = "breaks"


class Breaking(ConstantScorer):
    """Breaks at one query."""

    def score(self, requests: Sequence[ScoreRequest]) -> list[Floats]:
        if any(request.query_text == BREAKS for request in requests):
            raise ArithmeticError(BREAKS)
        return super().score(requests)


def test_what_is_similar_is_made_and_nobody_counts_twice_though_their_batch_broke(
    kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, catalogue: Catalog
) -> None:
    bots = BotsConfig(burst=1)
    config = StreamsConfig(kafka=kafka, redis=RedisConfig(url=redis_db), topics=topics_config, bots=bots)  # type: ignore[arg-type]
    topics.create(kafka, topics_config)
    now, meter = wall_ms(), Meter("worker", "w", 0)
    events = [
        {"type": "click", "event_id": "e0", "ts": now, "user_id": "u", "item_id": "hdmi"},
        {"type": "search", "event_id": "e2", "ts": now, "user_id": "w", "query": "cable"},
        {"type": "click", "event_id": "late", "ts": now - 3 * 86_400_000, "user_id": "w", "item_id": "hdmi"},
        {"type": "search", "event_id": "e1", "ts": now, "user_id": "v", "query": BREAKS},
    ]
    records = [Record("t", 0, at, now, None, json.dumps(event).encode()) for at, event in enumerate(events)]

    async def run() -> None:
        client = connect(config.redis)
        try:
            async with Producer(config, meter) as send:
                champion = Recommender(catalogue, Breaking(), Trending(3_600, 24), config)
                store = StateStore(client, config.state)
                await asyncio.gather(
                    *await Pipeline(Arms(champion, meter), store, send, meter, config).process(records)
                )
        finally:
            await client.aclose()

    asyncio.run(run())
    assert [letter.reason for letter in dead_letters.read(kafka, topics_config)] == ["internal"]
    with connect_now(config.redis) as redis:
        assert redis.exists(keys.feed("u")) and redis.exists(keys.similar("hdmi"))
    assert meter.gauges["bots"] == 0
    assert meter.snapshot(wall_ms()).counts["acts.late"] == 1


def test_under_filters_an_empty_shelf_is_written_and_a_shopper_has_no_more_than_some(
    kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, catalogue: Catalog
) -> None:
    shelves = ShelfConfig(filtered=2, filtered_ttl_s=600)
    config = StreamsConfig(kafka=kafka, redis=RedisConfig(url=redis_db), topics=topics_config, shelf=shelves)  # type: ignore[arg-type]
    topics.create(kafka, topics_config)
    meter, sent = Meter("worker", "w", 0), list[bytes]()

    def record(at: int, **event: Any) -> Record:
        event = {"type": "search", "event_id": f"e{at}", "ts": wall_ms(), "user_id": "u"} | event
        return Record("t", 0, at, wall_ms(), None, json.dumps(event).encode())

    async def run() -> None:
        client = connect(config.redis)
        try:
            async with Producer(config, meter) as producer:

                def send(topic: str, key: bytes | None, value: bytes | None, *more: Any) -> Any:
                    sent.append(key or b"")
                    return producer(topic, key, value, *more)

                champion = Recommender(catalogue, ConstantScorer(), Trending(3_600, 24), config)
                pipeline = Pipeline(Arms(champion, meter), StateStore(client, config.state), send, meter, config)
                await pipeline.process([record(0, filters={"brand": "acme", "price": "cheap"})])
                await pipeline.process([record(1, query="cable", filters={"brand": "nobody's"})])
                await pipeline.process([record(2, filters={"category": "mice"}), record(3, filters={"brand": "bolt"})])
        finally:
            await client.aclose()

    asyncio.run(run())
    with connect_now(config.redis) as redis:
        assert sorted(key.decode() for key in redis.scan_iter("shelf:feed:u:*")) == [
            keys.feed("u", "brand=bolt"), keys.feed("u", "category=mice"),
        ]  # fmt: skip
        value = redis.get(keys.search("cable", None, "brand=nobody's"))
        assert json.loads(value)["items"] == []
        assert 0 < redis.ttl(keys.feed("u", "brand=bolt")) <= 600 < redis.ttl(keys.feed("u"))
        assert redis.exists(keys.popular(filtered="brand=acme")) and not redis.exists(keys.search("cable"))
    assert b"shelf:search:cable:brand=nobody's" not in sent and b"shelf:popular:brand=acme" in sent
    counts = meter.snapshot(wall_ms()).counts
    assert counts["filters.malformed"] == 1 and counts["filters.empty"] == 1 and counts.get("shelves.empty", 0) == 0


DAY_MS = 86_400_000


def test_what_was_seen_again_and_again_makes_room_and_comes_back(
    kafka: KafkaConfig,
    redis_db: str,
    topics_config: TopicsConfig,
    catalogue: Catalog,
    upsert: Callable[..., Change],
) -> None:
    catalogue.apply([upsert(Item(item_id=f"i{n}", title=f"lamp number {n}")) for n in range(60)])
    catalogue.commit()
    policy = PolicyConfig(exploration=0)
    config = StreamsConfig(kafka=kafka, redis=RedisConfig(url=redis_db), topics=topics_config, policy=policy)  # type: ignore[arg-type]
    topics.create(kafka, topics_config)
    now = wall_ms()
    sold = [
        {"type": "click", "event_id": f"v{n}-{who}", "ts": now - DAY_MS + n, "user_id": f"v{who}", "item_id": f"i{n}"}
        for n in range(60)
        for who in range(1 + n % 7)
    ]
    last = {"type": "click", "event_id": "e", "ts": now, "user_id": "u", "item_id": "i5"}

    def pages(items: Sequence[str], ts: int, surface: str = "feed") -> list[dict[str, Any]]:
        shown = [{"item_id": item, "position": place} for place, item in enumerate(items)]
        about = {"type": "impression", "user_id": "u", "shelf_id": "s", "surface": surface, "items": shown}
        return [about | {"event_id": f"p{n}", "ts": ts + n} for n in range(3)]

    def feed(*batches: Sequence[dict[str, Any]]) -> list[str]:
        """What the shopper's feed shows after the batches and a click."""

        async def run() -> None:
            client, meter = connect(config.redis), Meter("worker", "w", 0)
            try:
                await client.flushdb()
                async with Producer(config, meter) as send:
                    champion = Recommender(catalogue, ConstantScorer(), Trending(3_600, 24), config)
                    store = StateStore(client, config.state)
                    pipeline = Pipeline(Arms(champion, meter), store, send, meter, config)
                    for batch in [sold, *batches, [last]]:
                        records = [Record("t", 0, 0, now, None, json.dumps(event).encode()) for event in batch]
                        await asyncio.gather(*await pipeline.process(records))
                        await pipeline.behaviour.refresh()
            finally:
                await client.aclose()

        asyncio.run(run())
        with connect_now(config.redis) as redis:
            made = json.loads(redis.get(keys.feed("u")))
            assert made["surface"] == "feed" and len(made["items"]) == 20
            return [item["item_id"] for item in made["items"]]

    before = feed()
    seen = pages(before, now - 9_000)
    after = feed(seen)
    assert len({*after} - {*before}) > 10, "most of them are others"
    shuffled = random.Random(3).sample(seen * 2, 6)
    assert feed(shuffled[:2], shuffled[2:], seen) == after == feed([*seen, last]), "in any order, any number of times"
    assert feed(pages(before, now - 30 * DAY_MS)) == before, "once it has faded"
    assert feed(pages(before, now - 9_000, "search")) == before, "the query has chosen these"
