"""A batch that breaks is taken event by event as if it had never been taken together, and batches that overlap give
what they would have given one after the other."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from aiokafka.errors import KafkaError

from models.constant import ConstantScorer
from models.scorer import Floats, ScoreRequest
from streams.catalog.catalog import Catalog, Change
from streams.clock import wall_ms
from streams.config import BotsConfig, KafkaConfig, PolicyConfig, RedisConfig, ShelfConfig, StreamsConfig, TopicsConfig
from streams.events.schema import Item
from streams.features.shopper import shard
from streams.features.trending import Trending
from streams.kafka import dead_letters, topics
from streams.kafka.producer import Producer
from streams.kafka.record import Record, Unsent
from streams.pipeline import Pipeline
from streams.ranking.arms import Arms
from streams.ranking.recommender import Recommender
from streams.redis import keys
from streams.redis.connection import connect, connect_now
from streams.redis.keys import own
from streams.redis.store import StateStore
from streams.telemetry.meter import Meter
from tests.shop import HANG_S

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
                await asyncio.gather(*await pipeline.process([record(0, filters={"brand": "acme", "price": "cheap"})]))
                await pipeline.process([record(1, query="cable", filters={"brand": "nobody's"})])
                two = [record(2, filters={"category": "mice"}), record(3, filters={"brand": "bolt"})]
                await asyncio.gather(*await pipeline.process(two))
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


class Held:
    """A producer whose shelves Kafka takes only when it is told to, or refuses with an error."""

    def __init__(self) -> None:
        self.free, self.sent = asyncio.Event(), list[str]()
        self.error: Exception | None = None

    async def __call__(self, topic: str, key: bytes | None, value: bytes | None, headers: object = ()) -> Unsent | None:  # noqa: ARG002
        self.sent.append(topic)
        if topic.endswith("shelves"):
            await self.free.wait()
            if self.error is not None:
                raise self.error
        return None


def batch(*events: dict[str, Any]) -> list[Record]:
    now = wall_ms()
    filled = [{"event_id": f"e{now}-{at}", "ts": now} | event for at, event in enumerate(events)]
    return [Record("t", 0, at, now, None, json.dumps(event).encode()) for at, event in enumerate(filled)]


def clicks(*shoppers: str) -> list[Record]:
    return batch(*({"type": "click", "user_id": name, "item_id": "hdmi"} for name in shoppers))


def held(redis_db: str, catalogue: Catalog, act: Callable[[Pipeline, Held, Any], Awaitable[None]]) -> Meter:
    """What the pipeline counts while Kafka keeps it waiting."""
    config, meter = StreamsConfig(redis=RedisConfig(url=redis_db)), Meter("worker", "w", 0)  # type: ignore[arg-type]

    async def run() -> None:
        client = connect(config.redis)
        try:
            champion = Recommender(catalogue, ConstantScorer(), Trending(3_600, 24), config)
            send = Held()
            pipeline = Pipeline(Arms(champion, meter), StateStore(client, config.state), send, meter, config)
            await act(pipeline, send, client)
        finally:
            await client.aclose()

    asyncio.run(asyncio.wait_for(run(), HANG_S))
    return meter


async def until(happened: Callable[[], Awaitable[Any]]) -> None:
    while not await happened():
        await asyncio.sleep(0.005)


def test_while_a_batch_is_written_the_next_one_is_remembered_and_not_written(redis_db: str, catalogue: Catalog) -> None:
    async def act(pipeline: Pipeline, send: Held, client: Any) -> None:
        first = await pipeline.process(clicks("u"))
        second = asyncio.create_task(pipeline.process(clicks("v")))
        past = own(shard("v", pipeline.config.state.shards), "items", "v")
        await until(lambda: client.exists(past))
        assert not second.done() and not await client.exists(keys.feed("u"), keys.feed("v"))
        send.free.set()
        await asyncio.gather(*first, *await second)
        assert await client.exists(keys.feed("u"), keys.feed("v"), keys.similar("hdmi")) == 3

    counts = held(redis_db, catalogue, act).snapshot(wall_ms()).counts
    assert counts["events"] == counts["batches"] == 2
    assert counts["shelves"] == 3  # what is similar is made once


def test_what_kafka_does_not_take_is_not_done_and_not_written(redis_db: str, catalogue: Catalog) -> None:
    async def act(pipeline: Pipeline, send: Held, client: Any) -> None:
        send.error = KafkaError("away")
        first = await pipeline.process(clicks("u"))
        second = asyncio.create_task(pipeline.process(clicks("v")))
        send.free.set()
        assert [type(one) for one in await asyncio.gather(*first, *await second, return_exceptions=True)] == [
            KafkaError,
            KafkaError,
        ]
        assert not await client.exists(keys.feed("u"), keys.feed("v"))
        send.error = None
        await asyncio.gather(*await pipeline.process(clicks("u")))
        assert await client.exists(keys.feed("u"), keys.similar("hdmi")) == 2

    held(redis_db, catalogue, act)


def test_a_batch_that_breaks_while_it_is_written_is_taken_one_by_one(redis_db: str, catalogue: Catalog) -> None:
    async def act(pipeline: Pipeline, send: Held, client: Any) -> None:
        put = pipeline.store.put

        async def breaking(shelves: Sequence[tuple[str, bytes, int]], *more: Any) -> list[bool]:
            if any(key == keys.feed("u") for key, _, _ in shelves):
                raise ArithmeticError("u")
            return await put(shelves, *more)

        pipeline.store.put = breaking  # type: ignore[assignment]
        send.free.set()
        nothing = Record("t", 0, 9, wall_ms(), None, b"{")
        first = await pipeline.process([*clicks("u", "v"), nothing])
        await asyncio.gather(*first, *await pipeline.process(clicks("w")))
        assert await client.exists(keys.feed("v"), keys.feed("w"), keys.similar("hdmi")) == 3
        assert not await client.exists(keys.feed("u"))
        assert [topic for topic in send.sent if topic.endswith("dead-letters")] == [
            pipeline.topics.dead_letters
        ] * 2  # of the one that breaks, and of what is no event

    counts = held(redis_db, catalogue, act).snapshot(wall_ms()).counts
    assert counts["refused"] == 2 and counts["events"] == 2


def test_who_is_forgotten_while_their_feed_is_written_has_none(redis_db: str, catalogue: Catalog) -> None:
    async def act(pipeline: Pipeline, send: Held, client: Any) -> None:
        first = await pipeline.process(clicks("u"))
        second = asyncio.create_task(pipeline.process(batch({"type": "forget", "user_id": "u"})))
        for _ in range(50):  # time enough for what must not happen
            await client.ping()
        assert not second.done() and pipeline.topics.forgotten not in send.sent
        send.free.set()
        await asyncio.gather(*first, *await second)
        assert not await client.exists(keys.feed("u"))

    held(redis_db, catalogue, act)


def test_a_batch_with_a_forget_that_breaks_while_it_is_written_is_taken_one_by_one(
    redis_db: str, catalogue: Catalog
) -> None:
    async def act(pipeline: Pipeline, send: Held, client: Any) -> None:
        put = pipeline.store.put

        async def breaking(shelves: Sequence[tuple[str, bytes, int]], *more: Any) -> list[bool]:
            if any(key == keys.feed("u") for key, _, _ in shelves):
                raise ArithmeticError("u")
            return await put(shelves, *more)

        pipeline.store.put = breaking  # type: ignore[assignment]
        send.free.set()
        await asyncio.gather(*await pipeline.process([*clicks("u", "v"), *batch({"type": "forget", "user_id": "w"})]))
        assert await client.exists(keys.feed("v")) and not await client.exists(keys.feed("u"))

    held(redis_db, catalogue, act)


def test_what_breaks_before_the_last_batch_is_written_is_not_written_first(redis_db: str, catalogue: Catalog) -> None:
    async def act(pipeline: Pipeline, send: Held, client: Any) -> None:
        first = await pipeline.process(clicks("u"))
        await until(lambda: client.exists(own(shard("u", pipeline.config.state.shards), "items", "u")))
        together = pipeline.together
        broke = asyncio.Event()

        async def breaking(requests: Sequence[Any], now_ms: int) -> dict[str, list[str]]:
            if len({one.shopper_id for one in requests} - {None}) > 1:
                broke.set()
                raise ArithmeticError
            return await together(requests, now_ms)

        pipeline.together = breaking  # type: ignore[method-assign]
        before = len(send.sent)
        second = asyncio.create_task(pipeline.process(clicks("v", "w")))
        await broke.wait()
        for _ in range(50):  # time enough for what must not happen
            await client.ping()
        assert len(send.sent) == before
        send.free.set()
        await asyncio.gather(*first, *await second)
        assert await client.exists(keys.feed("u"), keys.feed("v"), keys.feed("w")) == 3

    held(redis_db, catalogue, act)
