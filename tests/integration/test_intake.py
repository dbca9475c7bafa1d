"""Import and replay onto a real broker: what is counted is what is there."""

import io
import json
import lzma
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition
from rich.console import Console

from liveshelf.ingest.importer import import_items, replay
from liveshelf.ingest.time_profile import TimeProfile
from liveshelf.stack.kafka import LocalKafka
from streams.config import EventsConfig, KafkaConfig, TopicsConfig
from streams.events.adapters.mapping import load
from streams.events.decode import decode_item
from streams.events.schema import Event, Item, event_decoder
from tests.shop import until

pytestmark = pytest.mark.integration

QUIET = Console(quiet=True)
DAY_ZERO = 1_577_836_800_000
"""2020 began."""


def records(kafka: KafkaConfig, topic: str) -> list[Any]:
    consumer = KafkaConsumer(**kafka.client(), enable_auto_commit=False)
    try:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        if not partitions:
            return []
        consumer.assign(partitions)
        consumer.seek_to_beginning()
        ends = consumer.end_offsets(partitions)
        found: list[Any] = []
        while any(consumer.position(partition) < ends[partition] for partition in partitions):
            for batch in consumer.poll(timeout_ms=500).values():
                found.extend(batch)
        return found
    finally:
        consumer.close()


def sent_events(kafka: KafkaConfig, topics: TopicsConfig) -> list[Event]:
    return [event_decoder.decode(record.value) for record in records(kafka, f"{topics.prefix}shop.events")]


def clicks(folder: Path, times: Sequence[int]) -> Path:
    path = folder / "clicks.jsonl"
    base = {"type": "click", "item_id": "i"}
    lines = (
        json.dumps(base | {"event_id": f"e{n}", "user_id": f"u{n % 3}", "ts": DAY_ZERO + ts}) + "\n"
        for n, ts in enumerate(times)
    )
    path.write_text("".join(lines))
    return path


def test_items_are_keyed_by_id_and_the_refused_are_written_down(
    kafka: KafkaConfig, topics_config: TopicsConfig, tmp_path: Path
) -> None:
    path, refused = tmp_path / "items.csv", tmp_path / "refused.jsonl"
    path.write_bytes(b"sku,name,cost\n1,Lamp,5\n1,Lamp,5\n2,,5\n3,caf\xe9,1\n4,Desk,-1\n5,Bed,9\n")
    summary = import_items(
        path, kafka=kafka, topics=topics_config, events=EventsConfig(), refused_path=refused, console=QUIET,
        mapping=load(fields=["item_id=sku", "title=name", "price=cost"], encoding="utf-8"),
    )  # fmt: skip
    assert (summary.read, summary.sent, summary.duplicates) == (6, 3, 1)
    assert summary.refused == {"invalid": 1, "malformed": 1}
    assert summary.notes.counts["price left out: Expected `float` >= 0.0"] == 1
    assert (summary.exit_code, summary.failed, summary.error) == (0, {}, "")
    told = [json.loads(line) for line in refused.read_text("utf-8").splitlines()]
    assert [(line["line"], line["reason"]) for line in told] == [(4, "invalid"), (5, "malformed")]
    assert told[0]["source"] == "2,,5"
    assert told[1]["encoding"] == "base64"
    found = records(kafka, f"{topics_config.prefix}shop.items")
    items = [decode_item(record.key, record.value, EventsConfig()) for record in found]
    assert {item.item_id for item in items if isinstance(item, Item)} == {"1", "4", "5"}


def test_replay_keeps_a_shoppers_order_and_shifts_history_to_now(
    kafka: KafkaConfig, topics_config: TopicsConfig, tmp_path: Path
) -> None:
    path = clicks(tmp_path, [1_000_000 + 1_000 * n for n in range(60)])
    before = int(time.time() * 1000)
    summary = replay(path, kafka=kafka, topics=topics_config, events=EventsConfig(), now=True, console=QUIET)
    assert (summary.read, summary.sent, summary.exit_code) == (60, 60, 0)
    found = records(kafka, f"{topics_config.prefix}shop.events")
    times = sorted(event_decoder.decode(record.value).time_ms for record in found)
    assert before <= times[-1] <= int(time.time() * 1000)
    assert times[-1] - times[0] == 59_000
    for name in ("u0", "u1", "u2"):
        mine = [event_decoder.decode(record.value) for record in found if record.key == name.encode()]
        assert [event.time_ms for event in mine] == sorted(event.time_ms for event in mine)
        assert {event.user_id for event in mine} == {name}


def test_rate_speed_and_limit(kafka: KafkaConfig, topics_config: TopicsConfig, tmp_path: Path) -> None:
    path = clicks(tmp_path, [100 * n for n in range(40)])
    options: dict[str, Any] = {"kafka": kafka, "topics": topics_config, "events": EventsConfig(), "console": QUIET}
    quick = replay(path, **options)
    by_rate = replay(path, **options, rate=40, limit=20)
    by_time = replay(path, **options, speed=4)
    assert (quick.sent, by_rate.sent, by_time.sent) == (40, 20, 40)
    assert by_rate.seconds >= 19 / 40
    assert by_time.seconds >= 39 * 0.1 / 4
    with pytest.raises(ValueError, match="not both"):
        replay(path, **options, rate=1, speed=1)


def test_at_a_speed_no_event_is_dated_later_than_it_is_sent(
    kafka: KafkaConfig, topics_config: TopicsConfig, tmp_path: Path
) -> None:
    path = clicks(tmp_path, [10_000 * n for n in range(31)])
    replay(path, kafka=kafka, topics=topics_config, events=EventsConfig(), speed=100, now=True, console=QUIET)
    found = records(kafka, f"{topics_config.prefix}shop.events")
    lags = sorted((event_decoder.decode(record.value).time_ms, record.timestamp) for record in found)
    assert len(lags) == 31 and lags[-1][0] - lags[0][0] == 300_000
    assert all(sent - ts >= 0 for ts, sent in lags)
    assert lags[-1][1] - lags[-1][0] < 1_000, "the newest is dated when it is sent"
    assert lags[0][1] - lags[0][0] > 290_000, "what lay five minutes apart still does"


def test_a_survey_knows_how_long_each_partition_is_quiet(
    kafka: KafkaConfig, topics_config: TopicsConfig, tmp_path: Path
) -> None:
    path = tmp_path / "clicks.jsonl"
    events = [
        {"type": "click", "item_id": "i", "event_id": f"e{n}", "user_id": f"u{n}", "ts": DAY_ZERO + n}
        for n in range(200)
    ]
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    replay(path, kafka=kafka, topics=topics_config, events=EventsConfig(), console=QUIET)
    found = records(kafka, f"{topics_config.prefix}shop.events")
    survey, newest, longest = TimeProfile(topics_config.partitions), dict[int, int](), 0
    for ts, record in sorted((event_decoder.decode(record.value).time_ms, record) for record in found):
        survey.update(record.key, ts)
        longest = max(longest, ts - newest.get(record.partition, DAY_ZERO))
        newest[record.partition] = ts
    assert survey.quiet_ms == longest > 1


def test_what_an_evaluator_would_count_as_late_is_told(
    kafka: KafkaConfig, topics_config: TopicsConfig, tmp_path: Path
) -> None:
    path = clicks(tmp_path, [1_000_000, 1_000_001])
    told = []
    for now in (False, True):
        console = Console(file=io.StringIO(), width=500)
        replay(path, kafka=kafka, topics=topics_config, events=EventsConfig(), now=now, console=console)
        assert isinstance(console.file, io.StringIO)
        told.append(console.file.getvalue())
    assert "The events begin at 2020-01-01T00:16:40+00:00." in told[0]
    assert "begin at" not in told[1]


def test_loop_goes_on_with_new_event_ids(kafka: KafkaConfig, topics_config: TopicsConfig, tmp_path: Path) -> None:
    path = clicks(tmp_path, [5, 6, 7])
    summary = replay(path, kafka=kafka, topics=topics_config, events=EventsConfig(), loop=True, limit=8, console=QUIET)
    assert summary.sent == 8
    assert len({event.event_id for event in sent_events(kafka, topics_config)}) == 8


def test_nothing_to_send_is_an_error_and_an_empty_loop_ends(
    kafka: KafkaConfig, topics_config: TopicsConfig, tmp_path: Path
) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text("")
    summary = replay(path, kafka=kafka, topics=topics_config, events=EventsConfig(), loop=True, now=True, console=QUIET)
    assert (summary.read, summary.sent, summary.exit_code) == (0, 0, 1)


def test_interrupted_it_still_tells_what_was_sent(
    kafka: KafkaConfig, topics_config: TopicsConfig, tmp_path: Path
) -> None:
    path = clicks(tmp_path, range(30))

    def interrupt() -> None:
        until(lambda: sent_events(kafka, topics_config))
        os.kill(os.getpid(), signal.SIGINT)

    visitor = threading.Thread(target=interrupt)
    visitor.start()
    summary = replay(path, kafka=kafka, topics=topics_config, events=EventsConfig(), loop=True, rate=20, console=QUIET)
    visitor.join()
    assert summary.interrupted and summary.exit_code == 130
    assert summary.sent == len(sent_events(kafka, topics_config)) > 0


ELSEWHERE = """
import json, sys
from pathlib import Path
from rich.console import Console
from liveshelf.ingest import batch_producer
from liveshelf.ingest.importer import replay
from streams.config import EventsConfig, KafkaConfig, TopicsConfig

batch_producer.DELIVERY_S = 3.0
path, servers, prefix = sys.argv[1:]
summary = replay(
    Path(path), kafka=KafkaConfig(bootstrap_servers=servers), topics=TopicsConfig(prefix=prefix, partitions=2),
    events=EventsConfig(), loop=True, rate=200, console=Console(quiet=True),
)
print(json.dumps([summary.sent, summary.failed.total(), summary.error, summary.exit_code]))
"""


def replay_elsewhere(path: Path, servers: str, prefix: str) -> subprocess.Popen[str]:
    """In a process of its own: kafka-python leaves the sockets of failed connections open, and warnings are errors."""
    command = [sys.executable, "-c", ELSEWHERE, str(path), servers, prefix]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def test_a_broker_that_dies_is_told_and_ends_the_run(topics_config: TopicsConfig, tmp_path: Path) -> None:
    path = clicks(tmp_path, range(2_000))
    with LocalKafka(tmp_path / "kafka") as server:
        process = replay_elsewhere(path, server.address, topics_config.prefix)
        until(lambda: sent_events(KafkaConfig(bootstrap_servers=server.address), topics_config))
        server.stop()
        told, _ = process.communicate(timeout=60)
    sent, failed, error, exit_code = json.loads(told)
    assert sent > 0
    assert failed > 0
    assert server.address in error
    assert exit_code == 1


def test_an_unreachable_broker_is_told(topics_config: TopicsConfig, tmp_path: Path) -> None:
    told, _ = replay_elsewhere(clicks(tmp_path, [1]), "127.0.0.1:1", topics_config.prefix).communicate(timeout=60)
    sent, _, error, exit_code = json.loads(told)
    assert (sent, exit_code) == (0, 1)
    assert "127.0.0.1:1" in error


def test_a_damaged_file_is_told_after_what_could_be_read(
    kafka: KafkaConfig, topics_config: TopicsConfig, tmp_path: Path
) -> None:
    path = tmp_path / "clicks.jsonl.xz"
    path.write_bytes(lzma.compress(clicks(tmp_path, range(100)).read_bytes())[:-40])
    summary = replay(path, kafka=kafka, topics=topics_config, events=EventsConfig(), console=QUIET)
    assert summary.exit_code == 1
    assert "clicks.jsonl.xz" in summary.error
    assert summary.sent == len(sent_events(kafka, topics_config))


@pytest.mark.data
def test_the_whole_icecat_catalogue(kafka: KafkaConfig, topics_config: TopicsConfig, data_folder: Path) -> None:
    path = data_folder / "icecat_electronics" / "products.jsonl.xz"
    summary = import_items(
        path, kafka=kafka, topics=topics_config, events=EventsConfig(), mapping=load("icecat"), console=QUIET
    )
    assert (summary.read, summary.sent, summary.refused.total()) == (19_406, 19_406, 0)
