"""What the system says of itself now: the workers' last snapshots, what waits in Kafka, what Redis holds.

Reads only. Used by ``liveshelf status`` and ``liveshelf health``.
"""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from kafka import KafkaConsumer
from redis import Redis

from streams.config import StreamsConfig
from streams.contents import contents
from streams.guard import Guard
from streams.meter import Snapshot, parse
from streams.topics import Topics


def snapshots(config: StreamsConfig, since_ms: int, *roles: str) -> list[Snapshot]:
    """Snapshots of some roles, published since a moment, oldest first; of the workers where no role is named."""
    keys = {role.encode() for role in roles or ("worker",)}
    with closing(contents(config, Topics(config.topics.prefix).metrics, since_ms=since_ms)) as messages:
        wanted = (message for message in messages if message.key in keys)
        found = [one for _, one in Guard("snapshots", parse).values(wanted) if one.to_ms >= since_ms]
    return sorted(found, key=lambda snapshot: snapshot.to_ms)


def follow(config: StreamsConfig, role: str = "worker") -> Iterator[Snapshot | None]:
    """A role's snapshots as they come, from now on; None about four times a second while none comes."""
    topic, guard = Topics(config.topics.prefix).metrics, Guard("snapshots", parse)
    consumer = KafkaConsumer(topic, **config.kafka.reader())
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
    """What some keys take in Redis: how many there are, and the mean bytes of those sampled."""

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
