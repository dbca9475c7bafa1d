"""A shop for the tests: topics of its own on a real broker, a Redis database, and workers as processes to be killed."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import CoordinatorLoadInProgressError, NotCoordinatorError

from evaluator.attribution.example import LabelledExample, decoder
from liveshelf.stack.process import Process
from streams import reporting
from streams.config import KafkaConfig, RedisConfig, StreamsConfig, TopicsConfig
from streams.events.shelf import Shelf, ShelfRecord, record_decoder, shelf_decoder
from streams.features.items import FIRST, HALF_LIVES, forward
from streams.features.own import ROW
from streams.kafka import dead_letters, topics
from streams.redis.connection import connect_now
from streams.telemetry.meter import Snapshot, total
from tests.forked import Forked

Sent = tuple[str, int, int]
"""Topic, partition and offset of a record."""

HANG_S = 300.0
"""After so long something hangs. Tests wait for what must happen, however busy the machine is: what is promised in
seconds is measured by a benchmark."""


def until(holds: Callable[[], Any], why: Callable[[], str] = lambda: "", every_s: float = 0.05) -> Any:
    """Wait until something holds and return it; fail with ``why`` after `HANG_S`."""
    deadline = time.monotonic() + HANG_S
    while not (found := holds()):
        assert time.monotonic() < deadline, f"not within {HANG_S} s: {why()}"
        time.sleep(every_s)
    return found


class Shop:
    """One prefix on the broker, one Redis database, and any number of workers."""

    def __init__(self, kafka: KafkaConfig, redis_url: str, topics_config: TopicsConfig, folder: Path) -> None:
        self.config = StreamsConfig(kafka=kafka, redis=RedisConfig(url=redis_url), topics=topics_config)
        self.topics = topics.Topics(topics_config.prefix)
        self.group = f"{topics_config.prefix}group"
        self.env = {
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "REDIS_URL": redis_url,
            "LIVESHELF_TOPICS__PREFIX": topics_config.prefix,
            "LIVESHELF_WORKER__GROUP": self.group,
            "LIVESHELF_EVALUATOR__GROUP": f"{self.group}-evaluator",
            "LIVESHELF_LEARNING__GROUP": f"{self.group}-trainer",
            "LIVESHELF_MODEL__THREADS": "1",
            "LIVESHELF_MODEL__STORE": str(folder / "models"),
            "LIVESHELF_CATALOGUE__FOLDER": str(folder / "catalogue"),
        }
        self.folder = folder
        self.workers: dict[str, Process | Forked] = {}

    @contextmanager
    def open(self) -> Iterator["Shop"]:
        """Topics made, an empty database, connections; at the end all is closed and every worker ended. What stands in
        the database then is the next one's to remove: a server may just be changing places with another."""
        topics.create(self.config.kafka, self.config.topics)
        self.redis = connect_now(self.config.redis)
        self.connect()
        try:
            self.redis.flushdb()
            yield self
            for name in list(self.workers):
                self.stop(name)
        finally:
            for worker in self.workers.values():
                worker.stop(timeout_s=1)
            self.disconnect()
            self.redis.close()

    def connect(self) -> None:
        """Open the test's own connections to the broker."""
        self.producer = KafkaProducer(**self.config.kafka.client(), acks="all")
        self.reader = KafkaConsumer(**self.config.kafka.client(), group_id=None, enable_auto_commit=False)
        self.admin = KafkaAdminClient(**self.config.kafka.client())

    def disconnect(self) -> None:
        """Close them; kafka-python leaks sockets when it connects in vain, so no broker may stop before this."""
        self.admin.close()
        self.reader.close()
        self.producer.close()

    def start(self, name: str = "worker-1", role: str = "worker") -> None:
        """Start a worker, or another role, with a name in its group, as the supervisor does."""
        group = {"trainer": "LEARNING"}.get(role, role.upper())
        env = self.env | {f"LIVESHELF_{group}__INSTANCE": name}
        if "LD_PRELOAD" in env:  # for the loader of programs
            self.workers[name] = Process([sys.executable, "-m", "liveshelf", role], log=self.log(name), env=env)
        else:
            self.workers[name] = Forked(role, log=self.log(name), env=env)

    def log(self, name: str = "worker-1") -> Path:
        """Where a worker's words go."""
        return self.folder / f"{self.topics.prefix}{name}.log"

    def kill(self, name: str = "worker-1") -> None:
        """Kill a worker as the kernel does when memory is short."""
        worker = self.workers.pop(name)
        assert worker.running, self.log(name).read_text()
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()

    def stop(self, name: str = "worker-1") -> None:
        """End a worker politely; it must end well."""
        worker = self.workers.pop(name)
        assert worker.stop(timeout_s=HANG_S) == 0, self.log(name).read_text()

    def seen(self, wanted: Callable[[Snapshot], bool]) -> list[Snapshot]:
        """Wait for a snapshot of a worker that satisfies; returns all that came from now until then."""
        found: list[Snapshot] = []
        deadline = time.monotonic() + HANG_S
        for snapshot in reporting.follow(self.config):
            for name, worker in self.workers.items():
                assert worker.running, self.log(name).read_text()
            if snapshot is not None:
                found.append(snapshot)
                if wanted(snapshot):
                    break
            assert time.monotonic() < deadline, "\n".join(self.log(name).read_text()[-3000:] for name in self.workers)
        return found

    def ready(self, items: int = 0) -> list[Snapshot]:
        """Wait until a worker holds so many items."""
        return self.seen(lambda snapshot: snapshot.gauges["items"] >= items)

    def put_items(self, items: Mapping[str, bytes | None]) -> None:
        """Upsert items, or delete those without a value."""
        self.produce(self.topics.items, items.items())

    def produce(self, topic: str, records: Iterable[tuple[str, bytes | None]]) -> list[Sent]:
        """Send records and wait until the broker has them; returns where each one stands."""
        futures = [self.producer.send(topic, key=key.encode(), value=value) for key, value in records]
        self.producer.flush()
        return [(at.topic, at.partition, at.offset) for at in (future.get(timeout=HANG_S) for future in futures)]

    def ends(self, topic: str) -> int:
        """How many records a topic has."""
        partitions = [TopicPartition(topic, number) for number in self.reader.partitions_for_topic(topic) or ()]
        return sum(self.reader.end_offsets(partitions).values())

    def committed(self) -> int:
        """How many events the group has committed."""
        while True:
            try:
                offsets = self.admin.list_group_offsets(self.group)
                break
            except (NotCoordinatorError, CoordinatorLoadInProgressError):  # a broker that has just started
                time.sleep(0.2)
        offsets = offsets.get(self.group, offsets)
        return sum(max(0, at.offset) for partition, at in offsets.items() if partition.topic == self.topics.events)

    def drained(self) -> None:
        """Wait until the group has committed every event, to the end exactly."""
        count = self.ends(self.topics.events)
        logs = [self.log(name) for name in self.workers]
        until(
            lambda: self.committed() == count,
            lambda: f"{self.committed()} of {count} committed\n" + "\n".join(log.read_text()[-3000:] for log in logs),
            every_s=0.25,
        )

    def shelf(self, key: str) -> Shelf | None:
        """What stands under a key."""
        value = self.redis.get(key)
        return None if value is None else shelf_decoder.decode(value)

    def published(self) -> list[ShelfRecord]:
        """All shelves that are on the topic, in the order in which they were made."""
        kafka = self.config.kafka.client()
        consumer = KafkaConsumer(**kafka, group_id=None, enable_auto_commit=False, auto_offset_reset="earliest")
        try:
            topic = self.topics.shelves
            partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
            consumer.assign(partitions)
            ends = consumer.end_offsets(partitions)
            found: list[ShelfRecord] = []
            while any(consumer.position(partition) < ends[partition] for partition in partitions):
                for messages in consumer.poll(timeout_ms=500).values():
                    found += [record_decoder.decode(message.value) for message in messages]
        finally:
            consumer.close()
        return sorted(found, key=lambda record: record.shelf.made_at)

    def examples(self) -> list[LabelledExample]:
        """All examples that are on the topic, once each."""
        partitions = [TopicPartition(self.topics.examples, number) for number in range(self.config.topics.partitions)]
        self.reader.assign(partitions)
        self.reader.seek_to_beginning()
        ends, found = self.reader.end_offsets(partitions), dict[str, LabelledExample]()
        while any(self.reader.position(partition) < ends[partition] for partition in partitions):
            for records in self.reader.poll(timeout_ms=500).values():
                for record in records:
                    made = decoder.decode(record.value)
                    assert found.setdefault(made.id, made) == made, "what comes again is the same to the byte"
        return list(found.values())

    def letters(self) -> list[dead_letters.DeadLetter]:
        """All dead letters."""
        return list(dead_letters.read(self.config.kafka, self.config.topics))

    def counted(self, name: str) -> int:
        """A count over all snapshots of all workers, dead ones too."""
        return total(reporting.snapshots(self.config, 0), name)

    def state(self) -> dict[bytes, Any]:
        """All that is remembered and counted: Liveshelf's own state without the index of what shelves show, when
        feeds are made again, and what depends on the time of day."""

        def held(key: bytes, kind: bytes) -> Any:
            if kind == b"stats":
                return item_row(self.redis.get(key) or b"")
            if kind == b"own":
                return {name: own_row(row) for name, row in self.redis.hgetall(key).items()}
            if self.redis.type(key) == b"hash":
                return {name: float(value) for name, value in self.redis.hgetall(key).items()}
            return dict(self.redis.zrange(key, 0, -1, withscores=True))

        kinds = {key: key.split(b":")[2] for key in self.redis.scan_iter("ls:*")}
        return {
            key: held(key, kind)
            for key, kind in kinds.items()
            if kind == b"stats"
            or (kind not in (b"changed", b"renewals") and self.redis.type(key) in (b"hash", b"zset"))
        }


def item_row(value: bytes) -> list[float]:
    """An item's statistics as held, short half-lives as of the item's first touch, without what depends on the order of
    sums."""
    row = np.frombuffer(value, "<f8")
    short = [row[n] * float(forward(row[8 + n], HALF_LIVES[n], row[FIRST])) for n in range(2)]
    return [near(float(one)) for one in (*short, *row[2:8], *row[10:])]


def own_row(value: bytes) -> list[float]:
    """A shopper's item as held."""
    [row] = np.frombuffer(value, ROW).tolist()
    return [near(float(one)) for one in row]


def near(value: float) -> float:
    """A sum of floats without what depends on the order of its parts."""
    return float(f"{value:.8g}")


def databases(redis_url: str, numbers: Sequence[int]) -> list[str]:
    """URLs of other databases of the same server."""
    base = redis_url.partition("?")[0].rstrip("/")
    if base.count("/") > 2:
        base = base.rpartition("/")[0]
    return [f"{base}/{number}" for number in numbers]
