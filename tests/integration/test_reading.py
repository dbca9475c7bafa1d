"""Worker and evaluator beside partitions that cannot be read, and with topics that are made anew."""

import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka.errors import KafkaError

from liveshelf.stack.kafka import LocalKafka
from streams import reporting
from streams.clock import wall_ms
from streams.config import KafkaConfig, TopicsConfig
from streams.kafka import topics
from streams.kafka.skip_command import skip
from streams.kafka.unreadable import NAME, words
from streams.redis import keys
from streams.telemetry.meter import Snapshot
from tests.shop import Shop, until
from tests.streams.broker import Segment, flip

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

logging.getLogger("kafka.admin").setLevel(logging.ERROR)


@pytest.fixture
def broken(redis_db: str, topics_config: TopicsConfig, tmp_path: Path) -> Iterator[tuple[Shop, Path]]:
    """A shop on a broker whose files can be damaged, and where those are."""
    config = topics_config.model_copy(update={"partitions": 3})
    with LocalKafka(tmp_path / "kafka", say=print) as broker:
        kafka = KafkaConfig(bootstrap_servers=broker.address)
        with Shop(kafka, redis_db, config, tmp_path).open() as shop:
            yield shop, tmp_path / "kafka" / "data"


def item(number: int) -> tuple[str, bytes]:
    return f"i{number}", json.dumps({"item_id": f"i{number}", "title": f"red cable {number}"}).encode()


def event(number: int, **more: Any) -> tuple[str, bytes]:
    about = {"event_id": f"e{number}", "ts": wall_ms(), "user_id": f"u{number}"} | more
    return f"u{number}", json.dumps(about).encode()


def search(number: int) -> tuple[str, bytes]:
    return event(number, type="search", query=f"red cable {number}")


def impression(number: int) -> tuple[str, bytes]:
    shown = [{"item_id": "i1", "position": 0}]
    return event(number, type="impression", surface="feed", shelf_id=f"s{number}", items=shown)


def last(shop: Shop, role: str) -> Snapshot | None:
    for name, process in shop.workers.items():
        assert process.running, shop.log(name).read_text()[-5000:]
    return next(reversed(reporting.snapshots(shop.config, wall_ms() - 5_000, role)), None)


def stopped(shop: Shop, role: str) -> set[tuple[str, int, int]]:
    """What a role says it cannot read."""
    told = last(shop, role)
    labels = [one.labels for one in told.series if one.name == NAME] if told else []
    return {(at["topic"], int(at["partition"]), int(at["offset"])) for at in labels}


def test_roles_go_on_beside_what_cannot_be_read(broken: tuple[Shop, Path]) -> None:
    shop, data = broken
    shop.put_items(dict(item(number) for number in range(20)))
    shop.start()
    shop.ready(20)
    shop.stop()
    bad = {}
    for topic, record in (
        (shop.topics.items, item(20)),
        (shop.topics.events, search(0)),
        (shop.topics.shelves, ("u", b"{}")),
    ):
        [(_, partition, offset)] = shop.produce(topic, [record])
        Segment(data, topic, partition).change(offset, flip)
        bad[topic] = (topic, partition, offset)
    embeddings = Segment(data, shop.topics.embeddings, 0)
    [first, *_] = (base for _, base, _ in embeddings.batches())
    embeddings.change(first, flip)
    bad[shop.topics.embeddings] = (shop.topics.embeddings, 0, first)

    shop.start()
    shop.start("evaluator-1", "evaluator")
    by_role = {
        "worker": {bad[topic] for topic in (shop.topics.items, shop.topics.events, shop.topics.embeddings)},
        "evaluator": {bad[topic] for topic in (shop.topics.events, shop.topics.shelves, shop.topics.embeddings)},
    }
    for role, wanted in by_role.items():
        until(lambda r=role, w=wanted: stopped(shop, r) == w, lambda r=role: str(stopped(shop, r)))  # type: ignore[misc]
    told = last(shop, "worker")
    assert told is not None
    topic, partition, offset = bad[shop.topics.events]
    assert any(f"liveshelf dead-letters skip {topic} {partition} {offset}" in one for one in words(told.series))

    behind, beside = [], []
    for number in range(1, 30):
        [(_, number_of, _)] = shop.produce(shop.topics.events, [search(number)])
        (behind if number_of == partition else beside).append(number)
    assert behind and beside
    until(lambda: all(shop.shelf(keys.search(f"red cable {number}")) for number in beside), every_s=0.5)
    assert not any(shop.shelf(keys.search(f"red cable {number}")) for number in behind)

    command = [sys.executable, "-m", "liveshelf", "dead-letters", "skip", topic, str(partition), str(offset)]
    done = subprocess.run(command, env=dict(shop.env), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"read on at {offset + 1}" in done.stdout.replace("\n", " ")
    for at in bad.values():
        if at[0] != topic:
            skip(shop.config, *at)
    for role in by_role:
        until(lambda r=role: not stopped(shop, r), lambda r=role: str(stopped(shop, r)))  # type: ignore[misc]
    until(lambda: all(shop.shelf(keys.search(f"red cable {number}")) for number in behind), every_s=0.5)
    shop.drained()


def test_events_of_a_topic_made_anew_are_answered_and_counted(broken: tuple[Shop, Path]) -> None:
    shop, _ = broken
    shop.put_items(dict([item(1)]))
    shop.start()
    shop.ready(1)
    shop.start("evaluator-1", "evaluator")
    shop.produce(shop.topics.events, map(impression, range(30)))
    until(lambda: waiting(shop) == 30, lambda: str(last(shop, "evaluator")))
    shop.drained()
    shop.admin.delete_topics([shop.topics.events])
    until(lambda: shop.topics.events not in shop.admin.list_topics())
    topics.create(shop.config.kafka, shop.config.topics)
    shop.disconnect()
    shop.connect()
    sent = until(lambda: attempt(shop))
    assert max(offset for _, _, offset in sent) < 9, "all would be passed over for being old"
    until(lambda: waiting(shop) == 42, lambda: str(last(shop, "evaluator")))
    shop.produce(shop.topics.events, [search(50)])
    until(lambda: shop.shelf(keys.search("red cable 50")), every_s=0.5)
    until(lambda: (told := last(shop, "worker")) is not None and told.gauges["lag"] == 0)


def waiting(shop: Shop) -> float:
    told = last(shop, "evaluator")
    return told.gauges.get("waiting", 0.0) if told else 0.0


def attempt(shop: Shop) -> list[tuple[str, int, int]]:
    try:
        return shop.produce(shop.topics.events, map(impression, range(30, 42)))
    except KafkaError:
        time.sleep(1)
        return []
