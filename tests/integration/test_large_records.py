"""Records that are large, and records that make large what is told of them: they stop no worker and no evaluator."""

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from kafka import KafkaProducer

from benchmarks.replay import later
from evaluator.metrics.cardinality import MOST, ROWS
from streams.config import KafkaConfig, TopicsConfig
from streams.kafka.dead_letter_topic import replay
from streams.kafka.producer import partition
from streams.redis import keys
from streams.reporting import snapshots
from streams.telemetry.meter import LABEL_LETTERS, Snapshot, total
from tests.shop import Shop, until
from tests.streams.broker import CODECS
from tests.streams.schema_registry import CLICK, SchemaRegistry, avro, framed

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

logging.getLogger("kafka.admin").setLevel(logging.ERROR)  # it cannot read what Faust adds to a membership, and says so

ITEM = json.dumps({"item_id": "i1", "title": "red cable"}).encode()
LARGE_ITEM = json.dumps({"item_id": "i2", "title": "t", "description": "<p>w</p>" * 400_000}).encode()


@pytest.fixture
def registry() -> SchemaRegistry:
    """A schema registry that knows one schema, and refuses at first."""
    found = SchemaRegistry()
    found.put(7, json.dumps(CLICK))
    found.status = 503
    return found


@pytest.fixture
def shop(
    kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, registry: SchemaRegistry, tmp_path: Path
) -> Iterator[Shop]:
    """A shop with one worker and one evaluator."""
    with registry.serve() as where, Shop(kafka, redis_db, topics_config, tmp_path).open() as shop:
        shop.env["LIVESHELF_KAFKA__SCHEMA_REGISTRY_URL"] = where
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
    letters = until(lambda: (found := shop.letters()) and len(found) >= 7 and found, every_s=0.5)
    assert len(letters) == 7
    until(lambda: taken(shop) == (20, 4), lambda: shop.log("evaluator-1").read_text()[-3000:], every_s=1)
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


def test_events_as_other_clients_send_them_are_taken_and_what_is_out_of_place_is_said_once(
    shop: Shop, kafka: KafkaConfig, registry: SchemaRegistry
) -> None:
    """Each codec by librdkafka, whose own partitioner is another; tombstones, headers, and keys that are none; then
    Avro by a schema registry that is away at first."""
    topic, server = shop.topics.events, kafka.bootstrap_servers
    for codec in CODECS:
        producer = Producer({"bootstrap.servers": server, "compression.type": codec, "partitioner": "murmur2_random"})
        for number in range(5):
            headers = [("traceparent", b"\xff\x00"), ("traceparent", None), ("", b""), ("\u00e9", b"x" * 9)]
            producer.produce(topic, acted(f"{codec}-{number}"), f"{codec}-{number}".encode(), headers=headers)
        producer.produce(topic, None, codec.encode())
        assert producer.flush(60) == 0
    odd = Producer({"bootstrap.servers": server, "partitioner": "murmur2_random"})
    for number, name in enumerate((None, b"", b"order-7", b'"q3"', b"\xff\xfe", b"q5")):
        odd.produce(topic, acted(f"q{number}"), name)
    other = {0, 1} - {partition(b"q6", list(range(shop.config.topics.partitions)), [])}
    odd.produce(topic, acted("q6"), b"q6")
    odd.produce(topic, acted("q6", "again"), b"q6", partition=min(other))
    assert odd.flush(60) == 0
    shop.drained()
    shoppers = [f"{codec}-{number}" for codec in CODECS for number in range(5)] + [f"q{number}" for number in range(7)]
    for name in shoppers:
        assert shop.shelf(keys.feed(name)), name
    assert [letter.reason for letter in shop.letters()] == ["empty"] * len(CODECS)
    worker = next(iter(shop.workers))
    until(lambda: total(snapshots(shop.config, 0, "worker"), "events.misplaced") == 6, shop.log(worker).read_text)
    assert shop.log(worker).read_text().count("does not lie with its shopper's others") == 1
    in_avro = avro(CLICK, json.loads(acted("q7")) | {"price": None})
    shop.produce(topic, [("q7", framed(7, in_avro)), ("q8", framed(8, in_avro))])
    roles = ("worker", "evaluator")

    def paused() -> bool:
        last = [snapshots(shop.config, 0, role)[-1:] for role in roles]
        return all(one and "503" in one[0].labels.get("registry_pause", "") for one in last)

    until(paused, shop.log(worker).read_text, every_s=0.5)
    assert shop.shelf(keys.feed("q7")) is None
    shop.stop("evaluator-1")  # one that waits ends well, and the next one waits where it was
    shop.start("evaluator-1", "evaluator")
    registry.status = 200
    shop.drained()
    assert shop.shelf(keys.feed("q7"))
    [letter] = [letter for letter in shop.letters() if letter.reason == "schema"]
    assert letter.source.value == framed(8, in_avro) and "no schema 8" in letter.detail
    until(lambda: taken(shop) == (len(shoppers) + 2, len(CODECS) + 1), shop.log("evaluator-1").read_text, every_s=0.5)
    assert "nothing is lost" in shop.log(worker).read_text()


def acted(name: str, what: str = "") -> bytes:
    """A click of a shopper."""
    event = {"type": "click", "event_id": name + what, "ts": int(time.time() * 1000), "user_id": name, "item_id": "i1"}
    return json.dumps(event).encode()


def taken(shop: Shop) -> tuple[int, int]:
    """Events and refused records that the evaluator has taken."""
    found = snapshots(shop.config, 0, "evaluator")
    return total(found, "events"), total(found, "refused")


def test_free_text_surfaces_and_dear_purchases_leave_snapshots_small_and_sums_finite(
    kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, tmp_path: Path
) -> None:
    count, now = 3_000, int(time.time() * 1000)
    with Shop(kafka, redis_db, topics_config, tmp_path).open() as shop:
        shop.env |= {"LIVESHELF_EVALUATOR__WINDOW_S": "2", "LIVESHELF_EVALUATOR__GRACE_S": "1"}
        shop.env |= {"LIVESHELF_EVALUATOR__IDLE_S": "600"}
        shop.start("evaluator-1", "evaluator")
        records: list[tuple[str, bytes]] = []
        for number in range(count):
            one = {"event_id": f"i{number}", "ts": now, "user_id": f"u{number}", "type": "impression"}
            one |= {"shelf_id": f"s{number}", "items": [{"item_id": "i1", "position": 0}]}
            one["surface"] = f"{number:04}" + "\x01\u2028😀" * 20
            two = {
                "event_id": f"p{number}",
                "ts": now + 1,
                "user_id": f"u{number}",
                "type": "purchase",
                "item_id": "i1",
            }
            two |= {"shelf_id": f"s{number}", "price": 1e200 if number % 3 else 1e12, "quantity": 10**9}
            records += [(f"u{number}", json.dumps(event).encode()) for event in (one, two)]
        shop.produce(shop.topics.events, records)
        later(shop.producer, shop.topics.events, range(topics_config.partitions), now + 10_000)

        def closed() -> Snapshot | None:
            found = snapshots(shop.config, 0, "evaluator")
            done = found and found[-1].gauges.get("closed") == count and sum(rows(found[-1], "impressions").values())
            return found[-1] if done == count else None

        last = until(closed, lambda: shop.log("evaluator-1").read_text()[-3000:], every_s=1)
        shown = rows(last, "impressions")
        assert sum(shown.values()) == count
        assert len(shown) <= ROWS + 1 and "other" in shown
        assert all(len(name) <= LABEL_LETTERS and not set(name) & {"\x01", "\u2028"} for name in shown)
        assert sum(rows(last, "revenue_squared").values()) == pytest.approx(count / 3 * 1e42)
        fields = sum(shop.redis.hlen(key) for key in shop.redis.scan_iter("ls:*rates*"))
        assert fields <= topics_config.partitions * 5 * (MOST + 1), "a minute's five sums, by few names"
        assert shop.workers["evaluator-1"].running


def rows(snapshot: Snapshot, what: str) -> dict[str, float]:
    """A sum of the last 24 hours by surface."""
    wanted = [one for one in snapshot.series if one.name == f"rate_{what}" and one.labels["window"] == "24h"]
    return {one.labels["surface"]: one.value for one in wanted}
