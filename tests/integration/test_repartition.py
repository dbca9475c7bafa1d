"""Events of another topic, under any keys, come to lie with their shopper's others, though the process is killed."""

import json
import os
import signal
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest

from liveshelf.stack.process import Process
from streams.config import KafkaConfig, RoleConfig, StreamsConfig, TopicsConfig
from streams.events.schema import event_decoder
from streams.kafka import topics
from streams.repartition import Repartition, SourceTopicError
from tests.collectors import records
from tests.shop import HANG_S, Shop, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

SHOPPERS, EVENTS = 20, 3_000


def event(number: int) -> bytes:
    """An event; each shopper's are in order of their numbers."""
    fields = {"type": "click", "event_id": f"e{number:05}", "ts": int(time.time() * 1000), "item_id": "i"}
    return json.dumps(fields | {"user_id": f"u{number % SHOPPERS}"}).encode()


def test_events_lie_with_their_shoppers_others_though_it_is_killed(
    kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, tmp_path: Path
) -> None:
    with Shop(kafka, redis_db, topics_config, tmp_path).open() as shop:
        source = shop.topics.prefix + "clicks"
        new = {source: {"num_partitions": 3, "replication_factor": 1}}
        shop.admin.create_topics(new, wait_for_metadata=True)
        command = [sys.executable, "-m", "liveshelf", "repartition", source]
        log = tmp_path / "log"
        process = Process(command, log=log, env=shop.env)
        try:
            for number in range(EVENTS):
                shop.producer.send(source, value=event(number), partition=number % 3)
            shop.producer.send(source, key=b"k", value=b"junk", partition=0)
            ahead, then = event(EVENTS), int(time.time() * 1000) - 7_200_000
            shop.producer.send(source, key=b"order-7", value=ahead, partition=0, timestamp_ms=then)
            shop.producer.send(source, key=b"gone", value=None, partition=1)
            shop.producer.flush()
            until(lambda: shop.ends(shop.topics.events) > 0, log.read_text)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            process = Process(command, log=log, env=shop.env)
            wanted = {f"e{number:05}" for number in range(EVENTS)}

            def there() -> bool:
                assert process.running, log.read_text()
                found = records(kafka, shop.topics.events)
                ids = {event_decoder.decode(value).event_id for _, value, _ in found if value and value != b"junk"}
                letters = records(kafka, shop.topics.dead_letters)
                return (
                    ids == wanted
                    and {(b"k", b"junk"), (b"gone", None)} <= {one[:2] for one in found}
                    and {value for _, value, _ in letters} == {ahead}
                )

            until(there, log.read_text, every_s=0.5)
            process.terminate()
            assert process.wait() == 0, log.read_text()
        finally:
            process.stop(timeout_s=HANG_S)
        lie = defaultdict(set)
        for key, value, number in records(kafka, shop.topics.events):
            if value and value != b"junk":
                assert key == event_decoder.decode(value).shopper.encode()
                lie[key].add(number)
        assert len(lie) == SHOPPERS and {len(some) for some in lie.values()} == {1}


@pytest.mark.parametrize("name", ["shop.events", "shop.items", "liveshelf.shelves"])
def test_own_topics_are_no_source(name: str) -> None:
    with pytest.raises(SourceTopicError, match="own topics"):
        Repartition(StreamsConfig(), name, RoleConfig(group="g"))
    assert topics.Topics("").events == "shop.events"
