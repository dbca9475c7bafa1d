"""What of Kafka cannot be read now: noticed, kept in one book of the process, reported, and put in words for people.

A partition counts where a batch is refused, and where its broker answers without records although it holds more, as it
does where a batch's length is damaged. Knows nothing of how records are read.
"""

from collections.abc import Hashable, Iterable

from aiokafka import TopicPartition

from streams.kafka.record_batches import Unreadable
from streams.telemetry.meter import Series

NAME = "unreadable"


class UnreadablePartitions:
    """The partitions that stand still, by who reads them; a process has one book.

    Examples
    --------
    >>> book = UnreadablePartitions()
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


book = UnreadablePartitions()
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


SILENT_S = 45.0
"""So long a partition may bring nothing; shorter than the watchdog's time, after which a process is begun anew."""

ERROR = "the broker holds more, but gives no records from here on"


class SilenceDetector:
    """Where each partition has brought nothing, and since when.

    An open transaction is no silence, for what is behind it is not told as an end. A partition that is not asked for
    gives no answers, and so none that are empty.

    Parameters
    ----------
    silent_s
        After so long of empty answers at one offset a partition is suspected.

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
        """Take an answer without records from an offset on, and the partition's end as told with it; whether the
        partition is suspected now."""
        if offset >= end:
            self.forget(partition)
            return False
        at, since = self._since.get(partition, (None, now_s))
        if at != offset:
            since = now_s
        self._since[partition] = offset, since
        return now_s - since >= self.silent_s

    def forget(self, partition: Hashable) -> None:
        """It brought something."""
        self._since.pop(partition, None)
