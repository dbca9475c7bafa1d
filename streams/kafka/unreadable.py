"""What of Kafka cannot be read now: a book of it in every process, its place in snapshots, and the words for people."""

from collections.abc import Iterable

from aiokafka import TopicPartition

from streams.kafka.record_batches import Unreadable
from streams.telemetry.meter import Series

NAME = "unreadable"


class Book:
    """The partitions that stand still, by who reads them; a process has one book.

    Examples
    --------
    >>> book = Book()
    >>> book.put("reader", TopicPartition("shop.events", 3), Unreadable(812, 822, "its checksum is wrong"))
    >>> words(book.series())
    ['shop.events/3 cannot be read at offset 812: its checksum is wrong. To step over it: \
liveshelf dead-letters skip shop.events 3 812']
    >>> book.forget("reader")
    >>> book.series()
    []
    """

    def __init__(self) -> None:
        self._stopped: dict[tuple[int, TopicPartition], Unreadable] = {}

    def put(self, reader: object, partition: TopicPartition, bad: Unreadable) -> None:
        """A partition stands still for a reader."""
        self._stopped[id(reader), partition] = bad

    def take(self, reader: object, partition: TopicPartition) -> None:
        """It is read on."""
        self._stopped.pop((id(reader), partition), None)

    def forget(self, reader: object) -> None:
        """A reader is closed."""
        for one in list(self._stopped):
            if one[0] == id(reader):
                self._stopped.pop(one, None)

    def series(self) -> list[Series]:
        """One value for each partition that stands still, for a snapshot."""
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


book = Book()
"""This process's."""


def words(series: Iterable[Series]) -> list[str]:
    """Sentences for people about what cannot be read, each once, from the series of any number of snapshots."""
    return sorted(
        {
            f"{at['topic']}/{at['partition']} cannot be read at offset {at['offset']}: {at['error']}. "
            f"To step over it: liveshelf dead-letters skip {at['topic']} {at['partition']} {at['offset']}"
            for one in series
            if one.name == NAME and {"topic", "partition", "offset", "error"} <= (at := one.labels).keys()
        }
    )
