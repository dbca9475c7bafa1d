"""The main promise, with the fault injected: kill -9 mid-stream loses no event, counts none twice, ages no shelf."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis
from kafka import KafkaAdminClient, KafkaProducer

from streams import dead_letters, keys, status, topics
from streams.config import KafkaConfig, RedisConfig, StreamsConfig, TopicsConfig
from streams.shelf import shelf_decoder

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(280)]

BAD = [
    (b"{", "malformed"),
    (b"\xff\xfe", "malformed"),
    (b'{"type":"poke"}', "invalid"),
    (b'{"type":"click","event_id":"x","ts":1,"user_id":"u"}', "invalid"),
    (b'{"type":"read","event_id":"f","ts":99999999999999,"user_id":"u","item_id":"i"}', "future"),
    (b'"' + b"x" * 70_000 + b'"', "oversized"),
]


@dataclass
class Story:
    """What happened in a shop: items, valid events, and the records in the order they are produced."""

    items: list[tuple[str, str]]
    events: list[dict[str, Any]]
    records: list[tuple[str, bytes]] = field(default_factory=list)


@pytest.fixture(scope="module")
def story() -> Story:
    """2,000 mixed events, then 10 % of them again and 100 bad ones; out of order within a minute or so."""
    rng = random.Random(5)
    catalogue = icecat() or [
        (f"i{n}", f"{rng.choice(['red', 'blue'])} {rng.choice(['usb', 'hdmi'])} {rng.choice(['cable', 'hub'])} {n}")
        for n in range(80)
    ]
    now = int(time.time() * 1000)
    events = []
    for n in range(2_000):
        event: dict[str, Any] = {"event_id": f"e{n}", "ts": now - 600_000 + n * 250, "user_id": f"u{rng.randrange(60)}"}
        kind = rng.choices(
            ["search", "impression", "click", "read", "cart", "purchase", "review"], [6, 2, 6, 3, 1, 1, 1]
        )
        item_id, title = rng.choice(catalogue)
        event |= {
            "search": {"query": " ".join(title.split()[:3])[:100]},
            "impression": {"shelf_id": "s", "surface": "feed", "items": [{"item_id": item_id, "position": 0}]},
            "review": {"item_id": item_id, "rating": 4},
        }.get(kind[0], {"item_id": item_id})
        events.append({"type": kind[0]} | event)
    told = Story(catalogue, events)
    stream = [(event["user_id"], json.dumps(event).encode()) for event in events]
    stream += rng.sample(stream, 200)
    stream += [("bad", BAD[n % len(BAD)][0]) for n in range(100)]
    stream.sort(key=lambda _: rng.random())
    told.records = stream
    return told


def icecat(count: int = 200) -> list[tuple[str, str]]:
    """The first real products, where the data is there."""
    import lzma

    default = Path(__file__).parents[3] / "shared" / "data"
    file = Path(os.environ.get("LIVESHELF_DATA", default)) / "icecat_electronics" / "products.jsonl.xz"
    if not file.is_file():
        return []
    with lzma.open(file, "rt", encoding="utf-8") as lines:
        products = [json.loads(next(lines)) for _ in range(count)]
    return [(product["id"], product["title"][:500]) for product in products]


class Shop:
    """One prefix on the broker, one Redis database, and a worker that can be killed."""

    def __init__(self, kafka: KafkaConfig, redis_url: str, topics_config: TopicsConfig, log: Path) -> None:
        self.config = StreamsConfig(kafka=kafka, redis=RedisConfig(url=redis_url), topics=topics_config)
        self.group = f"{topics_config.prefix}group"
        self.env = os.environ | {
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "REDIS_URL": redis_url,
            "LIVESHELF_TOPICS__PREFIX": topics_config.prefix,
            "LIVESHELF_WORKER__GROUP": self.group,
            "LIVESHELF_WORKER__INSTANCE": "worker-1",
        }
        self.log = log
        self.redis = redis.Redis.from_url(redis_url)
        self.producer = KafkaProducer(**kafka.client(), acks="all")
        self.sent: list[tuple[Any, bytes]] = []

    @contextmanager
    def open(self, items: list[tuple[str, str]]) -> Iterator[None]:
        """Topics made, the catalogue encoded, the worker running."""
        topics.create(self.config.kafka, self.config.topics)
        names = topics.Topics(self.config.topics.prefix)
        for item_id, title in items:
            item = json.dumps({"item_id": item_id, "title": title}).encode()
            self.producer.send(names.items, key=item_id.encode(), value=item)
        self.producer.flush()
        self.start()
        try:
            for snapshot in status.follow(self.config):
                assert self.worker.poll() is None, self.log.read_text()
                if snapshot is not None and snapshot.gauges["items"] >= len(items):
                    break
            yield
        finally:
            self.worker.terminate()
            self.worker.wait(timeout=30)
            self.producer.close()
            self.redis.close()

    def start(self) -> None:
        """Start the worker."""
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "liveshelf", "worker"]
            self.worker = subprocess.Popen(command, env=self.env, stdout=log, stderr=log)

    def kill(self) -> None:
        """Kill the worker as the kernel would when memory is short."""
        self.worker.kill()
        self.worker.wait()

    def produce(self, records: list[tuple[str, bytes]]) -> None:
        """Send records and wait until the broker has them."""
        topic = topics.Topics(self.config.topics.prefix).events
        self.sent += [(self.producer.send(topic, key=key.encode(), value=value), value) for key, value in records]
        self.producer.flush()

    def drained(self, count: int, limit_s: float = 90.0) -> None:
        """Wait until the group has committed so many events."""
        topic = topics.Topics(self.config.topics.prefix).events
        admin = KafkaAdminClient(**self.config.kafka.client())
        try:
            deadline = time.monotonic() + limit_s
            while True:
                offsets = admin.list_group_offsets(self.group)
                offsets = offsets.get(self.group, offsets)
                done = sum(max(0, at.offset) for partition, at in offsets.items() if partition.topic == topic)
                if done == count:
                    return
                assert time.monotonic() < deadline, f"{done} of {count} committed\n{self.log.read_text()[-3000:]}"
                time.sleep(0.5)
        finally:
            admin.close()

    def letters(self) -> dict[tuple[str, int, int], tuple[str, bytes | None]]:
        """Dead letters by the place of what they hold."""
        found = dead_letters.read(self.config.kafka, self.config.topics)
        return {
            (letter.source.topic, letter.source.partition, letter.source.offset): (letter.reason, letter.source.value)
            for letter in found
        }

    def state(self) -> dict[bytes, Any]:
        """All of Liveshelf's own state."""
        held: dict[bytes, Any] = {}
        for key in self.redis.scan_iter("ls:*"):
            if self.redis.type(key) == b"hash":
                held[key] = self.redis.hgetall(key)
            else:
                held[key] = self.redis.zrange(key, 0, -1, withscores=True)
        return held


def assert_shelves(shop: Shop, story: Story) -> None:
    """Every valid shopper and query has a shelf that knows of its newest event."""
    newest: dict[str, int] = {}
    for event in story.events:
        if event["type"] == "impression":
            continue
        named = [keys.feed(event["user_id"])]
        if event["type"] == "search":
            named.append(keys.search(event["query"]))
        for key in named:
            newest[key] = max(newest.get(key, 0), event["ts"])
    for key, time_ms in newest.items():
        value = shop.redis.get(key)
        assert value is not None, f"no {key}"
        shelf = shelf_decoder.decode(value)
        assert shelf.event_ts >= time_ms, key
        assert shelf.items, key


def assert_letters(shop: Shop) -> None:
    """Exactly the bad records are dead letters, to the byte and with the right reason."""
    reasons = dict(BAD)
    expected = {}
    for future, value in shop.sent:
        if value in reasons:
            at = future.get()
            expected[at.topic, at.partition, at.offset] = (reasons[value], value)
    assert shop.letters() == expected
    assert len(expected) == 100


def test_kill_9_three_times_loses_and_doubles_nothing(
    kafka: KafkaConfig, redis_url: str, topics_config: TopicsConfig, tmp_path: Path, story: Story
) -> None:
    base = redis_url.rsplit("/", 1)[0]
    states = []
    for number, kills in ((5, 0), (6, 3)):
        config = topics_config.model_copy(update={"prefix": f"{topics_config.prefix}{kills}-"})
        shop = Shop(kafka, f"{base}/{number}", config, tmp_path / f"worker-{kills}.log")
        shop.redis.flushdb()
        with shop.open(story.items):
            part = len(story.records) // (kills + 1) + 1
            for start in range(0, len(story.records), part):
                shop.produce(story.records[start : start + part])
                if start + part < len(story.records):
                    time.sleep(0.7)
                    shop.kill()
                    shop.start()
            shop.drained(len(story.records))
            assert_shelves(shop, story)
            assert_letters(shop)
            states.append(shop.state())
        shop.redis.close()
    assert states[0]
    assert states[0] == states[1]
