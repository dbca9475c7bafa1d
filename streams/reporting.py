"""Reports of roles: published to ``liveshelf.metrics`` and to Prometheus, and read back from the topic.

A role reports its start, before anything can fail, and a snapshot of its meter at intervals. Knows topics and the sizes
of Redis keys; nothing of how a snapshot is used.
"""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from msgspec import structs
from redis import Redis

from streams.clock import wall_ms
from streams.config import StreamsConfig
from streams.kafka.admin import newest_consumer
from streams.kafka.errors import KAFKA_ERRORS
from streams.kafka.guard import Guard
from streams.kafka.producer import send_now
from streams.kafka.record import Send
from streams.kafka.topic_reader import contents
from streams.kafka.topics import OVERHEAD_BYTES, Topics
from streams.kafka.unreadable import unreadable_partitions
from streams.runtime.lifecycle import VARIABLE as LAST_WORDS
from streams.runtime.lifecycle import read_last_words
from streams.telemetry.exposition import Exposition
from streams.telemetry.meter import Meter, Snapshot, encoder, fitted, parse
from streams.telemetry.metrics_server import MetricsServer

log = logging.getLogger(__name__)

STARTED = "started"
"""The role of a snapshot that reports a process's start: its labels are role, instance, host and last_words."""


def announce(config: StreamsConfig, role: str, instance: str | None) -> None:
    """Publish to ``liveshelf.metrics`` that a process of a role starts. Takes at most
    :data:`~streams.kafka.producer.SEND_NOW_S` seconds."""
    now, host = wall_ms(), os.uname().nodename
    before = os.environ.get(LAST_WORDS)
    labels = {"role": role, "host": host, "last_words": read_last_words(Path(before)) if before else ""}
    if instance:
        labels["instance"] = instance
    started = Snapshot(
        role=STARTED,
        id=f"{host}-{os.getpid()}",
        from_ms=now,
        to_ms=now,
        counts={},
        gauges={},
        sketches={},
        labels=labels,
    )
    topic = Topics(config.topics.prefix).metrics
    try:
        send_now(config, lambda send: send(topic, STARTED.encode(), encoder.encode(started)))
    except (*KAFKA_ERRORS, OSError) as error:
        log.warning("the start could not be reported: %s", error)


class Reporter:
    """Publishes a meter's snapshots. As a context manager, also serves them to Prometheus.

    Parameters
    ----------
    meter
        The role's meter.
    config
        Gives the topic, and the address to serve at.

    Raises
    ------
    MetricsError
        On entering, when the port is not available.
    """

    def __init__(self, meter: Meter, config: StreamsConfig) -> None:
        self._meter, self._topic = meter, Topics(config.topics.prefix).metrics
        self._config, self._max_bytes = config.metrics, config.topics.max_message_bytes - OVERHEAD_BYTES
        self._exposition = None if config.metrics.port is None else Exposition()
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        if self._exposition is not None:
            server = self._closing.enter_context(MetricsServer(self._exposition, self._config))
            log.warning("%s %s shows its metrics at %s", self._meter.role, self._meter.id, server.address)
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    async def report(self, send: Send) -> None:
        """Take a snapshot and publish it; returns once the broker has it."""
        snapshot = self._meter.snapshot(wall_ms())
        snapshot = structs.replace(snapshot, series=[*snapshot.series, *unreadable_partitions.series()])
        if self._exposition is not None:
            self._exposition.update(snapshot)
        await send(self._topic, self._meter.role.encode(), fitted(snapshot, self._max_bytes))


def snapshots(config: StreamsConfig, since_ms: int, *roles: str) -> list[Snapshot]:
    """Snapshots of some roles published since ``since_ms``, oldest first; of the workers if no role is named."""
    keys = {role.encode() for role in roles or ("worker",)}
    with closing(contents(config, Topics(config.topics.prefix).metrics, since_ms=since_ms)) as messages:
        wanted = (message for message in messages if message.key in keys)
        found = [one for _, one in Guard("snapshots", parse).values(wanted) if one.to_ms >= since_ms]
    return sorted(found, key=lambda snapshot: snapshot.to_ms)


def follow(config: StreamsConfig, role: str = "worker") -> Iterator[Snapshot | None]:
    """A role's snapshots as they arrive, from now on; None about four times a second while none arrives."""
    topic, guard = Topics(config.topics.prefix).metrics, Guard("snapshots", parse)
    consumer = newest_consumer(config.kafka, topic)
    try:
        while True:
            fetched = consumer.poll(timeout_ms=250)
            for messages in fetched.values():
                yield from (snapshot for _, snapshot in guard.values(messages) if snapshot.role == role)
            if not fetched:
                yield None
    finally:
        consumer.close()


@dataclass(frozen=True, slots=True)
class Usage:
    """The size of some keys in Redis: how many there are, and the mean bytes of a sample."""

    keys: int
    mean_bytes: float


def usage(redis: "Redis", pattern: str, sample: int = 200, limit_s: float = 5.0) -> Usage:
    """Count keys of a pattern and measure some of them, in bounded time."""
    count, sizes = 0, list[int]()
    deadline = time.monotonic() + limit_s
    for key in redis.scan_iter(match=pattern, count=1000):
        count += 1
        if len(sizes) < sample:
            sizes.append(redis.memory_usage(key) or 0)
        if time.monotonic() > deadline:
            break
    return Usage(count, sum(sizes) / len(sizes) if sizes else 0.0)
