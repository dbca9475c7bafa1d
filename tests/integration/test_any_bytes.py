"""Every consumer of every topic survives any bytes: fed with hostile records among good ones by a real broker, it takes
all the good ones, counts the others, and goes on. A new consumer has to join :data:`CONSUMERS`."""

import asyncio
import re
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaProducer

from evaluator.attribution.items import Items
from evaluator.attribution.shelf_store import OffsetRange
from evaluator.attribution.shelves import Batch, ShelfConsumer
from evaluator.config import EvaluatorConfig
from evaluator.dashboard.feed import Feed
from evaluator.dashboard.history import History
from evaluator.gate.config import GateConfig
from evaluator.monitoring.alerts import topic as alerts
from evaluator.monitoring.alerts.alert import AlertsView
from evaluator.retraining import items as texts
from evaluator.retraining.config import ExamplesConfig, LearningConfig, LoopConfig, TriggerConfig
from evaluator.retraining.example_consumer import ExampleConsumer
from evaluator.retraining.store.archive import Archive
from evaluator.retraining.store.store import ExampleStore as Examples
from evaluator.rollout.config import RolloutConfig
from liveshelf.demo.environment import SnapshotListener
from liveshelf.settings import Settings
from models.encoder import Encoder
from streams import reporting
from streams.catalog import embedding
from streams.catalog.catalog import Catalog
from streams.catalog.embedding import Origin
from streams.catalog.replication import Follower
from streams.clock import wall_ms
from streams.config import KafkaConfig, StreamsConfig, TopicsConfig
from streams.kafka import dead_letters, topics
from streams.kafka.connection import aiokafka_client
from streams.kafka.consumer import Consumer
from streams.kafka.guard import Guard
from streams.kafka.topic_reader import follow
from streams.kafka.topics import Topics
from streams.redis.retry import RedisRetry
from streams.serving import announcement
from streams.telemetry import meter
from streams.telemetry.meter import Meter, Snapshot
from tests import hostile_records as hostile
from tests.hostile_records import Sent, mixed

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

LIMIT_S = 120.0

CONSUMERS = {
    "streams/worker.py": "follower and announcements, below; events and items by tests/e2e/test_faults.py",
    "streams/catalog/replication.py": "follower",
    "streams/catalog/backfill.py": "tests/integration/test_spoilt_embeddings.py",
    "streams/kafka/admin.py": "makes one for those that call it",
    "streams/kafka/topic_reader.py": "reads for those that call it",
    "streams/kafka/consumer.py": "tests/streams/kafka/test_consumer.py, of skips",
    "streams/kafka/skip_command.py": "tests/streams/kafka/test_consumer.py, of skips",
    "streams/kafka/faust_consumer.py": "tests/e2e/test_faults.py, of events and items",
    "streams/kafka/dead_letter_topic.py": "dead letters; tests/streams/kafka/test_dead_letters.py",
    "streams/kafka/dead_letters.py": "dead letters",
    "streams/reporting.py": "status",
    "evaluator/process.py": "items and announcements",
    "evaluator/attribution/shelves.py": "shelves",
    "evaluator/monitoring/alerts/topic.py": "alerts",
    "evaluator/monitoring/alerts/outbound.py": "tests/integration/test_alerting.py",
    "evaluator/dashboard/feed.py": "page",
    "evaluator/retraining/example_consumer.py": "examples",
    "evaluator/retraining/trainer.py": "alerts and snapshots",
    "evaluator/retraining/items.py": "texts",
    "liveshelf/cli/health.py": "status, by the same function",
    "liveshelf/ingest/removals.py": "tests/liveshelf/ingest/test_removals.py",
    "liveshelf/demo/environment.py": "story",
}
"""Modules that make a consumer, and what shows that it survives."""


def test_every_consumer_is_known_here() -> None:
    made = re.compile(
        r"\b(?:AIOKafkaConsumer|KafkaConsumer|Consumer|contents|newest_consumer)\((?!AIOKafkaConsumer|driver)|partial\(Consumer"
    )
    root = Path(__file__).parents[2]
    found = {
        str(path.relative_to(root))
        for package in ("models", "streams", "evaluator", "liveshelf")
        for path in (root / package).rglob("*.py")
        if any(
            made.search(line)
            for line in path.read_text("utf-8").splitlines()
            if not line.startswith(("class ", "def "))
        )
    }
    assert found - CONSUMERS.keys() == set(), "a consumer that is not tested with hostile records"
    assert {name for name in CONSUMERS if not (root / name).is_file()} == set()


class Shop:
    """Topics of one partition each, and a producer."""

    def __init__(self, kafka: KafkaConfig, config: TopicsConfig) -> None:
        self.config = StreamsConfig(kafka=kafka, topics=config)
        self.topics = Topics(config.prefix)
        self.meter = Meter("test", "t", 0)
        self.counts = Counter[str]()
        topics.create(kafka, config)

    async def put(self, topic: str, records: Iterable[Sent]) -> None:
        """Send records in their order."""
        async with AIOKafkaProducer(**aiokafka_client(self.config.kafka), max_request_size=4_000_000) as producer:
            for one in records:
                headers = [(name, cast(bytes, value)) for name, value in one.headers]
                await producer.send(topic, one.value, one.key, partition=0, headers=headers)
            await producer.flush()

    def refused(self, what: str) -> int:
        """How many a consumer has counted as unreadable."""
        self.counts.update(self.meter.snapshot(1).counts)
        return self.counts[f"unreadable.{what}"]


@pytest.fixture
def shop(kafka: KafkaConfig, topics_config: TopicsConfig) -> Shop:
    return Shop(kafka, topics_config.model_copy(update={"partitions": 1, "compacted_partitions": 1}))


async def taken(running: Callable[[], Awaitable[object]], done: Callable[[], bool]) -> None:
    """Let a consumer run until it has taken all; it must not end by itself."""
    task = asyncio.ensure_future(running())
    try:
        async with asyncio.timeout(LIMIT_S):
            while not done():
                assert not task.done(), task.exception()
                await asyncio.sleep(0.05)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


GOOD: dict[str, Callable[[int], Sent]] = {
    "items": lambda number: Sent(b"good%d" % number, hostile.item().replace(b"good", b"good%d" % number)),
    "shelves": lambda number: Sent(b"u", hostile.shelf_record(f"good{number}")),
    "embeddings": lambda number: Sent(
        embedding.key(f"good{number}", "mini"),
        hostile.encoded(item_id=f"good{number}"),
        (Origin(0, number).header(),),
    ),
    "slots": lambda number: Sent(b"good%d" % number, hostile.slot()),
    "snapshots": lambda number: Sent(b"worker", hostile.snapshot(f"good{number}")),
    "alerts": lambda number: Sent(b"good", hostile.told(f"good{number}")),
    "examples": lambda number: Sent(b"u", hostile.example(f"good{number}")),
}
COUNT = 5


COMPACTED = {"items", "embeddings", "slots"}
"""A broker takes nothing without a key there."""


def wrong(what: str) -> list[Sent]:
    """A topic's hostile records."""
    return [one for one in hostile.BAD[what]() if one.key is not None or what not in COMPACTED]


def records(what: str) -> Sequence[Sent]:
    """The same with five good ones among them, the last of all a good one."""
    return mixed([GOOD[what](number) for number in range(COUNT)], wrong(what))


def bad(what: str) -> int:
    """How many of them are hostile."""
    return len(records(what)) - COUNT


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(precision="float32")


def test_follower(shop: Shop, encoder: Encoder) -> None:
    catalogue = Catalog(encoder)
    version = encoder.version
    made = list[Follower]()

    async def run() -> None:
        made.append(Follower(Consumer(shop.config, shop.topics.embeddings), catalogue, shop.meter))
        await made[0].run()

    def good(number: int) -> Sent:
        item_id = f"good{number}"
        value = hostile.encoded(encoder.dim, encoder.token_dim, item_id, version)
        return Sent(embedding.key(item_id, version), value, (Origin(0, number).header(),))

    unfit = [
        Sent(embedding.key("bad", version), value, (Origin(0, 9).header(),))
        for value in hostile.unfit(encoder.dim, encoder.token_dim, "bad", version)
    ]
    bad_ones = [*wrong("embeddings"), *unfit]
    all_good = [good(number) for number in range(COUNT)]
    asyncio.run(shop.put(shop.topics.embeddings, mixed(all_good, bad_ones)))
    asyncio.run(taken(run, lambda: len(catalogue) == COUNT))
    assert {f"good{number}" in catalogue for number in range(COUNT)} == {True}
    assert "bad" not in catalogue and shop.refused("embeddings") == len(bad_ones)
    assert made[0].topic_index.wants("bad", Origin(0, 9)), "its text is known, so it is encoded again"


def test_announcements(shop: Shop) -> None:
    heard = list[str]()

    async def hear() -> None:
        opened = partial(Consumer, shop.config, shop.topics.models)
        async with aclosing(announcement.follow(opened, shop.meter)) as told:
            async for name, _ in told:
                heard.append(name)

    asyncio.run(shop.put(shop.topics.models, records("slots")))
    asyncio.run(taken(hear, lambda: "good4" in heard))
    assert {f"good{number}" for number in range(COUNT)} <= set(heard)
    assert shop.refused("slots") + len(heard) == bad("slots") + COUNT


def test_items(shop: Shop) -> None:
    items, guard = Items(), Guard("embeddings", embedding.parse, shop.meter)
    unfit = Sent(embedding.key("bad", "mini"), next(iter(hostile.unfit(4, 4, "bad", "mini"))))
    asyncio.run(
        shop.put(
            shop.topics.embeddings,
            mixed([GOOD["embeddings"](number) for number in range(COUNT)], [unfit, *wrong("embeddings")]),
        )
    )
    opened = partial(Consumer, shop.config, shop.topics.embeddings)
    asyncio.run(taken(lambda: follow(opened, guard, items.update), lambda: items.title("good4") != ""))
    assert all(items.vector(f"good{number}") is not None for number in range(COUNT))
    assert items.vector("bad") is None and shop.refused("embeddings") == bad("embeddings")


def test_alerts_that_are_followed(shop: Shop) -> None:
    standing = AlertsView()

    def take(told: alerts.PublishedAlert) -> None:
        standing.update(*told)

    asyncio.run(shop.put(shop.topics.alerts, records("alerts")))
    opened = partial(Consumer, shop.config, shop.topics.alerts)
    running = partial(follow, opened, alerts.guard(shop.meter), take)
    asyncio.run(taken(running, lambda: len(standing.get(0)) == COUNT))
    assert shop.refused("alerts") == bad("alerts")
    assert len(list(alerts.read(shop.config.kafka, shop.config.topics))) == COUNT


def test_snapshots_that_are_followed(shop: Shop) -> None:
    found = list[Snapshot]()
    asyncio.run(shop.put(shop.topics.metrics, records("snapshots")))
    opened = partial(Consumer, shop.config, shop.topics.metrics)
    guard = Guard("snapshots", meter.parse, shop.meter)
    asyncio.run(taken(lambda: follow(opened, guard, found.append), lambda: len(found) == COUNT))
    assert shop.refused("snapshots") == bad("snapshots")


def test_status(shop: Shop) -> None:
    asyncio.run(shop.put(shop.topics.metrics, records("snapshots")))
    assert [one.id for one in reporting.snapshots(shop.config, 0)] == [f"good{number}" for number in range(COUNT)]


class Kept:
    """Keeps shelves nowhere, and loses none."""

    ttl_s = 100

    def __init__(self) -> None:
        self.reached: list[int] = []

    async def remember(self, _: Mapping[str, Any], ranges: Sequence[OffsetRange]) -> dict[int, int]:
        self.reached += [one.until for one in ranges if one.until is not None]
        return {one.partition: one.end for one in ranges}

    async def lowest(self, partitions: Sequence[int]) -> dict[int, int]:
        return dict.fromkeys(partitions, -1)

    async def begin(self, partition: int, offset: int) -> None:
        pass


def test_shelves(shop: Shop) -> None:
    known, kept = list[str](), Kept()

    def took(batch: Batch) -> None:
        assert batch.records == batch.new
        known.extend(record.shelf.shelf_id for record in batch.records)

    config = EvaluatorConfig(group=f"{shop.topics.prefix}evaluator", batch_events=7)
    shelves = ShelfConsumer(shop.config, config, kept, RedisRetry(), took, shop.meter)
    asyncio.run(shop.put(shop.topics.shelves, records("shelves")))
    asyncio.run(taken(shelves.run, lambda: len(known) == COUNT))
    assert known == [f"good{number}" for number in range(COUNT)] and shop.refused("shelves") == bad("shelves")
    assert max(kept.reached) < hostile.YEAR_3000


def test_page(shop: Shop) -> None:
    history = History()
    feed = Feed(shop.config, history, shop.meter)
    where = {"items": "items", "models": "slots", "metrics": "snapshots", "alerts": "alerts"}
    for topic, what in where.items():
        asyncio.run(shop.put(getattr(shop.topics, topic), records(what)))

    def done() -> bool:
        page = history.state(wall_ms()).page
        slots = sum(row.slot.startswith("good") for row in page.slots)
        return (page.titles, slots, len(page.alerts), len(page.processes)) == (COUNT,) * 4

    asyncio.run(taken(feed.run, done))
    assert history.problem is None
    for what in ("items", "snapshots", "alerts"):
        assert shop.refused(what) == bad(what), what


def test_examples(shop: Shop, tmp_path: Path) -> None:
    config = LoopConfig(
        streams=shop.config,
        learning=LearningConfig(group=f"{shop.topics.prefix}trainer", folder=str(tmp_path / "learning")),
        examples=ExamplesConfig(folder=str(tmp_path / "examples")),
        triggers=TriggerConfig(),
        gate=GateConfig(),
        rollout=RolloutConfig(),
        closing_s=1.0,
    )
    with Examples(config.examples) as store:
        archive = Archive(Path(config.examples.folder))
        intake = ExampleConsumer(store, archive, config, shop.meter)
        asyncio.run(shop.put(shop.topics.examples, records("examples")))

        async def all_taken() -> None:
            task = asyncio.create_task(intake.run())
            async with asyncio.timeout(LIMIT_S):
                while await intake.count(0) < COUNT:
                    assert not task.done()
                    await asyncio.sleep(0.05)
            await intake.flush()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(all_taken())
        assert [one.id for one in archive.read(0, 1 << 62)] == [f"good{number}" for number in range(COUNT)]
    assert shop.refused("examples") == bad("examples") and store.counts["refused"] == 0


def test_texts(shop: Shop, encoder: Encoder) -> None:
    version = encoder.version
    bad_ones = wrong("embeddings")
    bad_ones += [
        Sent(embedding.key("bad", version), one)
        for one in hostile.unfit(encoder.dim, encoder.token_dim, "bad", version)
    ]
    asyncio.run(
        shop.put(shop.topics.embeddings, mixed([GOOD["embeddings"](number) for number in range(COUNT)], bad_ones))
    )
    found = texts.read(shop.config, {"bad", *(f"good{number}" for number in range(COUNT))}, encoder)
    assert {f"good{number}" for number in range(COUNT)} <= found.texts.keys() and found.encoded == {}


def test_dead_letters(shop: Shop) -> None:
    odd = [
        Sent(None, b"x"),
        Sent(b"\xff", None, (("reason", b"\xff\xfe"), ("detail", b"\x00"))),
        *(
            Sent(b"k", b"v", (("offset", number), ("partition", number), ("timestamp", number)))
            for number in (b"", b"--5", b"9" * 6_000, b"1e9", b"\xd9\xa1")
        ),
    ]
    asyncio.run(shop.put(shop.topics.dead_letters, odd))
    found = list(dead_letters.read(shop.config.kafka, shop.config.topics))
    assert len(found) == len(odd) and {one.source.offset for one in found} == {-1}


def test_story(shop: Shop) -> None:
    settings = Settings(kafka=shop.config.kafka, topics=shop.config.topics)
    watching, closing = SnapshotListener(settings), threading.Event()
    thread = threading.Thread(target=watching.run, args=(closing,))
    thread.start()
    try:

        async def until_taken() -> None:
            async with asyncio.timeout(LIMIT_S):
                while not watching.workers:  # it reads from now on, so what comes before it is ready is lost
                    await shop.put(shop.topics.metrics, [GOOD["snapshots"](99)])
                    await asyncio.sleep(0.2)
                await shop.put(shop.topics.metrics, records("snapshots"))
                await shop.put(shop.topics.alerts, records("alerts"))
                told = list[Any]()
                while len({one.id for one in watching.workers} - {"good99"}) < COUNT or len(told) < COUNT:
                    assert thread.is_alive()
                    told += watching.news()
                    await asyncio.sleep(0.1)

        asyncio.run(until_taken())
    finally:
        closing.set()
        thread.join(30)
    assert not thread.is_alive()
