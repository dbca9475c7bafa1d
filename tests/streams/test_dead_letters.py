"""Dead letters on a real broker: whole, with their story, and sent again once."""

from collections.abc import Callable, Iterator

import pytest
from kafka import KafkaProducer

from streams import dead_letters, topics
from streams.config import KafkaConfig, TopicsConfig
from streams.dead_letters import DeadLetter, headers, key, read, replay
from streams.decode import Refusal
from streams.record import Record

pytestmark = pytest.mark.integration

Post = Callable[[Record, str], None]


@pytest.fixture
def post(kafka: KafkaConfig, topics_config: TopicsConfig) -> Iterator[Post]:
    """Puts a letter for a record on the topic."""
    topics.create(kafka, topics_config)
    producer = KafkaProducer(**kafka.client(), acks="all", max_request_size=2_000_000)
    name = topics.Topics(topics_config.prefix).dead_letters

    def send(record: Record, reason: str) -> None:
        told = headers(record, Refusal(reason, "why: é" + "x" * 2_000))
        producer.send(name, key=key(record), value=record.value, headers=told).get(timeout=10)

    yield send
    producer.close()


def bad(config: TopicsConfig, offset: int, value: bytes | None, of: bytes | None = b"u\xff") -> Record:
    return Record(topics.Topics(config.prefix).events, 1, offset, 123, of, value)


def test_a_letter_comes_back_to_the_byte(kafka: KafkaConfig, topics_config: TopicsConfig, post: Post) -> None:
    limit = topics_config.max_message_bytes
    records = [
        bad(topics_config, 0, b"\x00\xff{"),
        bad(topics_config, 1, None),
        bad(topics_config, 2, b"", of=None),
        bad(topics_config, 3, b"x" * (limit - 200)),
    ]
    for record in records:
        post(record, "malformed")
    found = list(read(kafka, topics_config))
    assert [letter.source for letter in found] == records
    assert {letter.reason for letter in found} == {"malformed"}
    assert all(letter.detail.startswith("why: é") and len(letter.detail) <= dead_letters.MAX_DETAIL for letter in found)


def test_each_is_sent_again_once_unless_asked_again(
    kafka: KafkaConfig, topics_config: TopicsConfig, post: Post
) -> None:
    post(bad(topics_config, 0, b"1"), "future")
    post(bad(topics_config, 1, None), "empty")
    assert replay(kafka, topics_config, "g1" + topics_config.prefix, reason="future") == (1, 1)
    assert replay(kafka, topics_config, "g1" + topics_config.prefix) == (0, 0)
    post(bad(topics_config, 2, b"3"), "future")
    assert replay(kafka, topics_config, "g1" + topics_config.prefix) == (1, 0)
    assert replay(kafka, topics_config, "g1" + topics_config.prefix, again=True) == (3, 0)
    assert replay(kafka, topics_config, "g1" + topics_config.prefix) == (0, 0)


def test_what_is_no_letter_of_ours_is_read_and_passed_over(kafka: KafkaConfig, topics_config: TopicsConfig) -> None:
    topics.create(kafka, topics_config)
    producer = KafkaProducer(**kafka.client())
    producer.send(topics.Topics(topics_config.prefix).dead_letters, value=b"?", headers=[("offset", b"many")])
    producer.flush()
    producer.close()
    [letter] = read(kafka, topics_config)
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.source.offset, letter.source.value) == ("", -1, b"?")
    assert replay(kafka, topics_config, "g2" + topics_config.prefix) == (0, 1)


def test_no_letters_is_nothing_to_do(kafka: KafkaConfig, topics_config: TopicsConfig) -> None:
    topics.create(kafka, topics_config)
    assert list(read(kafka, topics_config)) == []
    assert replay(kafka, topics_config, "g3" + topics_config.prefix) == (0, 0)
