"""What stops for a while, and clocks that are wrong: a pause or a stated refusal, and nothing lost or counted twice."""

import itertools
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from confluent_kafka import Producer
from kafka.admin import ConfigResource, ConfigResourceType

from streams.clock import wall_ms
from streams.config import KafkaConfig, TopicsConfig
from streams.events.shelf import ShelfRecord, encoder
from streams.kafka import dead_letter_topic
from tests.brokers import Broker, brokers
from tests.integration.test_evaluator import (
    counted,
    left,
    made_shelf,
    mixed,
    offline,
    shown_once,
    told,
    visits,
)
from tests.integration.test_worker import ITEMS, touches
from tests.programs import library
from tests.shop import HANG_S, Shop, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

logging.getLogger("kafka.admin").setLevel(logging.ERROR)

SESSION_S = 6


def remembered(shop: Shop) -> int:
    """Acts upon items that shoppers' memory holds."""
    return sum(shop.redis.zcard(key) for key in shop.redis.scan_iter("ls:*:items:*"))


def members(shop: Shop, group: str) -> int:
    """How many members a group has."""
    return len(shop.admin.describe_groups([group])[group]["members"])


def test_a_worker_that_is_stopped_and_goes_on_loses_and_doubles_nothing(
    kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, tmp_path: Path
) -> None:
    shop = Shop(kafka, redis_db, topics_config, tmp_path)
    shop.env["LIVESHELF_WORKER__SESSION_TIMEOUT_S"] = str(SESSION_S)
    with shop.open():
        shop.put_items(ITEMS)
        shop.start()
        shop.ready(len(ITEMS))
        events = touches(600, seed=11)
        shop.produce(shop.topics.events, events[:300])
        until(lambda: remembered(shop) > 20)
        pid = shop.workers["worker-1"].pid
        os.kill(pid, signal.SIGSTOP)
        until(lambda: members(shop, shop.group) == 0, lambda: "it is still in its group")
        shop.produce(shop.topics.events, events[300:])
        os.kill(pid, signal.SIGCONT)
        shop.drained()
        assert remembered(shop) == len(events)
        assert shop.workers["worker-1"].pid == pid, "it was not started again"


def test_an_evaluator_that_is_stopped_and_goes_on_counts_as_an_offline_join(
    kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, tmp_path: Path
) -> None:
    shop = evaluated(kafka, redis_db, topics_config, tmp_path)
    shop.env["LIVESHELF_EVALUATOR__SESSION_TIMEOUT_S"] = str(SESSION_S)
    with shop.open():
        events = visits(400, seed=12)
        records = mixed(events, seed=13)
        shelves = [(f"s{number}", made_shelf(f"s{number}")) for number in range(50)]
        put_shelves(shop, shelves)
        shop.start("evaluator-1", "evaluator")
        shop.produce(shop.topics.events, records[: len(records) // 2])
        until(lambda: left(shop) > 100)
        pid = shop.workers["evaluator-1"].pid
        os.kill(pid, signal.SIGSTOP)
        until(lambda: members(shop, f"{shop.group}-evaluator") == 0)
        shop.produce(shop.topics.events, records[len(records) // 2 :])
        os.kill(pid, signal.SIGCONT)
        wanted = offline(events)
        until(lambda: sum(told(shop.examples()).values()) >= wanted.total() and not left(shop))
        assert told(shop.examples()) == wanted


def evaluated(kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, folder: Path) -> Shop:
    """A shop whose impressions close soon."""
    shop = Shop(kafka, redis_db, topics_config, folder)
    shop.env |= {
        "LIVESHELF_EVALUATOR__WINDOW_S": "600",
        "LIVESHELF_EVALUATOR__GRACE_S": "120",
        "LIVESHELF_EVALUATOR__IDLE_S": "3",
    }
    return shop


def put_shelves(shop: Shop, shelves: Sequence[tuple[str, ShelfRecord]]) -> None:
    """Shelf records on their topic."""
    shop.produce(shop.topics.shelves, [(name, encoder.encode(record)) for name, record in shelves])


def test_a_worker_whose_clock_jumps_goes_on_and_what_it_took_for_the_future_is_replayed(
    kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, tmp_path: Path
) -> None:
    """It takes nothing for the future where the broker dates the events, only where their producer does."""
    shift = tmp_path / "shift"
    shift.write_text("+0\n")
    shop = Shop(kafka, redis_db, topics_config, tmp_path)
    shop.env |= {
        "LD_PRELOAD": library("libfaketimeMT.so.1"),
        "FAKETIME_TIMESTAMP_FILE": str(shift),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with shop.open():
        shop.put_items(ITEMS)
        shop.start()
        shop.ready(len(ITEMS))
        events = touches(400, seed=14)
        shop.produce(shop.topics.events, events[:100])
        shop.drained()
        shift.write_text("+2h\n")  # further ahead than the broker lets a record be dated
        shop.produce(shop.topics.events, events[100:200])
        shop.drained()
        assert remembered(shop) == 200
        shift.write_text("-2h\n")
        shop.produce(shop.topics.events, events[200:250])
        shop.drained()
        assert remembered(shop) == 250 and shop.letters() == []
        dated = {"message.timestamp.type": "CreateTime"}
        shop.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, shop.topics.events, dated)])
        shop.produce(shop.topics.events, events[250:300])
        shop.drained()
        assert {letter.reason for letter in shop.letters()} == {"future"}
        assert len(shop.letters()) == 50
        assert remembered(shop) == 250
        shift.write_text("+0\n")
        dead_letter_topic.replay(kafka, topics_config, f"{shop.group}-letters", reason="future")
        shop.produce(shop.topics.events, events[300:])
        shop.drained()
        assert remembered(shop) == len(events)


def test_an_evaluator_whose_clock_is_wrong_refuses_nothing_and_closes_what_is_over(
    kafka: KafkaConfig, redis_db: str, topics_config: TopicsConfig, tmp_path: Path
) -> None:
    """Two hours ahead, then two behind: events of the present count, and those after a quiet time are not late."""
    shift = tmp_path / "shift"
    shift.write_text("+2h\n")
    shop = Shop(kafka, redis_db, topics_config, tmp_path)
    shop.env |= {f"LIVESHELF_EVALUATOR__{name}": "2" for name in ("WINDOW_S", "GRACE_S", "IDLE_S")}
    shop.env |= {
        "LD_PRELOAD": library("libfaketimeMT.so.1"),
        "FAKETIME_TIMESTAMP_FILE": str(shift),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with shop.open():
        shop.start("evaluator-1", "evaluator")
        until(lambda: shop.ends(shop.topics.metrics) > 2)
        for part, ahead in enumerate(("+2h\n", "+2h\n", "-2h\n")):
            shift.write_text(ahead)
            shop.produce(shop.topics.events, [(f"u{n}", shown_once(n)) for n in range(40 * part, 40 * (part + 1))])
            until(
                lambda: len(shop.examples()) == 40 * (part + 1),  # noqa: B023
                lambda: f"{len(shop.examples())}, {counted(shop)}\n{shop.log('evaluator-1').read_text()[-3_000:]}",
            )
        assert counted(shop)["closed.ignore"] == 120 and not left(shop)


class Flow:
    """Clicks sent one after the other until the end of the block, whatever happens to the brokers meanwhile."""

    def __init__(self, servers: str, topic: str, rate: float) -> None:
        self.sent = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(servers, topic, rate))

    def __enter__(self) -> "Flow":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self, servers: str, topic: str, rate: float) -> None:
        producer = Producer({"bootstrap.servers": servers, "delivery.timeout.ms": int(HANG_S * 1_000)})
        for number in itertools.count():
            user = f"u{number % 500}"
            event = {"type": "click", "event_id": f"e{number}", "ts": wall_ms(), "user_id": user, "item_id": "i1"}
            producer.produce(topic, json.dumps(event).encode(), user.encode(), on_delivery=self._delivered)
            producer.poll(0)
            if self._over.wait(1 / rate):
                break
        producer.flush()

    def _delivered(self, error: object, _: object) -> None:
        assert error is None, error
        self.sent += 1


def test_three_brokers_of_which_each_is_killed_once_are_a_pause(
    redis_db: str, topics_config: TopicsConfig, tmp_path: Path
) -> None:
    own = topics_config.model_copy(update={"replication_factor": 3})
    with brokers(tmp_path / "brokers") as three:
        servers = ",".join(broker.address for broker in three)
        shop = Shop(KafkaConfig(bootstrap_servers=servers), redis_db, own, tmp_path)
        with shop.open():
            shop.put_items(ITEMS)
            shop.start()
            shop.start("evaluator-1", "evaluator")
            shop.ready(len(ITEMS))
            shop.disconnect()  # kafka-python leaks sockets when it connects in vain
            with Flow(servers, shop.topics.events, rate=15) as flow:
                for broker in three:
                    more(flow)
                    broker.kill()
                    more(flow)
                    again(broker)
            shop.connect()
            shop.drained()
            assert remembered(shop) == flow.sent
            group, shop.group = shop.group, f"{shop.group}-evaluator"
            shop.drained()
            shop.group = group


def more(flow: Flow, count: int = 25) -> None:
    """Wait until so many more events are on their topic."""
    before = flow.sent
    until(lambda: flow.sent >= before + count, lambda: f"{flow.sent} sent")


def again(broker: Broker) -> None:
    """Start a broker that was killed, and give it time to catch up: of three, two must be in sync."""
    broker.spawn()
    broker.wait()
    time.sleep(3)
