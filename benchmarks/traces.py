"""What a run has left in Kafka, in Redis and on disk, so that two runs can be compared, and what of it a flush took.

Reads only.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from redis import Redis

from benchmarks.replay import totals, waiting
from benchmarks.rounds import Rounds
from evaluator.attribution import example
from evaluator.retraining.store.archive import Archive
from streams.config import KafkaConfig, StreamsConfig, TopicsConfig
from streams.events.shelf import record_decoder, shelf_decoder
from streams.kafka import dead_letters
from streams.kafka.topic_reader import contents
from streams.kafka.topics import Topics
from streams.redis import keys

WORKERS, EVALUATORS, TRAINERS = "liveshelf", "liveshelf-evaluator", "liveshelf-trainer"
"""Consumer groups."""

KINDS = {
    "feeds": "shelf:feed:*",
    "searches": "shelf:search:*",
    "similar items": "shelf:similar:*",
    "popular": "shelf:popular:*",
    "shoppers' items": "ls:*:items:*",
    "shoppers' queries": "ls:*:queries:*",
    "shoppers' purchases": "ls:*:bought:*",
    "seen together": "ls:*:with:*",
    "trending": "ls:*:trend:*",
    "open impressions": f"ls:{{{EVALUATORS}.*}}:state",
    "totals and offsets": f"ls:{{{EVALUATORS}.*}}:meta",
    "rates by minute": f"ls:{{{EVALUATORS}.*}}:rates:*",
    "shelves awaiting impressions": f"ls:{EVALUATORS}:shelf:*",
    "watches": f"ls:{{{EVALUATORS}.*}}:watches",
    "experiments": f"ls:{{{EVALUATORS}.*}}:experiment",
    "book of runs": f"ls:{TRAINERS}:runs",
}
"""Kinds of state in Redis, by pattern of their keys."""

MEMORY = ("shoppers' items", "shoppers' queries", "shoppers' purchases", "seen together", "trending")
"""Kinds that do not depend on when things were made."""

FOREVER = 2**53

Compared = dict[Any, Any]
"""Entries by name."""


class Traces:
    """What is there now."""

    def __init__(self, kafka: KafkaConfig, redis: "Redis", archive: Path, rounds: Rounds) -> None:
        self.kafka, self.topics_config, self.redis = kafka, TopicsConfig(), redis
        self.topics, self.archive, self.rounds = Topics(""), Archive(archive), rounds

    def held(self, kind: str) -> Compared:
        """The entries of a kind: members of sorted sets and fields of hashes with their values, or bare keys."""
        found: Compared = {}
        for key in self.redis.scan_iter(KINDS[kind], count=1_000):
            match self.redis.type(key):
                case b"zset":
                    members: Any = self.redis.zrange(key, 0, -1, withscores=True)
                    found |= {key + b" " + member: score for member, score in members}
                case b"hash":
                    fields: Any = self.redis.hgetall(key)
                    found |= {key + b" " + name: value for name, value in fields.items()}
                case _:
                    found[key] = None
        return found

    def uncommitted(self, group: str, topic: str | None = None) -> int:
        """Records of a topic, ``shop.events`` if none is named, that a group has not committed."""
        topic = topic or self.topics.events
        admin = KafkaAdminClient(**self.kafka.client())
        try:
            offsets = admin.list_group_offsets(group)
        finally:
            admin.close()
        offsets = offsets.get(group, offsets)
        done = sum(max(0, at.offset) for partition, at in offsets.items() if partition.topic == topic)
        return self.ends(topic) - int(done)

    def ends(self, topic: str) -> int:
        """How many records a topic has had."""
        consumer = KafkaConsumer(**self.kafka.client(), group_id=None, enable_auto_commit=False)
        try:
            partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
            return sum(int(end) for end in consumer.end_offsets(partitions).values())
        finally:
            consumer.close()

    def shelves_read(self) -> bool:
        """Whether all shelves are made, and the evaluator has read them."""
        return not self.uncommitted(WORKERS) and not self.uncommitted(f"{EVALUATORS}-shelves", self.topics.shelves)

    def settled(self) -> bool:
        """Whether all events are through, all impressions closed, and all examples where they belong."""
        if any(self.uncommitted(group) for group in (WORKERS, EVALUATORS)) or waiting(self.redis, EVALUATORS):
            return False
        if any(self.redis.hlen(key) for key in self.redis.scan_iter(f"ls:{{{EVALUATORS}.*}}:examples")):
            return False
        return len({one.id for one in self.archived()}) >= len({one.id for one in self.examples()})

    def compared(self) -> dict[str, Compared]:
        """What must be equal whatever happened on the way."""
        found: dict[str, Compared] = {"the last shelf of each shopper": dict(self._feeds())}
        found["shelves that were seen, on their topic"] = dict.fromkeys(self.rounds.shelves & set(self._made()), True)
        for kind in MEMORY:
            found[kind] = self.held(kind)
        told = totals(self.redis, EVALUATORS)
        found["closed, orphan and late, by what"] = {name: n for name, n in told.items() if "." in name}
        found["rates by minute, arm, model and place"] = self._rates()
        found["examples on the topic"] = self._labels(self.examples())
        found["examples on disk"] = dict(Counter(one.id for one in self.archived()))
        found["dead letters"] = {
            (one.source.value or b"").decode("utf-8", "replace"): one.reason
            for one in dead_letters.read(self.kafka, self.topics_config)
        }
        for group in (WORKERS, EVALUATORS):
            found[f"events that {group} has not committed"] = {group: self.uncommitted(group)}
        found["open impressions"] = self.held("open impressions")
        return found

    def examples(self) -> list[example.LabelledExample]:
        """All records of the examples' topic."""
        return [
            example.decoder.decode(one.value) for one in contents(StreamsConfig(kafka=self.kafka), self.topics.examples)
        ]

    def archived(self) -> list[example.LabelledExample]:
        """All examples on disk."""
        return list(self.archive.read(0, FOREVER))

    def again(self) -> dict[str, int]:
        """What there is more than once, which is allowed: deliveries are."""
        told: dict[str, Counter[Any]] = {
            "examples": Counter(one.id for one in self.examples()),
            "dead letters": Counter(one.source.value for one in dead_letters.read(self.kafka, self.topics_config)),
            "shelves": Counter(self._made()),
        }
        return {f"{what} on their topic again": counts.total() - len(counts) for what, counts in told.items()}

    def _made(self) -> list[str]:
        records = (
            record_decoder.decode(one.value) for one in contents(StreamsConfig(kafka=self.kafka), self.topics.shelves)
        )
        return [record.shelf.shelf_id for record in records]

    def _feeds(self) -> Iterator[tuple[str, str]]:
        for shopper in self.rounds.shoppers:
            value: Any = self.redis.get(keys.feed(shopper))
            yield shopper, shelf_decoder.decode(value).shelf_id if value else "none"

    def _rates(self) -> dict[str, float]:
        sums: Counter[str] = Counter()
        for name, value in self.held("rates by minute").items():
            cut = msgspec.msgpack.decode(name.partition(b" ")[2])
            sums[str(cut)] += float(value)  # type: ignore[assignment]
        return {cut: round(value, 6) for cut, value in sums.items()}

    def _labels(self, examples: list[example.LabelledExample]) -> dict[str, Any]:
        return {one.id: (one.shopper, one.item_id, one.intent, one.value, one.model, one.arm) for one in examples}


def apart(found: Compared, wanted: Compared) -> tuple[int, int, str]:
    """How many entries are missing or otherwise, how many too many, and one of them.

    Examples
    --------
    >>> apart({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4})
    (2, 0, 'b: 2, and not 3')
    """
    missing = [name for name in wanted if name not in found or found[name] != wanted[name]]
    more = [name for name in found if name not in wanted]
    one = next(iter([*missing, *more]), None)
    said = "" if one is None else f"{one!s}: {found.get(one)!s}, and not {wanted.get(one)!s}"
    return len(missing), len(more), said[:200]
