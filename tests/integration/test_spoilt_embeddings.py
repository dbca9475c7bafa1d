"""A record of the serving encoder that cannot be used stops no worker: it is reported, its item is encoded again, and a
tombstone or another record wins at once, also after a restart."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import TopicPartition

from streams.catalog import embedding
from streams.catalog.embedding import Origin
from streams.config import KafkaConfig, TopicsConfig
from streams.kafka.topics import SEPARATOR
from streams.telemetry.meter import Snapshot, total
from tests import hostile_records as hostile
from tests.integration.test_worker import item
from tests.shop import Shop, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

ITEMS = {f"i{number}": item(f"i{number}", f"red kettle number {number}") for number in range(10)}


@pytest.fixture
def shop(kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, tmp_path: Path) -> Iterator[Shop]:
    own = topics_config.model_copy(update={"partitions": 1, "compacted_partitions": 1})
    with Shop(kafka, redis_db, own, tmp_path).open() as shop:
        yield shop


def held(shop: Shop) -> list[tuple[bytes, bytes | None, list[tuple[str, bytes]]]]:
    """All that lies on the embeddings topic."""
    partition = TopicPartition(shop.topics.embeddings, 0)
    shop.reader.assign([partition])
    shop.reader.seek_to_beginning()
    [end] = shop.reader.end_offsets([partition]).values()
    found = []
    while shop.reader.position(partition) < end:
        for messages in shop.reader.poll(timeout_ms=500).values():
            found += [(one.key, one.value, list(one.headers)) for one in messages]
    return found


def test_vectors_of_another_width_stop_no_worker_and_are_made_again(shop: Shop) -> None:
    shop.put_items(ITEMS)
    shop.start()
    shop.ready(10)
    until(lambda: len(held(shop)) == 10)
    [(key, headers)] = [(key, headers) for key, _, headers in held(shop) if key.startswith(b"i3\0")]
    version = key.partition(SEPARATOR)[2].decode()
    origin = embedding.origin(headers)
    assert origin is not None
    bad = hostile.encoded(128, 128, "i3", version)
    where = {"partition": 0, "headers": [origin.header()]}

    def put(value: bytes | None, **more: object) -> None:
        shop.producer.send(shop.topics.embeddings, key=key, value=value, **(where | more)).get(timeout=30)

    put(bad)
    shop.seen(lambda snapshot: snapshot.counts.get("unreadable.embeddings", 0) == 1)
    until(lambda: held(shop)[-1][0] == key and held(shop)[-1][1] != bad, shop.log().read_text)
    mended = held(shop)[-1][1]
    assert mended is not None and embedding.decoder.decode(mended).item.title == "red kettle number 3"
    assert "cannot be read as one of the embeddings" in shop.log().read_text()

    # Once more, and killed: the next worker finds the bad record, and encodes the item again before it knows it.
    shop.kill()
    put(bad)
    before = len(held(shop))
    shop.start()
    until(lambda: len(held(shop)) > before, shop.log().read_text)
    shop.ready(10)

    # A record that deletes wins over a bad one, in whatever order they are read.
    put(bad)
    put(None, headers=[Origin(origin.partition, origin.offset + 1_000).header()])

    def gone(snapshot: Snapshot) -> bool:
        return snapshot.gauges["items"] == 9

    shop.seen(gone)
    shop.stop()
    shop.start()
    shop.seen(gone)
    assert total(shop.ready(9), "items.encoded") == 0
