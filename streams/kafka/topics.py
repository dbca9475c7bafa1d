"""Liveshelf's Kafka topics: their names, and their creation by an admin client.

Topics are created here and nowhere else: brokers run with automatic creation off, and Faust is told not to declare
any. A topic that is there already is left as it is, and what differs from the settings is told in one line, until
somebody asks for it to be changed: :func:`apply` changes what loses nothing.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from streams.config import KafkaConfig, TopicsConfig
from streams.kafka.admin import Admin, TopicAlreadyExistsError
from streams.kafka.errors import KAFKA_ERRORS

log = logging.getLogger(__name__)

DEAD_LETTER_HEADROOM = 65_536
"""Bytes a dead letter may be larger than what it holds: its headers."""

PARTITIONS = "partitions"

MORE_PARTITIONS = (
    "With more partitions most keys go to another one than before. Over the change a shopper's events may be answered "
    "out of order, and what they do is not joined with what they saw before: add partitions when few shoppers are "
    "there, and restart all roles afterwards. Partitions cannot be taken away again."
)
"""What there is to know before partitions are added."""

SEPARATOR = b"\0"
"""In a key of ``liveshelf.embeddings``, between the item and the encoder's version; no item id has it, nor any other
control character."""

OVERHEAD_BYTES = 512
"""What Kafka adds to a record's bytes, at most, keys and headers not counted."""


BY_BROKERS_CLOCK = {"message.timestamp.type": "LogAppendTime"}
"""Records of our own topics are dated by the broker: it refuses what a process dates an hour ahead of it, so one whose
clock is wrong could write nothing. So are the shop's events: what tells of a time that has not come is told by when its
record came, which nobody can set then, and is the same whenever the log is read. Items keep their producer's time."""


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
    shops = {topics.items: topic(narrow, compact), topics.events: topic(wide, kept(config.retention_hours))}
    own = {
        topics.shelves: topic(wide, kept(config.retention_hours)),
        topics.examples: topic(wide, kept(config.examples_retention_hours)),
        topics.embeddings: topic(narrow, compact),
        topics.models: topic(1, compact),
        topics.metrics: topic(1, kept(config.retention_hours)),
        topics.alerts: topic(1, kept(config.retention_hours)),
        topics.dead_letters: topic(narrow, kept(config.retention_hours, DEAD_LETTER_HEADROOM)),
        topics.skipped: topic(1, compact),
    }
    for one in (shops[topics.events], *own.values()):
        one["configs"] = one["configs"] | BY_BROKERS_CLOCK
    return shops | own


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
    with Admin(kafka) as admin:
        there = set(admin.names())
        missing = {name: topic for name, topic in plan(config).items() if name not in there}
        try:
            if missing:
                admin.create(missing)
        except TopicAlreadyExistsError:  # another role was faster
            return []
        _tell(admin, {name: topic for name, topic in plan(config).items() if name in there})
        return list(missing)


class Change(Enum):
    """What becomes of a difference between a topic and the settings."""

    SAFE = "is changed"
    SHORTER = "is changed with --shorter: Kafka then deletes what is older"
    PARTITIONS = "is changed with --partitions: keys then go to other partitions than before"
    NEVER = "stays: it cannot be changed without loss"


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that a topic has otherwise than the settings say; as text it is one line."""

    topic: str
    what: str
    is_now: str
    wanted: str
    change: Change

    def __str__(self) -> str:
        return f"{self.topic} {self.what} {self.is_now} (settings: {self.wanted})"


def differences(kafka: KafkaConfig, config: TopicsConfig) -> list[Difference]:
    """Where the topics that are there differ from the settings.

    Raises
    ------
    kafka.errors.KafkaError
        When the broker is out of reach.
    """
    with Admin(kafka) as admin:
        return _differences(admin, plan(config))


def apply(
    kafka: KafkaConfig, config: TopicsConfig, *, shorter: bool = False, partitions: bool = False
) -> list[Difference]:
    """Change topics that are there to what the settings say, as far as nothing is lost by it.

    Parameters
    ----------
    shorter
        Shorten retention as well, upon which Kafka deletes what is older.
    partitions
        Add partitions as well: an event then may lie in another partition than its shopper's before it, so their order
        is lost over the change, and an outcome is not joined with an impression from before.

    Returns
    -------
    list of Difference
        What was changed.

    Raises
    ------
    kafka.errors.KafkaError
        When the broker is out of reach, or refuses a change; a second call goes on.
    """
    asked = {Change.SAFE} | ({Change.SHORTER} if shorter else set()) | ({Change.PARTITIONS} if partitions else set())
    with Admin(kafka) as admin:
        found = [one for one in _differences(admin, plan(config)) if one.change in asked]
        for one in found:
            if one.what == PARTITIONS:
                admin.add_partitions(one.topic, int(one.wanted))
            else:
                admin.change(one.topic, one.what, one.wanted)
        return found


def _tell(admin: Admin, planned: Mapping[str, Mapping[str, Any]]) -> None:
    """Say what differs, in one line; who may not look into topics is told nothing."""
    try:
        found = _differences(admin, planned)
    except KAFKA_ERRORS as error:
        log.info("whether topics differ from the settings is not known: %s", error)
        return
    if found:
        log.warning("topics differ from the settings (liveshelf topics apply): %s", "; ".join(map(str, found)))


def _differences(admin: Admin, planned: Mapping[str, Mapping[str, Any]]) -> list[Difference]:
    there = [name for name in admin.names() if name in planned]
    if not there:
        return []
    now, replicas = admin.settings(there), admin.replicas(there)
    return [one for name in there for one in _of_topic(name, planned[name], now.get(name, {}), replicas[name])]


def _of_topic(
    name: str, wanted: Mapping[str, Any], now: Mapping[str, str], replicas: Sequence[int]
) -> Iterator[Difference]:
    for key, value in wanted["configs"].items():
        if key in now and now[key] != value:
            yield Difference(name, key, now[key], value, _change(key, now[key], value))
    count, copies = len(replicas), min(replicas, default=0)
    if count != wanted["num_partitions"]:
        # Of a key, a compacted topic would keep one record in the old partition and one in the new, for ever.
        may_grow = count < wanted["num_partitions"] and wanted["configs"]["cleanup.policy"] == "delete"
        change = Change.PARTITIONS if may_grow else Change.NEVER
        yield Difference(name, PARTITIONS, str(count), str(wanted["num_partitions"]), change)
    if copies and copies != wanted["replication_factor"]:
        yield Difference(name, "replication factor", str(copies), str(wanted["replication_factor"]), Change.NEVER)


def _change(key: str, now: str, wanted: str) -> Change:
    if key in ("max.message.bytes", *BY_BROKERS_CLOCK):
        return Change.SAFE
    if key == "retention.ms":
        longer = int(now) >= 0 and int(wanted) > int(now)  # below 0 is for ever
        return Change.SAFE if longer else Change.SHORTER
    return Change.NEVER
