"""What a slot holds is told over a real broker; what is no slot is passed over."""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial

import pytest
from kafka import KafkaProducer
from kafka.errors import KafkaError

from models.store.slots import CHALLENGER, CHAMPION, Promotion, Slot
from streams.config import KafkaConfig, StreamsConfig, TopicsConfig
from streams.kafka import topics
from streams.kafka.consumer import Consumer
from streams.kafka.producer import Producer
from streams.kafka.topics import Topics
from streams.serving.announcement import announce, announce_now, follow
from streams.telemetry.meter import Meter

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

SLOT = Slot(Promotion("20261124-153000-head-1a2b3c4d", datetime(2026, 11, 24, tzinfo=UTC), "a test", 0.1))


def test_announcements_are_followed_from_the_first(kafka: KafkaConfig, topics_config: TopicsConfig) -> None:
    topics.create(kafka, topics_config)
    config, names = StreamsConfig(kafka=kafka, topics=topics_config), Topics(topics_config.prefix)
    meter = Meter("worker", "w", 0)
    announce_now(kafka, topics_config, CHALLENGER, SLOT)
    producer = KafkaProducer(**kafka.client())
    for key, value in ((b"champion", b"{"), (b"\xff", b"{}"), (b"other", None)):
        producer.send(names.models, key=key, value=value)
    producer.close()

    async def heard() -> list[tuple[str, Slot | None]]:
        found: list[tuple[str, Slot | None]] = []
        async with Producer(config) as send, aclosing(follow(partial(Consumer, config, names.models), meter)) as told:
            await announce(send, names, CHAMPION, Slot())
            async for one in told:
                found.append(one)
                if one[0] == CHAMPION:
                    return found
        return found

    told = asyncio.run(heard())
    assert meter.snapshot(1).counts == {"unreadable.slots": 2}
    assert told == [(CHALLENGER, SLOT), ("other", None), (CHAMPION, Slot())]


def test_a_broker_that_is_not_there_is_told_at_once() -> None:
    with pytest.raises(KafkaError):
        announce_now(KafkaConfig(bootstrap_servers="127.0.0.1:1"), TopicsConfig(), CHAMPION, Slot())
