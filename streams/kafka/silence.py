"""Notices a partition whose broker answers without records although it holds more: as where a batch's length is damaged
on the broker's disk.

Pure: takes answers and a clock. Whether such a partition is silent when it is asked for alone, and what becomes of it,
is the consumer's business.
"""

from collections.abc import Hashable

SILENT_S = 45.0
"""So long a partition may bring nothing; shorter than the watchdog's time, after which a process is begun anew."""
ERROR = "the broker holds more, but gives no records from here on"


class Silence:
    """Where each partition has brought nothing, and since when.

    An open transaction is no silence, for what is behind it is not told as an end. A partition that is not asked for
    gives no answers, and so none that are empty.

    Parameters
    ----------
    silent_s
        After so long of empty answers at one offset a partition is suspected.

    Examples
    --------
    >>> silence = Silence(silent_s=45)
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
