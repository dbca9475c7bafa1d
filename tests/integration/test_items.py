"""Item records on a real broker: each is accounted for, and one that two partitioners spread ends in its last state."""

import asyncio
import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from confluent_kafka import Producer as LibrdkafkaProducer
from kafka import KafkaProducer

from models.encoder import Encoder
from streams.catalog.catalog import Catalog
from streams.catalog.embedding import parse
from streams.catalog.item_encoder import ItemEncoder
from streams.catalog.topic_index import TopicIndex
from streams.config import KafkaConfig, StreamsConfig, TopicsConfig
from streams.kafka import topics
from streams.kafka.producer import Producer
from streams.kafka.record import Record
from streams.kafka.topic_reader import contents
from streams.telemetry.meter import Meter

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

COUNTS = ("items.accepted", "items.deleted", "items.superseded", "items.refused")


@pytest.fixture(scope="module")
def catalogue() -> Catalog:
    """An empty catalogue of the packaged encoder."""
    return Catalog(Encoder(precision="float32"))


def config(kafka: KafkaConfig, topics_config: TopicsConfig) -> StreamsConfig:
    """Settings for topics that are there now."""
    topics.create(kafka, topics_config)
    return StreamsConfig(kafka=kafka, topics=topics_config)


def topic_index(settings: StreamsConfig, catalogue: Catalog) -> TopicIndex:
    """What the embeddings topic holds."""
    found = TopicIndex(catalogue.encoder.version)
    for message in contents(settings, topics.Topics(settings.topics.prefix).embeddings):
        (item_id, version, origin), made = parse(message, 0)
        assert origin is not None
        (found.put if made is not None else found.delete)(item_id, version, origin)
    return found


def encoded(
    settings: StreamsConfig, catalogue: Catalog, batches: Sequence[Sequence[Record]], known: TopicIndex
) -> dict[str, int]:
    """Let one worker's encoder take batches; returns what it counted."""
    meter = Meter("worker", "w", 0)

    async def work() -> None:
        async with Producer(settings, meter) as send:
            versions = [catalogue.encoder.version]
            encoder = ItemEncoder(lambda: [catalogue], lambda: versions, known.known, send, meter, settings)
            for batch in batches:
                await asyncio.gather(*await encoder.process(batch))

    asyncio.run(work())
    return meter.snapshot(0).counts


def item(item_id: str, title: str = "a lamp") -> bytes:
    return json.dumps({"item_id": item_id, "title": title}).encode()


def hostile(count: int, seed: int) -> list[Record]:
    """Good and bad records of few items in three partitions, with clocks that go back."""
    rng = random.Random(seed)
    made, offsets = [], [0, 0, 0]
    for _ in range(count):
        name, partition = f"i{rng.randrange(40)}", rng.randrange(3)
        values: list[Any] = [item(name), item(name), None, b"{", b"", item("other"), b'{"item_id": 1}', b"x" * 70_000]
        key = rng.choice([name.encode()] * 8 + [None, b"", b"\xff", b"a\x00b"])
        made.append(Record("shop.items", partition, offsets[partition], rng.randrange(1_000), key, rng.choice(values)))
        offsets[partition] += 1
    return made


def test_every_record_is_accepted_deleted_superseded_or_refused(
    kafka: KafkaConfig, topics_config: TopicsConfig, catalogue: Catalog
) -> None:
    settings = config(kafka, topics_config)
    records = hostile(3_000, seed=1)
    batches = [records[start : start + 32] for start in range(0, len(records), 32)]
    counts = encoded(settings, catalogue, batches, TopicIndex(catalogue.encoder.version))
    assert sum(counts[name] for name in COUNTS) == len(records)
    assert all(counts[name] > 0 for name in COUNTS)
    letters = list(contents(settings, topics.Topics(settings.topics.prefix).dead_letters))
    assert len(letters) == counts["items.refused"]


@pytest.mark.parametrize("restarted", [False, True])
def test_a_delete_by_another_partitioner_counts_whatever_is_read_first(
    kafka: KafkaConfig, topics_config: TopicsConfig, catalogue: Catalog, restarted: bool
) -> None:
    settings = config(kafka, topics_config)
    names = [f"item-{n}" for n in range(18)]
    topic = topics.Topics(settings.topics.prefix).items
    usual = KafkaProducer(**kafka.client())
    other = LibrdkafkaProducer({"bootstrap.servers": kafka.bootstrap_servers})
    for name in names:
        usual.send(topic, key=name.encode(), value=item(name)).get(timeout=60)
    usual.close()
    for name in names:
        other.produce(topic, key=name.encode(), value=None)
    assert other.flush(60) == 0
    read = [
        Record(topic, one.partition, one.offset, one.timestamp, one.key, one.value) for one in contents(settings, topic)
    ]
    apart = {name for name in names if len({one.partition for one in read if one.key == name.encode()}) > 1}
    assert apart, "both partitioners agree on all of these: choose other names"
    for order in (read, sorted(read, key=lambda one: (-one.partition, one.offset))):
        parts = [
            [one for one in order if one.partition == number] for number in dict.fromkeys(p.partition for p in order)
        ]
        for batches in [parts] if not restarted else [[part] for part in parts]:
            encoded(settings, catalogue, batches, topic_index(settings, catalogue))
        found = topic_index(settings, catalogue)
        assert [name for name in names if found.live(name)] == []
        assert not found.outdated
