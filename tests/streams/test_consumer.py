"""Reading on a real broker: every codec, transactions, batches that nobody can read, topics made anew and widened."""

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import Producer as ConfluentProducer
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from liveshelf.stack.kafka import LocalKafka
from streams import topics
from streams.config import KafkaConfig, StreamsConfig, TopicsConfig
from streams.contents import contents
from tests.shop import until
from tests.streams.broker import CODECS, FaustReader, Segment, faust_reader, values

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

KILOBYTE = "x" * 1_000


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
        producer = KafkaProducer(
            **self.config.kafka.client(), compression_type=codec, linger_ms=200, batch_size=1 << 20
        )
        for value in told:
            producer.send(topic, key=b"k", value=value.encode(), partition=partition)
        producer.flush()
        producer.close()

    def faust(self, name: str = "faust") -> AbstractContextManager[FaustReader]:
        return faust_reader(self.config, f"{self.config.topics.prefix}group", self.folder, name)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KafkaConfig, Path]]:
    folder = tmp_path_factory.mktemp("kafka")
    with LocalKafka(folder, say=print) as kafka:
        yield KafkaConfig(bootstrap_servers=kafka.address), folder / "data"


@pytest.fixture
def broker(server: tuple[KafkaConfig, Path], topics_config: TopicsConfig, tmp_path: Path) -> Broker:
    kafka, data = server
    narrow = topics_config.model_copy(update={"partitions": 2, "compacted_partitions": 1})
    return Broker(kafka, narrow, data, tmp_path)


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
    until(lambda: [one.value for some in plain.poll(500).values() for one in some] == wanted, 30)
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

        until(packed, 30)
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
        producer.produce(topic, value.encode(), partition=0)
    producer.flush()
    yield producer


def end(broker: Broker, topic: str) -> int:
    plain = KafkaConsumer(**broker.config.kafka.client())
    try:
        return int(plain.end_offsets([TopicPartition(topic, 0)])[TopicPartition(topic, 0)])
    finally:
        plain.close()


def committed(broker: Broker, topic: str) -> int:
    group = f"{broker.config.topics.prefix}group"
    admin = broker.admin()
    try:
        offsets = admin.list_group_offsets(group)
        return int(offsets.get(group, offsets)[TopicPartition(topic, 0)].offset)
    finally:
        admin.close()
