"""Reading on a real broker: every codec, transactions, batches that nobody can read, topics made anew and widened."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError
from confluent_kafka import Producer as ConfluentProducer
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError

from liveshelf.stack.kafka import LocalKafka
from streams.config import KafkaConfig, StreamsConfig, TopicsConfig
from streams.kafka import consumer, dead_letters, topics, unreadable
from streams.kafka.consumer import Consumer
from streams.kafka.skip_command import SkipError, skip
from streams.kafka.topic_reader import contents
from streams.kafka.unreadable import unreadable_partitions
from tests.shop import until
from tests.streams.broker import (
    CODECS,
    METADATA_MS,
    RECORDS,
    FaustReader,
    Segment,
    faust_reader,
    flip,
    lengthen,
    unknown_codec,
    values,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1_800)]

log = logging.getLogger(__name__)
KILOBYTE = "x" * 1_000
LARGE = {"linger_ms": 200, "batch_size": 1 << 20, "max_request_size": 1 << 28}


def test_a_consumer_that_reaches_nobody_leaves_nothing_open() -> None:
    nowhere = StreamsConfig(kafka=KafkaConfig(bootstrap_servers="127.0.0.1:1"))

    async def start(cancelled: bool) -> Consumer:
        one = Consumer(nowhere, "a-topic")
        starting = asyncio.ensure_future(one.start())
        await asyncio.sleep(0)
        if cancelled:
            starting.cancel()
        with pytest.raises(asyncio.CancelledError if cancelled else KafkaConnectionError):
            await starting
        return one

    assert [asyncio.run(start(cancelled))._closed for cancelled in (False, True)] == [True, True]


class Broker:
    """A broker of this module's own, with topics of one test's own."""

    def __init__(self, kafka: KafkaConfig, topics_config: TopicsConfig, data: Path, folder: Path) -> None:
        self.config = StreamsConfig(kafka=kafka, topics=topics_config)
        self.topics = topics.Topics(topics_config.prefix)
        self.data, self.folder = data, folder
        topics.create(kafka, topics_config)

    def segment(self, topic: str, partition: int = 0) -> Segment:
        return Segment(self.data, topic, partition)

    def admin(self) -> KafkaAdminClient:
        return KafkaAdminClient(**self.config.kafka.client())

    def send(self, topic: str, told: list[str], codec: str | None = None, partition: int | None = 0) -> None:
        """One batch."""
        kafka = self.config.kafka.client()
        producer = KafkaProducer(**kafka, compression_type=codec, **LARGE)
        for value in told:
            producer.send(topic, key=b"k", value=value.encode(), partition=partition)
        producer.flush(60)
        producer.close()

    def faust(self, name: str = "faust", stall_s: float = 60.0) -> AbstractContextManager[FaustReader]:
        return faust_reader(self.config, f"{self.config.topics.prefix}group", self.folder, name, stall_s)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KafkaConfig, Path]]:
    folder = tmp_path_factory.mktemp("kafka")
    with LocalKafka(folder, say=print) as kafka:
        yield KafkaConfig(bootstrap_servers=kafka.address), folder / "data"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens to topics is known in seconds, as by the programs."""
    monkeypatch.setattr(consumer, "METADATA_MS", METADATA_MS)


@pytest.fixture
def broker(server: tuple[KafkaConfig, Path], topics_config: TopicsConfig, tmp_path: Path) -> Broker:
    kafka, data = server
    narrow = topics_config.model_copy(update={"partitions": 2, "compacted_partitions": 1})
    return Broker(kafka, narrow, data, tmp_path)


@pytest.fixture
def wide(server: tuple[KafkaConfig, Path], topics_config: TopicsConfig, tmp_path: Path) -> Broker:
    """Enough partitions for every kind of harm, and a sound one."""
    kafka, data = server
    config = topics_config.model_copy(update={"partitions": len(HARM) + 1, "compacted_partitions": 1})
    return Broker(kafka, config, data, tmp_path)


def ten(codec: str, client: str) -> list[str]:
    return [f"{client} {codec} {number} {KILOBYTE}" for number in range(10)]


def send_aiokafka(broker: Broker, topic: str, told: list[str], codec: str | None) -> None:
    async def send() -> None:
        server = broker.config.kafka.bootstrap_servers
        producer = AIOKafkaProducer(
            bootstrap_servers=server, compression_type=codec, linger_ms=200, max_batch_size=1 << 20
        )
        await producer.start()
        await asyncio.gather(*[await producer.send(topic, value.encode(), partition=0) for value in told])
        await producer.stop()

    asyncio.run(send())


def send_confluent(broker: Broker, topic: str, told: list[str], codec: str | None) -> None:
    server = broker.config.kafka.bootstrap_servers
    producer = ConfluentProducer({"bootstrap.servers": server, "compression.type": codec or "none", "linger.ms": 200})
    for value in told:
        producer.produce(topic, value.encode(), partition=0)
    producer.flush()


def test_every_reader_reads_every_codec_of_every_client(broker: Broker) -> None:
    topic, sent = broker.topics.events, list[str]()
    for codec in CODECS:
        name = None if codec == "none" else codec
        broker.send(topic, ten(codec, "kafka-python"), name)
        send_aiokafka(broker, topic, ten(codec, "aiokafka"), name)
        send_confluent(broker, topic, ten(codec, "confluent"), name)
        sent += [value for client in ("kafka-python", "aiokafka", "confluent") for value in ten(codec, client)]
    assert {codec: broker.segment(topic).codecs().count(codec) for codec in CODECS} == dict.fromkeys(CODECS, 3)
    wanted = [value.encode() for value in sent]
    assert values(broker.config, topic) == wanted
    assert [message.value for message in contents(broker.config, topic)] == wanted
    plain = KafkaConsumer(**broker.config.kafka.client(), enable_auto_commit=False, auto_offset_reset="earliest")
    plain.assign([TopicPartition(topic, 0)])
    until(lambda: [one.value for some in plain.poll(500).values() for one in some] == wanted)
    plain.close()
    with broker.faust() as faust:
        faust.until(lambda: faust.values(topic) == [value[:40] for value in sent])
        faust.until(lambda: faust.state()["lag"] == 0)


def test_a_topic_that_packs_what_plain_producers_send_is_read(broker: Broker) -> None:
    topic, sent = broker.topics.items, list[str]()
    admin = broker.admin()
    for codec in CODECS[1:]:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs={"compression.type": codec})])

        def packed(codec: str = codec) -> bool:
            sent.extend(told := ten(codec, str(len(sent))))
            broker.send(topic, told)
            return broker.segment(topic).codecs()[-1] == codec

        until(packed)
    admin.close()
    assert values(broker.config, topic) == [value.encode() for value in sent]
    with broker.faust() as faust:
        faust.until(lambda: faust.values(topic) == [value[:40] for value in sent])


def test_only_committed_records_are_read_and_no_reader_waits_for_the_marks(broker: Broker) -> None:
    topic, other = broker.topics.events, broker.topics.items
    broker.send(topic, ["first"])
    with broker.faust() as faust:
        faust.until(lambda: faust.values(topic) == ["first"])
        transact(broker, topic, ["taken back 1", "taken back 2"], commit=False)
        transact(broker, topic, ["committed 1", "committed 2"], commit=True)
        faust.until(lambda: faust.values(topic) == ["first", "committed 1", "committed 2"])
        faust.until(lambda: faust.state()["lag"] == 0 and 0 in faust.state()["caught_up"])
        transact(broker, topic, ["taken back 3"], commit=False)
        faust.until(lambda: committed(broker, topic) == end(broker, topic))
        assert end(broker, topic) == 9, "five records, one taken back, three marks"

        with open_transaction(broker, topic, ["not yet"]) as open_one:
            broker.send(topic, ["behind it"])
            broker.send(other, ["elsewhere"])
            faust.until(lambda: faust.values(other) == ["elsewhere"])
            faust.until(lambda: faust.state()["lag"] == 0 and 0 not in faust.state()["caught_up"])
            assert values(broker.config, topic) == [b"first", b"committed 1", b"committed 2"]
            assert [one.value for one in contents(broker.config, topic)] == [b"first", b"committed 1", b"committed 2"]
            open_one.commit_transaction(30)
        faust.until(lambda: faust.values(topic)[3:] == ["not yet", "behind it"])
        faust.until(lambda: faust.state()["lag"] == 0 and 0 in faust.state()["caught_up"])
        faust.until(lambda: committed(broker, topic) == end(broker, topic))
    with broker.faust("again") as faust:
        broker.send(topic, ["after a restart"])
        faust.until(lambda: faust.values(topic) == ["after a restart"])


def transact(broker: Broker, topic: str, told: list[str], *, commit: bool) -> None:
    with open_transaction(broker, topic, told) as producer:
        (producer.commit_transaction if commit else producer.abort_transaction)(30)


@contextmanager
def open_transaction(broker: Broker, topic: str, told: list[str]) -> Iterator[ConfluentProducer]:
    """A transaction with records that the broker has."""
    server = broker.config.kafka.bootstrap_servers
    producer = ConfluentProducer({"bootstrap.servers": server, "transactional.id": f"{topic}-{told[0]}"})
    producer.init_transactions(30)
    producer.begin_transaction()
    for value in told:
        producer.produce(topic, value.encode(), key=b"k", partition=0)
    producer.flush()
    yield producer


def end(broker: Broker, topic: str) -> int:
    plain = KafkaConsumer(**broker.config.kafka.client())
    try:
        return int(plain.end_offsets([TopicPartition(topic, 0)])[TopicPartition(topic, 0)])
    finally:
        plain.close()


def committed(broker: Broker, topic: str, partition: int = 0) -> int:
    group = f"{broker.config.topics.prefix}group"
    admin = broker.admin()
    try:
        offsets = admin.list_group_offsets(group)
        found = offsets.get(group, offsets).get(TopicPartition(topic, partition))
        return -1 if found is None else int(found.offset)
    finally:
        admin.close()


def resummed(change: Callable[[bytearray], None]) -> Callable[[Segment, int], bytes]:
    """A change after which the checksum is right again."""
    return lambda segment, base: segment.change(base, change, mend_checksum=True)


def spoil(at: int, value: int) -> Callable[[bytearray], None]:
    """Set one byte."""
    return lambda batch: batch.__setitem__(at, value)


def untouched(segment: Segment, base: int) -> bytes:
    """For what is bad as it was sent."""
    return next(batch for _, first, batch in segment.batches() if first == base)


HARM: dict[str, tuple[str | None, Callable[[Segment, int], bytes], str]] = {
    "damaged": ("gzip", lambda segment, base: segment.change(base, flip), "its checksum is wrong"),
    "unknown codec": ("zstd", resummed(unknown_codec), "codec 7 is not known"),
    "bad zstd": ("zstd", resummed(spoil(RECORDS, 0)), "DecompressionError"),
    "bad lz4": ("lz4", resummed(spoil(RECORDS, 0)), "DecompressionError"),
    "bad snappy": ("snappy", resummed(spoil(RECORDS + 16, 0x7F)), "it has a block of"),
    "bad gzip": ("gzip", resummed(spoil(RECORDS, 0)), "BadGzipFile"),
    "false sizes": (None, resummed(spoil(RECORDS, 0x7E)), "beyond its end"),
    "false count": (None, resummed(spoil(57, 0x7F)), "Corrupt"),
    "unpacks to much": ("zstd", untouched, "it unpacks to more than 67108864 bytes"),
}
BOMB = "0" * 100_000_000


def test_a_batch_that_cannot_be_read_stops_its_partition_alone_and_can_be_skipped(wide: Broker) -> None:
    broker, topic = wide, wide.topics.events
    held = {}
    for number, (what, (codec, harm, _)) in enumerate(HARM.items()):
        broker.send(topic, ten(what, "before"), partition=number)
        broker.send(topic, [BOMB] if harm is untouched else ten(what, "bad"), codec, partition=number)
        held[number] = harm(broker.segment(topic, number), 10)
        broker.send(topic, [f"behind {what}"], partition=number)
    broker.send(topic, ["sound"], partition=len(HARM))
    broker.send(broker.topics.items, ["other topic"])
    before = sorted([value[:40] for what in HARM for value in ten(what, "before")] + ["sound"])
    behind = sorted([*before, *(f"behind {what}" for what in HARM)])
    with broker.faust() as faust:
        faust.until(lambda: sorted(faust.values(topic)) == before and faust.values(broker.topics.items))
        faust.until(lambda: len(faust.state()["unreadable"]) == len(HARM))
        for number, (what, (_, _, why)) in enumerate(HARM.items()):
            told = faust.state()["unreadable"][number]
            assert (told["topic"], told["partition"], told["offset"]) == (topic, str(number), "10"), what
            assert why in told["error"], what
        faust.until(lambda: faust.state()["caught_up"] == [len(HARM)])
        began = cpu_s(faust.process.pid)
        time.sleep(4)
        assert cpu_s(faust.process.pid) - began < 2, "it waits, and does not spin"
        assert faust.log.read_text().count("cannot be read at offset") == len(HARM), "each is told once"
        started = time.monotonic()
        for number, what in enumerate(HARM):
            done = skip(broker.config, topic, number, 10)
            assert (done.first, done.next) == (10, 11 if what == "unpacks to much" else 20)
        skipped_s = time.monotonic() - started
        faust.until(lambda: sorted(faust.values(topic)) == behind)
        log.warning(
            f"{len(HARM)} skips in {skipped_s:.1f} s, all read on {time.monotonic() - started:.1f} s after the first"
        )
        faust.until(lambda: faust.state()["lag"] == 0 and not faust.state()["unreadable"])
        faust.until(lambda: faust.state()["caught_up"] == list(range(len(HARM) + 1)))
        faust.until(lambda: committed(broker, topic) == end(broker, topic) == 21)
    assert sorted(value.decode()[:40] for value in values(broker.config, topic, over_skips=True)) == behind
    letters = {
        letter.source.partition: letter for letter in dead_letters.read(broker.config.kafka, broker.config.topics)
    }
    assert {number: letter.source.value for number, letter in letters.items()} == held
    assert {(letter.reason, letter.source.topic, letter.source.offset) for letter in letters.values()} == {
        ("unreadable", topic, 10)
    }
    with pytest.raises(SkipError, match="skipped already"):
        skip(broker.config, topic, 0, 10)
    with pytest.raises(SkipError, match="can be read"):
        skip(broker.config, topic, 0, 3)
    with pytest.raises(SkipError, match="holds offsets 0 to 20"):
        skip(broker.config, topic, 0, 21)
    with pytest.raises(SkipError, match="there is no"):
        skip(broker.config, topic, 99, 0)


def test_a_partition_whose_broker_falls_silent_is_told_of_and_can_be_skipped(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a batch's length is damaged: the broker finds only what its index names, the last record of a batch."""
    monkeypatch.setattr(consumer, "SILENT_S", 1.0)
    topic = broker.topics.events
    for what in ("before", "bad", "behind 1", "behind 2"):
        broker.send(topic, ten("none", what))
    broker.segment(topic).change(10, lengthen)
    open_one = open_transaction(broker, broker.topics.items, ["not yet"])
    with broker.faust(stall_s=4.0) as faust, Following(broker.config, topic) as following, open_one:
        faust.until(lambda: [one["offset"] for one in faust.state()["unreadable"]] == ["10"])
        until(lambda: [one.labels["offset"] for one in unreadable_partitions.series()] == ["10"])
        told = faust.state()["unreadable"][0]
        assert (told["topic"], told["partition"], told["error"]) == (topic, "0", unreadable.ERROR)
        assert len(following.values) == 10
        broker.send(topic, ["elsewhere"], partition=1)
        faust.until(lambda: "elsewhere" in faust.values(topic) and "elsewhere" in following.values)
        done = skip(broker.config, topic, 0, 10)
        assert (done.first, done.next) == (10, 29)
        sent = [value[:40] for what in ("before", "bad", "behind 1", "behind 2") for value in ten("none", what)]
        rest = sent[:10] + sent[29:]
        faust.until(lambda: sorted(faust.values(topic)) == sorted([*rest, "elsewhere"]))
        until(lambda: sorted(value[:40] for value in following.values) == sorted([*rest, "elsewhere"]))
        faust.until(lambda: not faust.state()["unreadable"] and faust.state()["lag"] == 0)
        assert faust.log.read_text().count("cannot be read at offset") == 1, "an open transaction is no silence"
    [letter] = dead_letters.read(broker.config.kafka, broker.config.topics)
    assert (letter.reason, letter.source.offset) == ("unreadable", 10)


def cpu_s(pid: int) -> float:
    """Seconds of a processor that a process has had."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


class Following:
    """A reader in no group, which runs beside a test."""

    def __init__(self, config: StreamsConfig, topic: str, **settings: str) -> None:
        self.values: list[str] = []
        self._consumer = partial(Consumer, config, topic, **settings)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._read()])
        self._ready, self._end = threading.Event(), False

    async def _read(self) -> None:
        consumer = self._consumer()
        await consumer.start()
        await asyncio.gather(*(consumer.position(one) for one in consumer.assignment()))
        self._ready.set()
        while not self._end:
            for messages in (await consumer.getmany(timeout_ms=200)).values():
                self.values += [message.value.decode() for message in messages]
        await consumer.stop()

    def __enter__(self) -> "Following":
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._end = True
        self._thread.join(60)
        self._loop.close()


def test_a_batch_that_ends_after_its_partition_moved_takes_no_commit_back(broker: Broker) -> None:
    topic = broker.topics.events

    def both(value: str, count: int = 1) -> None:
        for number in (0, 1):
            broker.send(topic, [value] * count, partition=number)

    with broker.faust("first") as first:
        first.hold.touch()
        both("hold")
        first.until(lambda: first.state()["lag"] == 2 and first.held())  # though nothing was ever committed
        with broker.faust("second") as second:
            second.until(lambda: second.values(topic))
            [(moved, _, _)] = second.records(topic)
            both("more", 100)
            second.until(lambda: committed(broker, topic, moved) == 101)
            first.hold.unlink()
            first.until(lambda: committed(broker, topic, 1 - moved) == 101)
        first.until(lambda: first.state()["partitions"] == 3)
        before = len(first.held())
        first.hold.touch()
        both("hold")
        first.until(lambda: len(first.held()) > before)
        for _ in range(15):  # it commits once a second
            assert committed(broker, topic, moved) >= 101
            time.sleep(0.2)
        first.hold.unlink()
        first.until(lambda: committed(broker, topic, moved) == 102 == committed(broker, topic, 1 - moved))


def test_partitions_that_are_added_are_read_from_their_beginning(broker: Broker) -> None:
    topic = broker.topics.events
    broker.send(topic, ["old"])
    with (
        broker.faust() as faust,
        Following(broker.config, topic) as earliest,
        Following(broker.config, topic, auto_offset_reset="latest") as latest,
    ):
        faust.until(lambda: faust.values(topic) == ["old"] == earliest.values)
        broker.send(topic, ["before"])
        faust.until(lambda: len(faust.values(topic)) == 2 == len(earliest.values) and len(latest.values) == 1)
        with closing(broker.admin()) as admin:
            admin.create_partitions({topic: 5})
        for number in (0, 3, 4):
            until(lambda n=number: attempt(lambda: broker.send(topic, [f"in {n}"], partition=n)))  # type: ignore[misc]
        new = {"in 0", "in 3", "in 4"}
        faust.until(lambda: {"old", "before", *new} <= set(faust.values(topic)))
        faust.until(lambda: sorted(earliest.values) == sorted(["old", "before", *new]))
        faust.until(lambda: sorted(latest.values) == sorted(["before", *new]))
        faust.until(lambda: faust.state()["lag"] == 0 and faust.state()["caught_up"] == [0, 1, 2, 3, 4])


def test_a_topic_made_anew_is_read_from_its_beginning(broker: Broker) -> None:
    topic, other = broker.topics.events, broker.topics.items
    broker.send(topic, ten("none", "old"))
    with broker.faust() as faust, Following(broker.config, topic) as following:
        faust.until(lambda: len(faust.values(topic)) == 10 == len(following.values))
        faust.until(lambda: committed(broker, topic) == 10)
        with closing(broker.admin()) as admin:
            admin.delete_topics([topic])
            until(lambda: topic not in admin.list_topics())
        broker.send(other, ["meanwhile"])
        faust.until(lambda: faust.values(other) == ["meanwhile"])
        time.sleep(1.5 * METADATA_MS / 1_000)  # longer than what is known of the topics may be old
        lines = faust.log.read_text().count("\n")
        time.sleep(10)
        told = [line for line in faust.log.read_text().splitlines()[lines:] if not line.startswith("{")]
        assert len(told) < 100, "\n".join(told[:20])
        topics.create(broker.config.kafka, broker.config.topics)
        until(lambda: attempt(lambda: broker.send(topic, ["new 1", "new 2", "new 3"])))
        faust.until(lambda: faust.values(topic)[10:] == ["new 1", "new 2", "new 3"])
        faust.until(lambda: following.values[10:] == ["new 1", "new 2", "new 3"])
        faust.until(lambda: faust.state()["lag"] == 0 and 0 in faust.state()["caught_up"])
        faust.until(lambda: committed(broker, topic) == 3)


def test_a_topic_made_anew_at_once_is_read_from_its_beginning(broker: Broker) -> None:
    topic = broker.topics.events
    broker.send(topic, ten("none", "old"))
    with broker.faust() as faust, Following(broker.config, topic) as following:
        faust.until(lambda: len(faust.values(topic)) == 10 == len(following.values))
        faust.until(lambda: committed(broker, topic) == 10)
        with closing(broker.admin()) as admin:
            admin.delete_topics([topic])
            until(lambda: topic not in admin.list_topics())
        topics.create(broker.config.kafka, broker.config.topics)
        until(lambda: attempt(lambda: broker.send(topic, ["new 1", "new 2"])))
        faust.until(lambda: faust.values(topic)[10:] == ["new 1", "new 2"])
        faust.until(lambda: following.values[10:] == ["new 1", "new 2"])
        faust.until(lambda: faust.state()["lag"] == 0 and 0 in faust.state()["caught_up"])
        faust.until(lambda: committed(broker, topic) == 2)


def attempt(act: Callable[[], object]) -> bool:
    """Whether something is done without Kafka's objecting."""
    try:
        act()
    except KafkaError:
        return False
    return True
