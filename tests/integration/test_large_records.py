"""Records that are small on the wire and large when read: they stop neither workers nor evaluators."""

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaProducer

from streams.config import KafkaConfig, TopicsConfig
from streams.dead_letter_topic import replay
from tests.shop import Shop, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

logging.getLogger("kafka.admin").setLevel(logging.ERROR)  # it cannot read what Faust adds to a membership, and says so

ITEM = json.dumps({"item_id": "i1", "title": "red cable"}).encode()
LARGE_ITEM = json.dumps({"item_id": "i2", "title": "t", "description": "<p>w</p>" * 400_000}).encode()


@pytest.fixture
def shop(kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, tmp_path: Path) -> Iterator[Shop]:
    """A shop with one worker and one evaluator."""
    with Shop(kafka, redis_db, topics_config, tmp_path).open() as shop:
        shop.put_items({"i1": ITEM})
        shop.start()
        shop.ready(1)
        shop.start("evaluator-1", "evaluator")
        yield shop


def click(number: int) -> bytes:
    event = {"type": "click", "event_id": f"e{number}", "ts": int(time.time() * 1000), "user_id": "u", "item_id": "i1"}
    return json.dumps(event).encode()


def test_large_values_keys_and_headers_are_letters_and_the_stream_goes_on(
    shop: Shop, kafka: KafkaConfig, topics_config: TopicsConfig
) -> None:
    events, items = shop.topics.events, shop.topics.items
    large = KafkaProducer(**kafka.client(), acks="all", compression_type="gzip", max_request_size=20_000_000)
    sent = [
        large.send(events, key=b"u", value=b"{" + b" " * 3_000_000),
        large.send(events, key=b"u" * 1_000_000, value=b"{"),
        large.send(events, key=b"u" * 3_000_000, value=b"{" + b" " * 3_000_000),
        large.send(events, key=b"u", value=b"{", headers=[("h", b"x" * 3_000_000)]),
        large.send(events, key=b"u" * 3_000_000, value=click(0)),
        large.send(items, key=b"i2", value=LARGE_ITEM),
        large.send(items, key=b"i" * 1_000_000, value=None),
        large.send(items, key=b"i" * 1_000_000, value=LARGE_ITEM),
    ]
    large.flush()
    large.close()
    assert all(one.succeeded() for one in sent), "the broker takes them all"
    shop.put_items({"i3": ITEM.replace(b"i1", b"i3")})
    shop.produce(events, [("u", click(number)) for number in range(1, 20)])
    shop.drained()
    shop.ready(2)
    letters = until(lambda: (found := shop.letters()) and len(found) >= 7 and found, 60, every_s=0.5)
    assert len(letters) == 7
    assert all(worker.running for worker in shop.workers.values())
    assert sorted((letter.source.topic == items, letter.reason, *sorted(letter.cut)) for letter in letters) == [
        (False, "malformed"),
        (False, "malformed", "key"),
        (False, "oversized", "key", "value"),
        (False, "oversized", "value"),
        (True, "key", "key"),
        (True, "key", "key", "value"),
        (True, "oversized", "value"),
    ]
    shop.stop()
    done = replay(kafka, topics_config, f"{shop.group}-letters")
    assert (done.sent, done.left.total()) == (7, 0)
    assert shop.ends(items) == 5 + 3
