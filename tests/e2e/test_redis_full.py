"""Redis without memory, for every role: work pauses and says why, reading goes on, and nothing is lost or double."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from pydantic import SecretStr

from evaluator.retraining.config import TriggerConfig
from evaluator.retraining.run_registry import RunRegistry
from evaluator.retraining.training_run import Trigger
from liveshelf.stack.redis import LocalRedis
from streams import reporting
from streams.clock import wall_ms
from streams.config import KafkaConfig, RedisConfig, TopicsConfig
from streams.redis.connection import connect
from tests.integration import test_evaluator as joined
from tests.shop import Shop, until
from tests.story import Story, assert_letters, assert_shelves

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalRedis]:
    with LocalRedis(tmp_path / "redis", memory_mb=64) as server:
        yield server


def full(server: LocalRedis, yes: bool) -> None:
    """Take its memory, or give it back."""
    with redis.Redis.from_url(server.address) as client:
        client.config_set("maxmemory", "1" if yes else "64mb")


def said(shop: Shop, role: str) -> set[tuple[float, str]]:
    """What the last snapshots of a role say of the pause."""
    found = reporting.snapshots(shop.config, wall_ms() - 3_000, role)
    return {(one.gauges.get("redis_paused", -1.0), one.labels.get("redis_pause", "")) for one in found[-1:]}


FULL, WELL = {(1.0, "its memory is full")}, {(0.0, "")}


def test_a_worker_pauses_says_why_and_goes_on(
    kafka: KafkaConfig,
    server: LocalRedis,
    topics_config: TopicsConfig,
    tmp_path: Path,
    story: Story,
    undisturbed: dict[bytes, Any],
) -> None:
    with Shop(kafka, server.address, topics_config, tmp_path).open() as shop:
        shop.put_items(story.items)
        shop.start()
        shop.ready(len(story.items))
        half = len(story.records) // 2
        values = [value for _, value in story.records]
        sent = list(zip(shop.produce(shop.topics.events, story.records[:half]), values[:half], strict=True))
        until(lambda: shop.ends(shop.topics.shelves) > 50, every_s=0.005)
        full(server, True)
        until(lambda: said(shop, "worker") == FULL)
        sent += zip(shop.produce(shop.topics.events, story.records[half:]), values[half:], strict=True)
        for _ in range(5):  # reads are answered meanwhile, and do not count as recovered
            assert said(shop, "worker") == FULL
            assert shop.redis.ping() and shop.committed() < len(sent)
        assert shop.log().read_text().count("pausing until it does") == 1
        full(server, False)
        until(lambda: said(shop, "worker") == WELL)
        shop.drained()
        assert_shelves(shop, story)
        assert_letters(shop, sent)
        assert shop.state() == undisturbed


def test_an_evaluator_pauses_says_why_and_goes_on(
    kafka: KafkaConfig, server: LocalRedis, topics_config: TopicsConfig, tmp_path: Path
) -> None:
    events = joined.visits(500, seed=1)
    records = joined.mixed(events, seed=2)
    wanted = joined.offline(events)
    with joined.opened(Shop(kafka, server.address, topics_config, tmp_path)) as shop:
        shop.start("evaluator-1", "evaluator")
        shop.produce(shop.topics.events, records[: len(records) // 2])
        until(lambda: joined.left(shop) > 100 or shop.ends(shop.topics.examples) > 100)
        full(server, True)
        shop.produce(shop.topics.events, records[len(records) // 2 :])
        until(lambda: said(shop, "evaluator") == FULL)
        full(server, False)
        until(lambda: said(shop, "evaluator") == WELL)
        until(
            lambda: joined.told(shop.examples()) == wanted and not joined.left(shop),
            lambda: shop.log("evaluator-1").read_text(),
        )
        totals = joined.counted(shop)
        assert sum(totals[f"closed.{name}"] for name in ("buy", "read", "look", "ignore")) == wanted.total()


def test_a_trainer_waits_to_begin_and_reads_meanwhile(server: LocalRedis) -> None:
    async def main() -> None:
        client = connect(RedisConfig(url=SecretStr(server.address)))
        try:
            book = RunRegistry(client, "g", TriggerConfig())
            other = RunRegistry(client, "g", TriggerConfig())
            full(server, True)
            trigger = Trigger(reason="schedule", summary="a day", evidence={"hours": 24.0}, at=1, examples=5_000)
            beginning = asyncio.create_task(book.begin(trigger, "one", "me"))
            for _ in range(20):
                await asyncio.sleep(0.1)
                assert not (await other.read())[0].get()
            assert book.retry.paused and book.retry.reason == "its memory is full" and not beginning.done()
            assert not other.retry.paused
            full(server, False)
            assert not await asyncio.wait_for(beginning, 30)
            assert [run.id for run in (await other.read())[0].get()] == ["one"]
            assert not book.retry.paused and not book.retry.reason
        finally:
            await client.aclose()

    asyncio.run(main())
