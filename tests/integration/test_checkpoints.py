"""A worker goes on from a snapshot of its catalogue: it reads what came since, and nothing of another topic."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from kafka import KafkaAdminClient

from models.encoder import Encoder
from streams.catalog import checkpoints, embedding
from streams.catalog.catalog import Catalog
from streams.catalog.embedding import Embedding, Origin, text
from streams.catalog.replication import Follower
from streams.catalog.snapshot import Snapshots
from streams.config import CatalogueConfig, KafkaConfig, StreamsConfig, TopicsConfig
from streams.events.schema import Item
from streams.kafka import topics
from streams.kafka.connection import aiokafka_client
from streams.kafka.consumer import Consumer
from streams.kafka.topics import Topics
from streams.telemetry.meter import Meter, total
from tests.integration.test_worker import item
from tests.shop import Shop, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

LIMIT_S = 100.0


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(precision="float32")


class Host:
    """A topic, and the folder of the workers that follow it."""

    def __init__(self, config: StreamsConfig, folder: Path, encoder: Encoder) -> None:
        self.config, self.folder, self.encoder, self.sent = config, folder, encoder, 0
        self.topic = Topics(config.topics.prefix).embeddings
        self.read = 0
        topics.create(config.kafka, config.topics)

    def send(self, items: Iterable[Item | str]) -> None:
        """Encoded items, and the ids of those that are deleted."""
        asyncio.run(self._send(list(items)))

    async def _send(self, items: list[Item | str]) -> None:
        async with AIOKafkaProducer(**aiokafka_client(self.config.kafka)) as producer:
            for one in items:
                self.sent += 1
                origin, item_id = Origin(0, self.sent, self.sent), one if isinstance(one, str) else one.item_id
                value = None
                if isinstance(one, Item):
                    [encoded] = self.encoder.encode_items([text(one)])
                    value = embedding.encoder.encode(Embedding.of(one, self.encoder.version, encoded))
                key, headers = embedding.key(item_id, self.encoder.version), [origin.header()]
                await producer.send_and_wait(self.topic, value, key, headers=headers)

    def recreate(self) -> None:
        """Delete the topic, and create it empty."""
        admin = KafkaAdminClient(**self.config.kafka.client())
        admin.delete_topics([self.topic])
        until(lambda: self.topic not in admin.list_topics())
        admin.close()
        topics.create(self.config.kafka, self.config.topics)

    def follow(self, done: Callable[[Follower], bool] = lambda _: True) -> Catalog:
        """A worker's catalogue once it is ready and more holds; ``read`` is how many changes it read."""
        return asyncio.run(self._follow(done))

    async def _follow(self, done: Callable[[Follower], bool]) -> Catalog:
        catalogue, meter = Catalog(self.encoder), Meter("test", "t", 0)
        snapshots = Snapshots(self.folder, self.encoder.version, self.topic)
        consumer = Consumer(self.config, self.topic)
        config = CatalogueConfig(snapshot_every_s=1, smallest=3)
        follower = Follower(consumer, catalogue, meter, snapshots=snapshots, config=config)
        running = asyncio.ensure_future(follower.run())
        try:
            async with asyncio.timeout(LIMIT_S):
                while not (follower.ready.is_set() and done(follower)):
                    assert not running.done(), running.exception()
                    await asyncio.sleep(0.05)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        self.read = meter.snapshot(1).counts.get("items.changed", 0)
        return catalogue

    def generations(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("*/*") if path.name.isdigit())

    def written(self, number: int) -> Callable[[Follower], bool]:
        """Whether that many snapshots were written."""
        return lambda _: self.generations()[-1:] == [f"{number:08d}"]


@pytest.fixture
def host(
    kafka: KafkaConfig, topics_config: TopicsConfig, tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> Host:
    monkeypatch.setattr(checkpoints, "LOOK_EVERY_S", 0.1)
    return Host(StreamsConfig(kafka=kafka, topics=topics_config), tmp_path / "catalogue", encoder)


def titles(catalogue: Catalog) -> dict[str, str]:
    held = (catalogue.item(slot) for slot in range(len(catalogue.live)) if catalogue.live[slot])
    return {item.item_id: item.title for item in held}


def words(catalogue: Catalog, word: str) -> set[str]:
    return set(catalogue.ids(catalogue.lexical.search([word], 10)))


def test_a_worker_reads_on_where_the_snapshot_ends(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    host.send(Item(item_id=f"i{number}", title=f"red kettle {number}") for number in range(6))
    host.follow(host.written(1))
    assert host.read == 6
    host.send(["i0", Item(item_id="i1", title="blue mug"), Item(item_id="i7", title="green mug")])
    catalogue = host.follow()
    assert host.read == 3, caplog.text
    expected = {f"i{number}": f"red kettle {number}" for number in range(2, 6)} | {"i1": "blue mug", "i7": "green mug"}
    assert titles(catalogue) == expected and words(catalogue, "mug") == {"i1", "i7"}
    assert words(catalogue, "kettle") == {"i2", "i3", "i4", "i5"}
    # It writes what it holds now: the next one reads nothing.
    host.follow(host.written(2))
    assert titles(host.follow()) == expected and host.read == 0 and host.generations() == ["00000002"]
    assert not list(host.folder.glob("*/workers/*")), "its own files are gone"


@pytest.mark.parametrize("count", [0, 2, 9])
def test_a_topic_that_was_created_again_is_read_from_its_beginning(
    host: Host, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    host.send(Item(item_id=f"i{number}", title=f"red kettle {number}") for number in range(6))
    host.follow(host.written(1))
    host.recreate()
    host.send(Item(item_id=f"n{number}", title="mug") for number in range(count))
    assert titles(host.follow()) == {f"n{number}": "mug" for number in range(count)}
    assert "is another one now, or lost records" in caplog.text


def test_a_damaged_snapshot_is_ignored_and_the_next_one_replaces_it(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    host.send(Item(item_id=f"i{number}", title=f"red kettle {number}") for number in range(6))
    host.follow(host.written(1))
    [victim] = host.folder.glob("*/00000001/facts.since")
    victim.write_bytes(bytes(victim.stat().st_size))
    catalogue = host.follow()
    assert len(catalogue) == 6 and host.read == 6 and "facts.since is damaged" in caplog.text
    host.send([Item(item_id="i7", title="green mug")])
    host.follow(host.written(2))
    assert len(host.follow()) == 7 and host.read == 0


def test_a_killed_worker_is_ready_from_the_snapshot(
    kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, tmp_path: Path
) -> None:
    with Shop(kafka, redis_db, topics_config, tmp_path).open() as shop:
        shop.env |= {"LIVESHELF_CATALOGUE__SMALLEST": "10", "LIVESHELF_CATALOGUE__SNAPSHOT_EVERY_S": "1"}
        shop.put_items({f"i{number}": item(f"i{number}", f"red kettle {number}") for number in range(10)})
        shop.start()
        shop.ready(10)
        until(lambda: list((tmp_path / "catalogue").glob("*/0*/meta")), shop.log().read_text)
        shop.kill()
        shop.put_items({"i3": None, "i11": item("i11", "blue kettle")})
        shop.start()
        seen = shop.seen(lambda snapshot: total([snapshot], "items.deleted") == 1)
        seen += shop.seen(lambda snapshot: snapshot.gauges["items"] == 10)
        assert total(seen, "items.changed") < 10, shop.log().read_text()
        shop.stop()


def test_without_a_folder_to_write_to_the_topic_is_read(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    host.folder.write_text("a file")
    host.send(Item(item_id=f"i{number}", title=f"red kettle {number}") for number in range(6))
    assert len(host.follow()) == 6 and "there are no snapshots of the catalogue" in caplog.text
