"""The wall clock, in the unit every timestamp here has, and which times are believed.

Whether a time has come is asked of a record, not of whoever reads it: the same log then says the same whenever it is
read. What has no record, such as a file, a live page, or a partition in which nothing arrives, is asked at the clock.
"""

import math
import time
from collections.abc import Callable
from typing import Annotated

from msgspec import Meta

AHEAD_MS = 3_600_000
"""So far the clock of another machine may be ahead of the broker's; what claims to be from later is not believed."""

BY_BROKER = 1
"""Kafka's number for records that their broker dated (``LogAppendTime``); others are dated by their producer."""

Moment = Annotated[int, Meta(ge=0, le=253_402_300_799_999, description="Milliseconds since the Unix epoch.")]
"""From 1970 to the end of the year 9999, the last one that a date can be made of."""


class FutureError(ValueError):
    """A time is in the future."""


def wall_ms() -> int:
    """The time now, epoch milliseconds."""
    return time.time_ns() // 1_000_000


def came_ms(timestamp_ms: int | None, timestamp_type: int | None, now_ms: int) -> int:
    """When a record came, epoch milliseconds: the event in it has happened by then.

    That is the broker's time where that dated it: no producer can set it, and it is the same whenever the record is
    read, and whatever clock its reader has. A producer may set any time, also one that has not come: then it is the
    earlier of that and ``now_ms``.

    Examples
    --------
    >>> came_ms(7_000, BY_BROKER, 4_000), came_ms(7_000, BY_BROKER, 9_000)
    (7000, 7000)
    >>> came_ms(7_000, 0, 4_000), came_ms(7_000, 0, 9_000), came_ms(-1, 0, 9_000)
    (4000, 7000, 9000)
    """
    if timestamp_ms is None or timestamp_ms < 0:
        return now_ms
    return timestamp_ms if timestamp_type == BY_BROKER else min(timestamp_ms, now_ms)


def passed_ms() -> int:
    """Milliseconds since any moment: only differences mean something, and no clock that is set changes them."""
    return time.monotonic_ns() // 1_000_000


class BrokersClock:
    """What time it is by the brokers' clocks: never later, and hardly earlier where records are read as they come.

    A record that its broker dated was dated before it was read, so since then at least that much has passed. Until one
    is read, it is this machine's clock.

    Examples
    --------
    >>> passed = iter([100, 200, 300]).__next__
    >>> clock = BrokersClock(passed, lambda: 9)
    >>> clock()
    9
    >>> clock.saw(50_000, BY_BROKER)
    >>> clock.saw(50_030, BY_BROKER)  # was read later than the one before, after it was written
    >>> clock.saw(99_999, 0)
    >>> clock()
    50200
    """

    def __init__(self, passed: Callable[[], int] = passed_ms, wall: Callable[[], int] = wall_ms) -> None:
        self._passed, self._wall = passed, wall
        self._ahead: int | None = None

    def saw(self, timestamp_ms: int, timestamp_type: int) -> None:
        """Take note of a record that was read now; of one that its producer dated, nothing."""
        if timestamp_type == BY_BROKER:
            ahead = timestamp_ms - self._passed()
            self._ahead = ahead if self._ahead is None else max(self._ahead, ahead)

    def __call__(self) -> int:
        """Now, epoch milliseconds."""
        return self._wall() if self._ahead is None else self._passed() + self._ahead


def not_ahead(time_ms: int, came_ms: int, what: str) -> None:
    """Return if a time is not later than its record, give or take what clocks differ by.

    Raises
    ------
    FutureError
        When it is.

    Examples
    --------
    >>> not_ahead(5_000, 4_000, "made_at")
    >>> not_ahead(90_000_000, 4_000, "made_at")
    Traceback (most recent call last):
    ...
    streams.clock.FutureError: made_at is 89996 s ahead of when it came
    """
    if time_ms - came_ms > AHEAD_MS:
        raise FutureError(f"{what} is {(time_ms - came_ms) // 1_000} s ahead of when it came")


def span(ms: float) -> str:
    """A duration in words, rounded up so that it is never zero.

    Examples
    --------
    >>> [span(ms) for ms in (400, 90_000, 121_000, 3_600_000, 5_400_000, 172_800_000)]
    ['1 s', '90 s', '3 min', '1 h', '1 h 30 min', '48 h']
    """
    seconds = math.ceil(ms / 1000)
    if seconds < 120:
        return f"{seconds} s"
    hours, minutes = divmod(math.ceil(seconds / 60), 60)
    return " ".join(f"{count} {unit}" for count, unit in ((hours, "h"), (minutes, "min")) if count)


class StreamClock:
    """The time of a stream: that of its newest event, and what has gone by since that came. Live it is the wall clock;
    while a history is replayed it goes with the history.

    Examples
    --------
    >>> clock = StreamClock()
    >>> clock.update(5_000, 9_000)
    >>> clock.update(4_000, 9_500)
    >>> clock.get(10_000)
    6000
    """

    def __init__(self) -> None:
        self.newest_ms, self._came_ms = 0, 0

    def update(self, ts: int, now_ms: int) -> None:
        """Take in an event of a time that came now, epoch ms both."""
        if ts > self.newest_ms:
            self.newest_ms, self._came_ms = ts, now_ms

    def get(self, now_ms: int) -> int:
        """The stream's time now, epoch ms; 0 before the first event."""
        return self.newest_ms and self.newest_ms + max(0, now_ms - self._came_ms)
