"""Clients of kafka-python: administers topics, and reads and sends records where no event loop runs.

The only module that imports that library; everything else uses aiokafka. Knows the connection's settings; nothing of
the project's topics or records.
"""

from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from typing import Any, Self

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaConnectionError, KafkaError, TopicAlreadyExistsError

from streams.config import KafkaConfig

__all__ = [
    "Admin",
    "KafkaConnectionError",
    "KafkaError",
    "TopicAlreadyExistsError",
    "behind",
    "newest_consumer",
    "producer",
]


class Admin:
    """Administers a broker's topics; a context manager.

    Parameters
    ----------
    options
        Options of the library's client besides the connection's.

    Raises
    ------
    kafka.errors.KafkaError
        From the constructor and every method, when the broker is out of reach or refuses.
    """

    def __init__(self, kafka: KafkaConfig, **options: Any) -> None:
        self._client = KafkaAdminClient(**kafka.client(), **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def names(self) -> list[str]:
        """All topics."""
        found: list[str] = self._client.list_topics()
        return found

    def create(self, topics: Mapping[str, Mapping[str, Any]]) -> None:
        """Create topics, and wait until all brokers know them; `TopicAlreadyExistsError` where one exists."""
        self._client.create_topics(topics, wait_for_metadata=True)

    def settings(self, topics: Iterable[str]) -> dict[str, dict[str, str]]:
        """Each topic's settings, defaults included."""
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in topics]
        found = self._client.describe_configs(resources, config_filter="all").get("topic", {})
        return {name: {key: str(entry["value"]) for key, entry in one.items()} for name, one in found.items()}

    def replicas(self, topics: Iterable[str]) -> dict[str, list[int]]:
        """The number of replicas of each partition of each topic."""
        found = self._client.describe_topics(list(topics))
        return {topic["name"]: [len(one["replica_nodes"]) for one in topic["partitions"]] for topic in found}

    def add_partitions(self, topic: str, count: int) -> None:
        """Raise a topic's number of partitions to ``count``."""
        self._client.create_partitions({topic: count})

    def change(self, topic: str, key: str, value: str) -> None:
        """Change one setting of a topic."""
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, {key: value})
        [result] = self._client.alter_configs([resource])["topic"].values()
        if result != "OK":
            raise KafkaError(f"{topic} {key}: {result}")


def producer(kafka: KafkaConfig, **options: Any) -> Any:
    """The library's producer, with these options besides the connection's."""
    return KafkaProducer(**kafka.client(), **options)


def behind(kafka: KafkaConfig, group: str, topic: str) -> Generator[int, None, None]:
    """How many of the records that a topic holds at first a group has not committed yet: now, and whenever the next is
    asked for. Close it at the end."""
    # It is assigned nothing, so it joins no group.
    with closing(KafkaConsumer(**kafka.client(), group_id=group, enable_auto_commit=False)) as consumer:
        partitions = [TopicPartition(topic, at) for at in consumer.partitions_for_topic(topic) or ()]
        starts, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        while True:
            done = {at: consumer.committed(at) or 0 for at in partitions}
            yield sum(max(0, ends[at] - max(starts[at], done[at])) for at in partitions)


def newest_consumer(kafka: KafkaConfig, *topics: str) -> Any:
    """The library's consumer, without a group, of records that are written to these topics from now on."""
    return KafkaConsumer(
        *topics,
        **kafka.client(),
        group_id=None,
        auto_offset_reset="latest",
        isolation_level="read_committed",
        metadata_max_age_ms=10_000,
    )
