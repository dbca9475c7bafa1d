"""The wall clock, in the unit every timestamp here has, and which times are believed."""

import math
import time
from typing import Annotated

from msgspec import Meta

AHEAD_MS = 3_600_000
"""So far the clock of another machine may be ahead of ours; what claims to be from later is not believed."""

Moment = Annotated[int, Meta(ge=0, le=253_402_300_799_999, description="Milliseconds since the Unix epoch.")]
"""From 1970 to the end of the year 9999, the last one that a date can be made of."""


class FutureError(ValueError):
    """Something claims to be from a time that has not come."""


def wall_ms() -> int:
    """Now, epoch milliseconds."""
    return time.time_ns() // 1_000_000


def not_ahead(time_ms: int, now_ms: int, what: str) -> None:
    """Nothing where a time has come, by any clock that is about right.

    Raises
    ------
    FutureError
        When it has not.

    Examples
    --------
    >>> not_ahead(5_000, 4_000, "made_at")
    >>> not_ahead(90_000_000, 4_000, "made_at")
    Traceback (most recent call last):
    ...
    streams.clock.FutureError: made_at is 89996 s ahead of the clock
    """
    if time_ms - now_ms > AHEAD_MS:
        raise FutureError(f"{what} is {(time_ms - now_ms) // 1_000} s ahead of the clock")


def span(ms: float) -> str:
    """A duration in words, rounded up so that what is left is never nothing.

    Examples
    --------
    >>> [span(ms) for ms in (400, 61_000, 3_600_000, 5_400_000, 172_800_000)]
    ['1 s', '2 min', '1 h', '1 h 30 min', '48 h']
    """
    seconds = math.ceil(ms / 1000)
    if seconds < 60:
        return f"{seconds} s"
    hours, minutes = divmod(math.ceil(seconds / 60), 60)
    return " ".join(f"{count} {unit}" for count, unit in ((hours, "h"), (minutes, "min")) if count)
