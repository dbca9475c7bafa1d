"""Items whose encoded form Kafka does not take become dead letters; those beside them are encoded."""

import asyncio
import json

import pytest
from kafka import KafkaAdminClient

from streams import dead_letters, topics
from streams.catalogue import Catalogue
from streams.config import KafkaConfig, StreamsConfig, TopicsConfig
from streams.contents import contents
from streams.embedding import place
from streams.item_encoder import ItemEncoder
from streams.meter import Meter
from streams.producer import Producer
from streams.record import Record
from streams.topics import Topics

pytestmark = pytest.mark.integration


def test_an_item_that_does_not_fit_when_encoded_is_refused(
    kafka: KafkaConfig, topics_config: TopicsConfig, catalogue: Catalogue
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
    meter, config = Meter("worker", "w", 0), StreamsConfig(kafka=kafka, topics=topics_config)

    async def process() -> None:
        async with Producer(config, meter) as send:
            encoder = ItemEncoder(lambda: [catalogue], lambda: [], lambda _: None, send, meter, config)
            await asyncio.gather(*await encoder.process(records))

    asyncio.run(process())
    assert {place(message).item_id for message in contents(config, names.embeddings)} == {"a", "b"}
    [letter] = dead_letters.read(kafka, topics_config)
    assert (letter.reason, letter.source.offset, letter.source.value) == ("oversized", 1, large)
    counts = meter.snapshot(1).counts
    assert (counts["items.refused"], counts["unsent.too_large"]) == (1, 1)
