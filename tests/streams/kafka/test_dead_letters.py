"""Dead letters on a real broker: whole or cut, with their story, and sent again once."""

import asyncio
import hashlib
import random
import time
from collections.abc import Callable, Iterator

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from streams.config import KafkaConfig, StreamsConfig, TopicsConfig
from streams.events.decode import Refusal
from streams.kafka import dead_letter_topic, dead_letters, topics
from streams.kafka.dead_letter_topic import newest, replay
from streams.kafka.dead_letters import FIRST_BYTES, KEY_BYTES, DeadLetter, DeadLetterWriter, Uncut, headers, key, read
from streams.kafka.producer import Producer
from streams.kafka.record import Record
from streams.kafka.topics import Topics

pytestmark = pytest.mark.integration

Post = Callable[[Record, str], None]


@pytest.fixture
def producer(kafka: KafkaConfig, topics_config: TopicsConfig) -> Iterator[KafkaProducer]:
    """A producer of large records that are small when compressed, and all topics."""
    topics.create(kafka, topics_config)
    producer = KafkaProducer(**kafka.client(), acks="all", compression_type="gzip", max_request_size=20_000_000)
    yield producer
    producer.close()


@pytest.fixture
def post(producer: KafkaProducer, topics_config: TopicsConfig) -> Post:
    """Puts a letter for a record on the topic."""
    name = Topics(topics_config.prefix).dead_letters

    def send(record: Record, reason: str) -> None:
        told = headers(record, Refusal(reason, "why: é" + "x" * 2_000))
        producer.send(name, key=key(record), value=record.value, headers=told).get(timeout=30)

    return send


def bad(config: TopicsConfig, offset: int, value: bytes | None, of: bytes | None = b"u\xff") -> Record:
    return Record(Topics(config.prefix).events, 1, offset, 123, of, value)


def write(kafka: KafkaConfig, config: TopicsConfig, *records: Record) -> None:
    """Letters for records, as the roles write them."""

    async def send() -> None:
        async with Producer(StreamsConfig(kafka=kafka, topics=config)) as producer:
            letters = DeadLetterWriter(producer, config)
            await asyncio.gather(*(letters(record, Refusal("oversized", "too large")) for record in records))

    asyncio.run(send())


def on(kafka: KafkaConfig, topic: str, partition: int) -> list[tuple[bytes | None, bytes | None]]:
    """Keys and values of a partition."""
    consumer = KafkaConsumer(**kafka.client(), group_id=None, auto_offset_reset="earliest", enable_auto_commit=False)
    try:
        at = TopicPartition(topic, partition)
        consumer.assign([at])
        end, found = consumer.end_offsets([at])[at], []
        while consumer.position(at) < end:
            found += [(one.key, one.value) for some in consumer.poll(timeout_ms=500).values() for one in some]
        return found
    finally:
        consumer.close()


def test_a_letter_comes_back_to_the_byte(kafka: KafkaConfig, topics_config: TopicsConfig, post: Post) -> None:
    limit = topics_config.max_message_bytes
    records = [
        bad(topics_config, 0, b"\x00\xff{"),
        bad(topics_config, 1, None),
        bad(topics_config, 2, b"", of=None),
        bad(topics_config, 3, random.Random(1).randbytes(limit - 200)),
    ]
    write(kafka, topics_config, *records)
    found = list(read(kafka, topics_config))
    assert sorted((letter.source for letter in found), key=lambda one: one.offset) == records
    assert all(not letter.cut for letter in found)


def test_details_are_bounded(kafka: KafkaConfig, topics_config: TopicsConfig, post: Post) -> None:
    post(bad(topics_config, 0, b"1"), "malformed")
    [found] = read(kafka, topics_config)
    assert found.reason == "malformed"
    assert found.detail.startswith("why: é")
    assert len(found.detail) <= dead_letters.MAX_DETAIL


def test_what_does_not_fit_is_cut_and_says_what_it_was(
    kafka: KafkaConfig, topics_config: TopicsConfig, producer: KafkaProducer
) -> None:
    value, of = random.Random(2).randbytes(3_000_000), b"k" * 1_000_000
    write(
        kafka,
        topics_config,
        bad(topics_config, 0, value),
        bad(topics_config, 1, b"v", of=of),
        bad(topics_config, 2, value, of=of),
        bad(topics_config, 3, None, of=of),
    )
    found = {letter.source.offset: letter for letter in read(kafka, topics_config)}
    whole = Uncut(3_000_000, hashlib.sha256(value).hexdigest())
    whole_key = Uncut(1_000_000, hashlib.sha256(of).hexdigest())
    assert [found[offset].cut for offset in range(4)] == [
        {"value": whole},
        {"key": whole_key},
        {"key": whole_key, "value": whole},
        {"key": whole_key},
    ]
    assert found[0].source.value == found[2].source.value == value[:FIRST_BYTES]
    assert found[1].source.value == b"v"
    assert found[3].source.value is None
    assert {len(found[offset].source.key or b"") for offset in (1, 2, 3)} == {KEY_BYTES}


def test_a_topic_that_takes_less_than_the_settings_say_gets_shorter_letters(
    kafka: KafkaConfig, topics_config: TopicsConfig
) -> None:
    topic = {"num_partitions": 1, "replication_factor": 1, "configs": {"max.message.bytes": "4000"}}
    admin = KafkaAdminClient(**kafka.client())
    admin.create_topics({Topics(topics_config.prefix).dead_letters: topic}, wait_for_metadata=True)
    admin.close()
    write(kafka, topics_config, bad(topics_config, 0, b"x" * 100_000), bad(topics_config, 1, b"{"))
    found = {letter.source.offset: letter for letter in read(kafka, topics_config)}
    assert found[0].cut["value"].length == 100_000
    assert found[1].source.value == b"{"


def test_each_is_sent_again_once_unless_asked_again(
    kafka: KafkaConfig, topics_config: TopicsConfig, post: Post
) -> None:
    group = "g1" + topics_config.prefix
    post(bad(topics_config, 0, b"1"), "future")
    post(bad(topics_config, 1, None), "empty")
    first = replay(kafka, topics_config, group, reason="future")
    assert (first.sent, first.other) == (1, 1)
    assert replay(kafka, topics_config, group).sent == 0
    post(bad(topics_config, 2, b"3"), "future")
    assert replay(kafka, topics_config, group).sent == 1
    assert replay(kafka, topics_config, group, again=True).sent == 3
    assert replay(kafka, topics_config, group).sent == 0
    assert len(on(kafka, Topics(topics_config.prefix).events, 1)) == 5, "all where they came from"


def test_a_cut_letter_is_sent_whole_or_not_at_all(
    kafka: KafkaConfig, topics_config: TopicsConfig, producer: KafkaProducer
) -> None:
    events = Topics(topics_config.prefix).events
    value, of = b'{"description": "' + b"<p>w</p>" * 400_000 + b'"}', b"k" * 500_000
    sent = [
        producer.send(events, key=name, value=content, partition=1).get(timeout=30)
        for name, content in ((b"a", value), (of, value), (of, None), (b"small", b"1"))
    ]
    standing = [
        Record(events, 1, sent[0].offset, 1, b"a", value),
        Record(events, 1, sent[1].offset, 1, of, value),
        Record(events, 1, sent[2].offset, 1, of, None),
    ]
    gone = [
        Record(events, 1, sent[3].offset, 1, b"small", value),  # another record stands there
        Record(events, 1, 99, 1, b"a", value),  # not there yet, or no longer
        Record(events, 77, 0, 1, b"a", value),  # no such partition
    ]
    write(kafka, topics_config, *standing, *gone)
    done = replay(kafka, topics_config, "g4" + topics_config.prefix)
    assert (done.sent, done.left.total()) == (3, 3), done
    assert on(kafka, events, 1)[4:] == [(b"a", value), (of, value), (of, None)]
    assert all("cut" in why for why in done.left)


def test_what_is_no_letter_of_ours_is_read_and_passed_over(
    kafka: KafkaConfig, topics_config: TopicsConfig, post: Post, producer: KafkaProducer
) -> None:
    letters = Topics(topics_config.prefix).dead_letters
    producer.send(letters, value=b"?", headers=[("offset", b"many"), ("partition", b"9" * 5_000)])
    producer.flush()
    [letter] = read(kafka, topics_config)
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.source.offset, letter.source.value) == ("", -1, b"?")
    post(Record(letters, 0, 5, 1, None, b"of itself"), "malformed")
    post(Record("nobody's", 0, 5, 1, None, b"x"), "malformed")
    done = replay(kafka, topics_config, "g2" + topics_config.prefix)
    assert (done.sent, done.left) == (0, {"they name no topic of ours": 3})
    assert len(list(read(kafka, topics_config))) == 3, "a replay writes no letters"


def test_what_the_topic_does_not_take_holds_nothing_up(
    kafka: KafkaConfig, topics_config: TopicsConfig, post: Post
) -> None:
    items = Topics(topics_config.prefix).items
    for offset, of in enumerate((b"a", None, b"b")):  # a compacted topic takes no record without a key
        post(Record(items, 0, offset, 1, of, b"1"), "key")
    done = replay(kafka, topics_config, "g5" + topics_config.prefix)
    assert (done.sent, list(done.left.values())) == (2, [1])
    assert replay(kafka, topics_config, "g5" + topics_config.prefix).left == {}
    assert [of for of, _ in on(kafka, items, 0)] == [b"a", b"b"]


def test_a_replay_that_was_broken_off_goes_on(
    kafka: KafkaConfig, topics_config: TopicsConfig, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letter_topic, "STEP", 10)
    for offset in range(35):
        post(bad(topics_config, offset, b"%d" % offset), "future")

    def stop(done: int, total: int) -> None:
        assert total == 35
        if done == 20:
            raise KeyboardInterrupt

    group = "g6" + topics_config.prefix
    with pytest.raises(KeyboardInterrupt):
        replay(kafka, topics_config, group, progress=stop)
    assert replay(kafka, topics_config, group).sent == 15
    assert sorted(int(value or b"") for _, value in on(kafka, Topics(topics_config.prefix).events, 1)) == list(
        range(35)
    )


def test_no_letters_is_nothing_to_do(kafka: KafkaConfig, topics_config: TopicsConfig) -> None:
    topics.create(kafka, topics_config)
    assert newest(kafka, topics_config, 5) == ([], 0)
    assert replay(kafka, topics_config, "g3" + topics_config.prefix).sent == 0


def test_the_newest_are_found_from_the_end(
    kafka: KafkaConfig, topics_config: TopicsConfig, producer: KafkaProducer
) -> None:
    name = Topics(topics_config.prefix).dead_letters
    times = []
    for number in range(300):
        time.sleep(0.003)  # the broker dates them by the millisecond
        times.append(int(time.time() * 1000))
        record = Record(Topics(topics_config.prefix).events, number % 4, number, 1, None, b"%d" % number)
        told = headers(record, Refusal("future" if number == 7 else "malformed", "why"))
        producer.send(name, key=key(record), value=record.value, headers=told).get(timeout=60)
    seen: list[int] = []
    found = newest(kafka, topics_config, 20, progress=lambda done, _: seen.append(done))
    assert [letter.source.offset for letter in found.letters] == list(range(280, 300))
    assert found.total == 300
    assert seen[-1] <= 60, "no more is read than is shown, of each partition"
    rare = newest(kafka, topics_config, 20, reason="future")
    assert ([letter.source.offset for letter in rare.letters], rare.total) == ([7], 300)
    late = newest(kafka, topics_config, 500, since_ms=times[250])
    assert ([letter.source.offset for letter in late.letters], late.total) == (list(range(250, 300)), 50)
    assert newest(kafka, topics_config, 5, since_ms=times[-1] + 1_000_000) == ([], 0)
