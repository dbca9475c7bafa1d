"""What the producer says of records that a real broker does not take: it leaves out those, and nothing else."""

import asyncio
import logging
from collections.abc import Sequence

import pytest
from aiokafka import errors
from kafka import KafkaAdminClient

from streams.config import KafkaConfig, StreamsConfig, TopicsConfig
from streams.kafka import producer
from streams.kafka.connection import aiokafka_client
from streams.kafka.producer import InvalidRecordError, Producer, unsent
from streams.kafka.record import Header, Unsent
from streams.kafka.topic_reader import contents
from streams.telemetry.meter import Meter
from tests.logged import logged

Given = tuple[bytes | None, bytes | None, list[Header]]


def make(kafka: KafkaConfig, topic: str, **configs: str) -> None:
    """A topic of one partition."""
    admin = KafkaAdminClient(**kafka.client())
    try:
        admin.create_topics(
            {topic: {"num_partitions": 1, "replication_factor": 1, "configs": configs}}, wait_for_metadata=True
        )
    finally:
        admin.close()


def outcomes(
    kafka: KafkaConfig, topics: TopicsConfig, topic: str, records: Sequence[Given], meter: Meter | None = None
) -> list[Unsent | BaseException | None]:
    """What becomes of records that are sent at once."""

    async def sent() -> list[Unsent | BaseException | None]:
        async with Producer(StreamsConfig(kafka=kafka, topics=topics), meter) as send:
            return await asyncio.gather(*(send(topic, *record) for record in records), return_exceptions=True)

    return asyncio.run(sent())


@pytest.mark.integration
def test_records_beside_one_that_is_too_large_are_taken(
    kafka: KafkaConfig, topics_config: TopicsConfig, caplog: pytest.LogCaptureFixture
) -> None:
    topic = f"{topics_config.prefix}small"
    make(kafka, topic, **{"max.message.bytes": "20000"})
    good: list[Given] = [(b"k", f"{number:1000}".encode(), []) for number in range(60)]
    large: list[Given] = [
        (b"k", b"x" * 30_000, []),
        (b"x" * 30_000, b"v", []),
        (b"k", b"v", [("h", b"x" * 30_000)]),
        (b"k", b"x" * 2_000_000, []),
    ]
    meter = Meter("worker", "w", 0)
    with caplog.at_level(logging.ERROR, "streams.kafka.producer"):
        found = outcomes(kafka, topics_config, topic, [*good[:30], *large, *good[30:]], meter)
    assert found[:30] == found[34:] == [None] * 30
    assert [one.kind for one in found[30:34] if isinstance(one, Unsent)] == ["too_large"] * 4
    kept = [message.value for message in contents(StreamsConfig(kafka=kafka), topic)]
    assert sorted(kept) == sorted(value for _, value, _ in good), "each once"
    assert meter.snapshot(1).counts == {"unsent.too_large": 4}
    assert len(logged(caplog, "streams.kafka.producer")) == 1, "told once"


@pytest.mark.integration
def test_records_that_the_broker_finds_invalid_are_left_out_alone(
    kafka: KafkaConfig, topics_config: TopicsConfig
) -> None:
    topic = f"{topics_config.prefix}compacted"
    make(kafka, topic, **{"cleanup.policy": "compact"})
    records: list[Given] = [
        (b"a", b"1", []),
        (None, b"no key", []),
        (b"b", b"2", []),
        (None, None, []),
        (b"c", b"3", [("\ud800", b"no header's name")]),
        (b"d", b"4", []),
    ]
    found = outcomes(kafka, topics_config, topic, records)
    assert [one.kind if isinstance(one, Unsent) else one for one in found] == [
        None,
        "unacceptable",
        None,
        "unacceptable",
        "unacceptable",
        None,
    ]
    assert sorted(message.value for message in contents(StreamsConfig(kafka=kafka), topic)) == [b"1", b"2", b"4"]


@pytest.mark.integration
@pytest.mark.timeout(900)
def test_a_broker_that_takes_nothing_is_no_fault_of_the_record(
    kafka: KafkaConfig, topics_config: TopicsConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = aiokafka_client
    monkeypatch.setattr(producer, "aiokafka_client", lambda kafka: patient(kafka) | {"request_timeout_ms": 5_000})
    [found] = outcomes(kafka, topics_config, f"{topics_config.prefix}missing", [(b"k", b"v", [])])
    assert isinstance(found, errors.KafkaError)
    assert unsent(found) is None


def test_few_errors_are_a_records_own() -> None:
    every = {error for error in errors.kafka_errors.values() if unsent(error()) is not None}
    assert every == {
        errors.MessageSizeTooLargeError,
        errors.RecordListTooLargeError,
        InvalidRecordError,
        errors.InvalidTimestampError,
        errors.CorruptRecordException,
        errors.UnsupportedForMessageFormatError,
    }
    for error in (errors.KafkaTimeoutError, errors.KafkaConnectionError, errors.ProducerClosed, OSError, RuntimeError):
        assert unsent(error()) is None
