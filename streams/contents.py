"""What a topic holds now: read once, from its beginning or a moment on, to where it ended when reading began."""

from collections.abc import Iterator
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from streams.config import KafkaConfig


def contents(kafka: KafkaConfig, topic: str, *, group: str | None = None, since_ms: int | None = None) -> Iterator[Any]:
    """All messages, oldest first in each partition.

    Parameters
    ----------
    group
        A consumer group: messages before its committed offsets are left out.
    since_ms
        Messages from before this moment (epoch ms, by their timestamps) are left out.
    """
    consumer = KafkaConsumer(**kafka.client(), group_id=group, enable_auto_commit=False, auto_offset_reset="earliest")
    try:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions) if partitions else {}
        if since_ms is not None and partitions:
            for partition, start in consumer.offsets_for_times(dict.fromkeys(partitions, since_ms)).items():
                consumer.seek(partition, start.offset if start is not None else ends[partition])
        while any(consumer.position(partition) < ends[partition] for partition in partitions):
            for messages in consumer.poll(timeout_ms=500).values():
                yield from messages
    finally:
        consumer.close()
