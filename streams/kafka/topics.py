"""Liveshelf's Kafka topics: their names, and their creation by an admin client.

Topics are created only here: brokers run without automatic creation, and Faust is set to declare none. An existing
topic stays as it is, and one log line names its differences from the settings. :func:`apply` makes the changes that
lose nothing.
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
"""Bytes that a dead letter's headers may take besides the record that it holds."""

PARTITIONS = "partitions"

MORE_PARTITIONS = (
    "With more partitions most keys go to another one than before. Over the change a shopper's events may be answered "
    "out of order, and what they do is not joined with what they saw before: add partitions when few shoppers are "
    "there, and restart all roles afterwards. Partitions cannot be taken away again."
)
"""A warning before partitions are added."""

SEPARATOR = b"\0"
"""Separates the item from the encoder's version in a key of ``liveshelf.embeddings``; item ids have no control
characters."""

OVERHEAD_BYTES = 512
"""The most that Kafka adds to a record's bytes, without key and headers."""


BY_BROKERS_CLOCK = {"message.timestamp.type": "LogAppendTime"}
"""The broker dates records of our own topics: it refuses timestamps an hour ahead of its clock, so a process with a
wrong clock could write nothing. It also dates the shop's events: an event from the future is recognised by its record's
timestamp, which then no producer can set, and which is the same at each reading. Items keep their producer's time."""


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
        """The model version in each slot."""
        return f"{self.prefix}liveshelf.models"

    @property
    def metrics(self) -> str:
        """Snapshots of each role's metrics."""
        return f"{self.prefix}liveshelf.metrics"

    @property
    def alerts(self) -> str:
        """Alerts, firing and resolved."""
        return f"{self.prefix}liveshelf.alerts"

    @property
    def dead_letters(self) -> str:
        """Records that could not be read, whole."""
        return f"{self.prefix}liveshelf.dead-letters"

    @property
    def forgotten(self) -> str:
        """Receipts of shoppers that were forgotten."""
        return f"{self.prefix}liveshelf.forgotten"

    @property
    def skipped(self) -> str:
        """Unreadable batches that are skipped."""
        return f"{self.prefix}liveshelf.skipped"


def largest_record(config: TopicsConfig) -> int:
    """Bytes of the largest possible record: a dead letter is larger than the record that it holds."""
    return config.max_message_bytes + DEAD_LETTER_HEADROOM


def plan(config: TopicsConfig) -> dict[str, dict[str, Any]]:
    """All topics with their partitions, retention and compaction according to the settings.

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
        topics.forgotten: topic(1, kept(config.examples_retention_hours)),
        topics.skipped: topic(1, compact),
    }
    for one in (shops[topics.events], *own.values()):
        one["configs"] = one["configs"] | BY_BROKERS_CLOCK
    return shops | own


def create(kafka: KafkaConfig, config: TopicsConfig) -> list[str]:
    """Create the missing topics; ``up`` and every role call it before they start.

    Returns
    -------
    list of str
        The names of the created topics.

    Raises
    ------
    kafka.errors.KafkaError
        When the broker is out of reach or refuses; a second call completes what is missing.
    """
    with Admin(kafka) as admin:
        there = set(admin.names())
        missing = {name: topic for name, topic in plan(config).items() if name not in there}
        try:
            if missing:
                admin.create(missing)
        except TopicAlreadyExistsError:  # another role was faster
            return []
        _log_differences(admin, {name: topic for name, topic in plan(config).items() if name in there})
        return list(missing)


class Change(Enum):
    """How :func:`apply` handles a difference between a topic and the settings."""

    SAFE = "is changed"
    SHORTER = "is changed with --shorter: Kafka then deletes what is older"
    PARTITIONS = "is changed with --partitions: keys then go to other partitions than before"
    NEVER = "stays: it cannot be changed without loss"


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference between a topic and the settings; its text is one line."""

    topic: str
    what: str
    is_now: str
    wanted: str
    change: Change

    def __str__(self) -> str:
        return f"{self.topic} {self.what} {self.is_now} (settings: {self.wanted})"


def differences(kafka: KafkaConfig, config: TopicsConfig) -> list[Difference]:
    """The differences of existing topics from the settings.

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
    """Change existing topics to the settings, as far as nothing is lost.

    Parameters
    ----------
    shorter
        Also shorten retention; Kafka then deletes older records.
    partitions
        Also add partitions. A shopper's next event may then go to another partition than the earlier ones: their order
        is lost over the change, and an outcome is not joined with an earlier impression.

    Returns
    -------
    list of Difference
        The differences that were removed.

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


def _log_differences(admin: Admin, planned: Mapping[str, Mapping[str, Any]]) -> None:
    """Log the differences in one line; only a notice where the broker does not let us describe topics."""
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
        # A compacted topic would keep a key's record in the old partition and in the new one, forever.
        may_grow = count < wanted["num_partitions"] and wanted["configs"]["cleanup.policy"] == "delete"
        change = Change.PARTITIONS if may_grow else Change.NEVER
        yield Difference(name, PARTITIONS, str(count), str(wanted["num_partitions"]), change)
    if copies and copies != wanted["replication_factor"]:
        yield Difference(name, "replication factor", str(copies), str(wanted["replication_factor"]), Change.NEVER)


def _change(key: str, now: str, wanted: str) -> Change:
    if key in ("max.message.bytes", *BY_BROKERS_CLOCK):
        return Change.SAFE
    if key == "retention.ms":
        longer = int(now) >= 0 and int(wanted) > int(now)  # below 0 means forever
        return Change.SAFE if longer else Change.SHORTER
    return Change.NEVER
