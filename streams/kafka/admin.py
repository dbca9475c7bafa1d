"""kafka-python: topics are administered through it, and records read and sent from where no event loop runs.

The only module that imports that library; all else goes through aiokafka. Knows how its clients are connected; nothing
of which topics there are, nor of records.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Self

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaConnectionError, KafkaError, TopicAlreadyExistsError

from streams.config import KafkaConfig

__all__ = ["Admin", "KafkaConnectionError", "KafkaError", "TopicAlreadyExistsError", "newest_consumer", "producer"]


class Admin:
    """A broker's topics, as a context.

    Parameters
    ----------
    options
        Of the library's client, besides how it is connected.

    Raises
    ------
    kafka.errors.KafkaError
        When made, and from every method, if the broker is out of reach or refuses.
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
        """Create topics, and wait until all brokers know them; `TopicAlreadyExistsError` where one is there."""
        self._client.create_topics(topics, wait_for_metadata=True)

    def settings(self, topics: Iterable[str]) -> dict[str, dict[str, str]]:
        """Each topic's settings, the defaults among them."""
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in topics]
        found = self._client.describe_configs(resources, config_filter="all").get("topic", {})
        return {name: {key: str(told["value"]) for key, told in one.items()} for name, one in found.items()}

    def replicas(self, topics: Iterable[str]) -> dict[str, list[int]]:
        """How many replicas each partition of each topic has."""
        found = self._client.describe_topics(list(topics))
        return {topic["name"]: [len(one["replica_nodes"]) for one in topic["partitions"]] for topic in found}

    def add_partitions(self, topic: str, count: int) -> None:
        """Give a topic so many partitions, more than it has."""
        self._client.create_partitions({topic: count})

    def change(self, topic: str, key: str, value: str) -> None:
        """Change one setting of a topic."""
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, {key: value})
        [told] = self._client.alter_configs([resource])["topic"].values()
        if told != "OK":
            raise KafkaError(f"{topic} {key}: {told}")


def producer(kafka: KafkaConfig, **options: Any) -> Any:
    """The library's producer, with these options besides how it is connected."""
    return KafkaProducer(**kafka.client(), **options)


def newest_consumer(kafka: KafkaConfig, *topics: str) -> Any:
    """The library's consumer of what comes to these topics from now on, in no group."""
    return KafkaConsumer(
        *topics,
        **kafka.client(),
        group_id=None,
        auto_offset_reset="latest",
        isolation_level="read_committed",
        metadata_max_age_ms=10_000,
    )
