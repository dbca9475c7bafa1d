"""Detects and reports Kafka partitions that cannot be read now, and describes them in sentences for people.

A partition is unreadable where a batch is refused, and where its broker returns no records although it holds more, for
example because a batch's length is damaged. Knows nothing of how records are read.
"""

from collections.abc import Hashable, Iterable

from aiokafka import TopicPartition

from streams.kafka.record_batches import Unreadable
from streams.telemetry.meter import Series

NAME = "unreadable"


class UnreadablePartitions:
    """The stopped partitions of each reader.

    Examples
    --------
    >>> partitions = UnreadablePartitions()
    >>> partitions.put("reader", TopicPartition("shop.events", 3), Unreadable(812, 822, "its checksum is wrong"))
    >>> words(partitions.series())
    ['shop.events/3 cannot be read at offset 812: its checksum is wrong. To step over it: \
liveshelf dead-letters skip shop.events 3 812']
    >>> partitions.forget("reader")
    >>> partitions.series()
    []
    """

    def __init__(self) -> None:
        self._stopped: dict[tuple[int, TopicPartition], Unreadable] = {}

    def put(self, reader: object, partition: TopicPartition, bad: Unreadable) -> None:
        """Record that a reader's partition is stopped."""
        self._stopped[id(reader), partition] = bad

    def remove(self, reader: object, partition: TopicPartition) -> None:
        """Record that a reader's partition is read again."""
        self._stopped.pop((id(reader), partition), None)

    def forget(self, reader: object) -> None:
        """Remove all partitions of a reader that is closed."""
        for one in list(self._stopped):
            if one[0] == id(reader):
                self._stopped.pop(one, None)

    def series(self) -> list[Series]:
        """One value for each stopped partition, for a snapshot."""
        stopped = {partition: bad for (_, partition), bad in sorted(self._stopped.copy().items())}
        return [
            Series(
                NAME,
                {
                    "topic": partition.topic,
                    "partition": str(partition.partition),
                    "offset": str(bad.offset),
                    "error": bad.error,
                },
                1.0,
            )
            for partition, bad in stopped.items()
        ]


unreadable_partitions = UnreadablePartitions()
"""The stopped partitions of this process."""


def words(series: Iterable[Series]) -> list[str]:
    """Sentences for people about unreadable partitions, each once, from the series of any number of snapshots."""
    return sorted(
        {
            f"{at['topic']}/{at['partition']} cannot be read at offset {at['offset']}: {at['error']}. "
            f"To step over it: liveshelf dead-letters skip {at['topic']} {at['partition']} {at['offset']}"
            for one in series
            if one.name == NAME and {"topic", "partition", "offset", "error"} <= (at := one.labels).keys()
        }
    )


SILENT_S = 45.0
"""How long a partition may give no records; shorter than the watchdog's time, after which the process restarts."""

ERROR = "the broker holds more, but gives no records from here on"


class SilenceDetector:
    """Detects partitions that give only empty answers although they hold more.

    An open transaction is no silence, because the end that the broker reports is before it. A partition that is not
    fetched gives no answers, and so no empty ones.

    Parameters
    ----------
    silent_s
        A partition is suspected after empty answers at one offset for so long.

    Examples
    --------
    >>> silence = SilenceDetector(silent_s=45)
    >>> [silence.update("shop.events/3", 812, end, now) for now, end in ((0, 812), (10, 900), (54, 900), (55, 900))]
    [False, False, False, True]
    >>> silence.forget("shop.events/3")
    >>> silence.update("shop.events/3", 820, 900, 56)
    False
    """

    def __init__(self, silent_s: float) -> None:
        self.silent_s = silent_s
        self._since: dict[Hashable, tuple[int, float]] = {}

    def update(self, partition: Hashable, offset: int, end: int, now_s: float) -> bool:
        """Add an empty answer from an offset on, with the partition's end; whether the partition is suspected now."""
        if offset >= end:
            self.forget(partition)
            return False
        at, since = self._since.get(partition, (None, now_s))
        if at != offset:
            since = now_s
        self._since[partition] = offset, since
        return now_s - since >= self.silent_s

    def forget(self, partition: Hashable) -> None:
        """Start anew for a partition, since it gave records."""
        self._since.pop(partition, None)
