"""A collector as a process, for the tests: the real command, on topics and a database of the test's own."""

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from kafka import KafkaConsumer, TopicPartition

from liveshelf.stack.process import Process
from streams.config import KafkaConfig
from tests.shop import HANG_S, until

WRITE, PAGE, READ = "write-key-of-tests", "page-key-of-tests", "read-key-of-tests"
KEYS = {
    "LIVESHELF_COLLECT__WRITE_KEY": WRITE,
    "LIVESHELF_COLLECT__PAGE_KEY": PAGE,
    "LIVESHELF_COLLECT__READ_KEY": READ,
}


@contextmanager
def collecting(env: Mapping[str, str], log: Path, *, ready: bool = True) -> Iterator[tuple[str, Process]]:
    """A collector, and its address; by default once it takes records."""
    process = Process([sys.executable, "-m", "liveshelf", "collect", "--port", "0"], log=log, env=env)
    try:

        def address() -> str | None:
            assert process.running, log.read_text()
            found = re.search(r"collector at (http://\S+)", log.read_text())
            return found[1] if found else None

        where = until(address, log.read_text)

        def takes() -> bool:
            assert process.running, log.read_text()
            return httpx.get(f"{where}/healthz", trust_env=False, timeout=HANG_S).is_success

        if ready:
            until(takes, log.read_text)
        yield where, process
    finally:
        process.stop(timeout_s=HANG_S)


def client(where: str, key: str | None = WRITE, **options: Any) -> httpx.Client:
    """A client of a collector that sends a key."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.Client(base_url=where, headers=headers, trust_env=False, timeout=HANG_S, **options)


def records(kafka: KafkaConfig, topic: str) -> list[tuple[bytes | None, bytes | None, int]]:
    """All records of a topic: key, value, and partition; those of a partition in order."""
    consumer = KafkaConsumer(**kafka.client(), consumer_timeout_ms=int(HANG_S * 1000))
    try:
        parts = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
        consumer.assign(parts)
        consumer.seek_to_beginning(*parts)
        ends = consumer.end_offsets(parts)
        found = []
        while any(consumer.position(part) < ends[part] for part in parts):
            for batch in consumer.poll(timeout_ms=200).values():
                found += [(one.key, one.value, one.partition) for one in batch]
        return found
    finally:
        consumer.close()
