"""Liveshelf's Kafka topics: their names, and their creation by an admin client.

Topics are created here and nowhere else: brokers run with automatic creation off, and Faust is told not to declare
any. A topic that is there already is left as it is; what differs from the settings is reported, never changed.
"""

from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import TopicAlreadyExistsError

from streams.config import KafkaConfig, TopicsConfig

DEAD_LETTER_HEADROOM = 65_536
"""Bytes a dead letter may be larger than what it holds: its headers."""

OVERHEAD_BYTES = 512
"""What Kafka adds to a record's bytes, at most, keys and headers not counted."""


@dataclass(frozen=True, slots=True)
class Topics:
    """Topic names, one attribute each.

    Examples
    --------
    >>> Topics("test-").events
    'test-shop.events'
    """

    prefix: str = ""

    @property
    def items(self) -> str:
        """Item upserts and deletes, from the shop."""
        return f"{self.prefix}shop.items"

    @property
    def events(self) -> str:
        """Every shopper event, from the shop."""
        return f"{self.prefix}shop.events"

    @property
    def shelves(self) -> str:
        """Every shelf written."""
        return f"{self.prefix}liveshelf.shelves"

    @property
    def examples(self) -> str:
        """Labelled examples."""
        return f"{self.prefix}liveshelf.examples"

    @property
    def embeddings(self) -> str:
        """Encoded items."""
        return f"{self.prefix}liveshelf.embeddings"

    @property
    def models(self) -> str:
        """Which model version is in which slot."""
        return f"{self.prefix}liveshelf.models"

    @property
    def metrics(self) -> str:
        """Snapshots of what every role measures of itself."""
        return f"{self.prefix}liveshelf.metrics"

    @property
    def alerts(self) -> str:
        """Alerts, firing and resolved."""
        return f"{self.prefix}liveshelf.alerts"

    @property
    def dead_letters(self) -> str:
        """What could not be read, whole."""
        return f"{self.prefix}liveshelf.dead-letters"

    @property
    def skipped(self) -> str:
        """Batches that nobody can read and that are stepped over."""
        return f"{self.prefix}liveshelf.skipped"


def largest_record(config: TopicsConfig) -> int:
    """Bytes of the largest record there can be: a dead letter is larger than what it holds."""
    return config.max_message_bytes + DEAD_LETTER_HEADROOM


def plan(config: TopicsConfig) -> dict[str, dict[str, Any]]:
    """All topics with partitions, retention and compaction as the settings say.

    Examples
    --------
    >>> list(plan(TopicsConfig()))[:2]
    ['shop.items', 'shop.events']
    """
    topics = Topics(config.prefix)
    size = str(config.max_message_bytes)
    compact = {"cleanup.policy": "compact", "max.message.bytes": size}

    def kept(hours: float, room: int = 0) -> dict[str, str]:
        return {
            "cleanup.policy": "delete",
            "retention.ms": str(int(hours * 3_600_000)),
            "max.message.bytes": str(config.max_message_bytes + room),
        }

    def topic(partitions: int, settings: dict[str, str]) -> dict[str, Any]:
        return {"num_partitions": partitions, "replication_factor": config.replication_factor, "configs": settings}

    wide, narrow = config.partitions, config.compacted_partitions
    return {
        topics.items: topic(narrow, compact),
        topics.events: topic(wide, kept(config.retention_hours)),
        topics.shelves: topic(wide, kept(config.retention_hours)),
        topics.examples: topic(wide, kept(config.examples_retention_hours)),
        topics.embeddings: topic(narrow, compact),
        topics.models: topic(1, compact),
        topics.metrics: topic(1, kept(config.retention_hours)),
        topics.alerts: topic(1, kept(config.retention_hours)),
        topics.dead_letters: topic(narrow, kept(config.retention_hours, DEAD_LETTER_HEADROOM)),
        topics.skipped: topic(1, compact),
    }


def create(kafka: KafkaConfig, config: TopicsConfig) -> list[str]:
    """Create the topics that are missing; called by ``up`` and by every role before it starts.

    Returns
    -------
    list of str
        The names that were created now.

    Raises
    ------
    kafka.errors.KafkaError
        When the broker is out of reach or refuses; nothing is half made that a second call would not mend.
    """
    admin = KafkaAdminClient(**kafka.client())
    try:
        there = set(admin.list_topics())
        missing = {name: topic for name, topic in plan(config).items() if name not in there}
        if not missing:
            return []
        try:
            admin.create_topics(missing, wait_for_metadata=True)
        except TopicAlreadyExistsError:  # another role was faster
            return []
        return list(missing)
    finally:
        admin.close()
