"""Items whose encoded form Kafka does not take become dead letters; those beside them are encoded."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from kafka import KafkaAdminClient

from models.encoded import EncodedItem
from streams.catalog.catalog import Catalog
from streams.catalog.embedding import place
from streams.catalog.item_encoder import ItemEncoder
from streams.config import KafkaConfig, StreamsConfig, TopicsConfig
from streams.kafka import dead_letters, topics
from streams.kafka.producer import Producer
from streams.kafka.record import Record
from streams.kafka.topic_reader import contents
from streams.kafka.topics import Topics
from streams.telemetry.meter import Meter

pytestmark = pytest.mark.integration


def test_an_item_that_does_not_fit_when_encoded_is_refused(
    kafka: KafkaConfig, topics_config: TopicsConfig, catalogue: Catalog
) -> None:
    names = Topics(topics_config.prefix)
    small = {"num_partitions": 1, "replication_factor": 1, "configs": {"max.message.bytes": "40000"}}
    admin = KafkaAdminClient(**kafka.client())
    admin.create_topics({names.embeddings: small}, wait_for_metadata=True)
    admin.close()
    topics.create(kafka, topics_config)
    attributes = {f"attribute {number}": "x" * 100 for number in range(450)}
    large = json.dumps({"item_id": "large", "title": "t", "attributes": attributes}).encode()
    records = [
        Record(names.items, 0, 0, 1, b"a", b'{"item_id": "a", "title": "red cable"}'),
        Record(names.items, 0, 1, 1, b"large", large),
        Record(names.items, 0, 2, 1, b"b", b'{"item_id": "b", "title": "blue cable"}'),
    ]
    config = StreamsConfig(kafka=kafka, topics=topics_config)
    counts = encode(records, catalogue, config)
    assert {place(message).item_id for message in contents(config, names.embeddings)} == {"a", "b"}
    [letter] = dead_letters.read(kafka, topics_config)
    assert (letter.reason, letter.source.offset, letter.source.value) == ("oversized", 1, large)
    assert (counts["items.refused"], counts["unsent.too_large"]) == (1, 1)


def test_an_item_of_which_the_encoder_makes_no_numbers_is_refused(
    kafka: KafkaConfig, topics_config: TopicsConfig, catalogue: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Topics(topics_config.prefix)
    topics.create(kafka, topics_config)
    real = catalogue.encoder.encode_items

    def broken(texts: Sequence[str]) -> list[EncodedItem]:
        return [
            replace(made, pooled=np.full_like(made.pooled, np.nan)) if "blue" in text else made
            for text, made in zip(texts, real(texts), strict=True)
        ]

    monkeypatch.setattr(catalogue.encoder, "encode_items", broken)
    told = [("a", "red cable"), ("b", "blue cable"), ("c", "green cable")]
    records = [
        Record(names.items, 0, offset, 1, item.encode(), json.dumps({"item_id": item, "title": title}).encode())
        for offset, (item, title) in enumerate(told)
    ]
    config = StreamsConfig(kafka=kafka, topics=topics_config)
    counts = encode(records, catalogue, config)
    assert {place(message).item_id for message in contents(config, names.embeddings)} == {"a", "c"}
    [letter] = dead_letters.read(kafka, topics_config)
    assert (letter.reason, letter.source.offset) == ("internal", 1) and "finite" in letter.detail
    assert (counts["items.refused"], counts["items.accepted"]) == (1, 2)


def encode(records: Sequence[Record], catalogue: Catalog, config: StreamsConfig) -> Mapping[str, int]:
    """Let an encoder take records; what it counted."""
    meter = Meter("worker", "w", 0)

    async def process() -> None:
        async with Producer(config, meter) as send:
            encoder = ItemEncoder(lambda: [catalogue], lambda: [], lambda _: None, send, meter, config)
            await asyncio.gather(*await encoder.process(records))

    asyncio.run(process())
    return meter.snapshot(1).counts
