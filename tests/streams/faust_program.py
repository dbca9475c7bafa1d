"""A program that reads events and items as the worker and the evaluator do, and tells on its output what it takes.

Faust runs once in a process, so tests start this. It reads settings from its first argument, as JSON.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from streams.config import RoleConfig, StreamsConfig
from streams.kafka import consumer
from streams.kafka.app import BatchTaker, caught_up, lag, make_app, run
from streams.kafka.record import Record, Sent
from streams.kafka.registry import SchemaDecoder
from streams.kafka.topics import Topics
from streams.kafka.unreadable import unreadable_partitions


def tell(**what: Any) -> None:
    """One line."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def take(records: Sequence[Record], hold: Path) -> Sent:
    """Tell each record; one that says so holds its batch for as long as a file is there."""
    for record in records:
        if record.value == b"hold":
            tell(holding=record.offset, partition=record.partition)
            while hold.exists():
                await asyncio.sleep(0.05)
    for record in records:
        value = (record.value or b"").decode("utf-8", "replace")
        tell(topic=record.topic, partition=record.partition, offset=record.offset, value=value[:40], size=len(value))
    return []


def main() -> int:
    """Read until SIGTERM."""
    told = json.loads(sys.argv[1])
    consumer.METADATA_MS = told["metadata_ms"]
    config = StreamsConfig(**told["streams"])
    topics, hold = Topics(config.topics.prefix), Path(told["hold"])
    app = make_app(config, RoleConfig(group=told["group"], stall_s=told["stall_s"]))
    taking = BatchTaker(0.001, lambda: None, SchemaDecoder(config.kafka))

    async def on_events(stream: Any) -> None:
        await taking.run(stream, 64, partial(take, hold=hold))

    async def on_items(stream: Any) -> None:
        await taking.run(stream, 64, partial(take, hold=hold))

    async def state() -> None:
        while True:
            await asyncio.sleep(0.2)
            mine = app.consumer.assignment()
            done = sorted(one.partition for one in mine if one.topic == topics.events and caught_up(app, one))
            tell(
                lag=lag(app),
                partitions=len(mine),
                caught_up=done,
                unreadable=[one.labels for one in unreadable_partitions.series()],
            )

    for agent, topic in ((on_events, topics.events), (on_items, topics.items)):
        app.agent(app.topic(topic, key_type=bytes, value_type=bytes), name=agent.__name__)(agent)
    app.task(state)
    return run(app)


if __name__ == "__main__":
    sys.exit(main())
