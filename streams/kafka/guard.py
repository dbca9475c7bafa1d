"""Parses the records of a topic for its consumer: a record becomes a value, or a refusal with a reason.

Total: a guard never raises, whatever a record's key, value, headers and time are. It counts refusals, and logs them
with the record's place at a bounded rate. A ``parse`` function beside the value's type defines the format. Knows
nothing of where records are read from or of what values are for.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import msgspec
from google.protobuf.message import DecodeError

from streams.clock import FutureError, came_ms, wall_ms
from streams.events.decode import Refusal, refuse
from streams.telemetry.meter import Meter

log = logging.getLogger(__name__)

T = TypeVar("T")

LOG_EVERY_S = 10.0

Parse = Callable[[Any, int], T]
"""Makes a value from a consumed message and its arrival time (epoch ms); its exception is the reason of a refusal."""


def parsed(parse: Parse[T], message: Any, now_ms: int) -> T | Refusal:
    """A message's value, or why there is none; pure, and total.

    Reasons: ``malformed`` (the bytes cannot be decoded), ``invalid`` (they can, but the content is not allowed),
    ``future``, and ``internal`` where parsing fails in an unexpected way.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> parsed(lambda message, now: int(message.value), SimpleNamespace(value=b"7"), 0)
    7
    >>> parsed(lambda message, now: int(message.value), SimpleNamespace(value=b"x"), 0).reason
    'invalid'
    """
    try:
        written = getattr(message, "timestamp", None), getattr(message, "timestamp_type", None)
        return parse(message, came_ms(*written, now_ms))
    except Exception as error:
        return _refusal(error)


class Guard(Generic[T]):
    """Parses the records of one topic, for one consumer.

    Parameters
    ----------
    what
        The name of the topic's records, in the log and in the count ``unreadable.{what}``.
    parse
        Makes a value from a message.
    meter
        Counts refusals; None for processes without metrics.

    Attributes
    ----------
    refused
        The number of refusals so far.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> def message(value: bytes) -> SimpleNamespace:
    ...     return SimpleNamespace(topic="numbers", partition=0, offset=7, value=value)
    >>> meter = Meter("worker", "w", 0)
    >>> guard = Guard("numbers", lambda message, now: int(message.value), meter)
    >>> [value for _, value in guard.values([message(b"1"), message(b"junk"), message(b"2")])]
    [1, 2]
    >>> guard.refused, meter.snapshot(1).counts
    (1, {'unreadable.numbers': 1})
    """

    def __init__(
        self,
        what: str,
        parse: Parse[T],
        meter: Meter | None = None,
        clock: Callable[[], int] = wall_ms,
        every_s: float = LOG_EVERY_S,
    ) -> None:
        self.what, self.parse, self.meter, self.clock, self.every_s = what, parse, meter, clock, every_s
        self.refused = 0
        self._logged_at = float("-inf")
        self._logged = 0

    def __call__(self, message: Any) -> T | Refusal:
        """The message's value, or why it was refused."""
        found = parsed(self.parse, message, self.clock())
        if isinstance(found, Refusal):
            self.note(message, found)
        return found

    def values(self, messages: Iterable[Any]) -> Iterator[tuple[Any, T]]:
        """The messages that can be read, each with its value; the others are left out."""
        for message in messages:
            found = self(message)
            if not isinstance(found, Refusal):
                yield message, found

    def hand(self, message: Any, take: Callable[[T], object]) -> bool:
        """Pass a message's value to ``take``; a value that ``take`` fails on is refused, too. Whether it was taken."""
        found = self(message)
        if isinstance(found, Refusal):
            return False
        try:
            take(found)
        except Exception as error:
            self.note(message, _refusal(error, "internal"))
            return False
        return True

    def note(self, message: Any, refusal: Refusal) -> None:
        """Count and log a refusal; called directly where a message proves bad after it was parsed."""
        self.refused += 1
        if self.meter is not None:
            self.meter.count(f"unreadable.{self.what}")
        now = time.monotonic()
        if now - self._logged_at < self.every_s:
            return
        more, self._logged, self._logged_at = self.refused - self._logged - 1, self.refused, now
        log.warning(
            "%s[%s]@%s cannot be read as one of the %s and is passed over, as %d before it: %s: %s",
            getattr(message, "topic", "?"),
            getattr(message, "partition", "?"),
            getattr(message, "offset", "?"),
            self.what,
            more,
            refusal.reason,
            refusal.detail,
        )


def _refusal(error: Exception, reason: str | None = None) -> Refusal:
    """A refusal with the error's text, in one printable line of bounded length."""
    try:
        words = " ".join(str(error).split())
    except Exception:  # the text itself may fail, for example with a number of a million digits
        words = "?"
    shown = "".join(letter if letter.isprintable() else "?" for letter in words[:2_000])
    return refuse(
        reason or _reason(error), shown if isinstance(error, ValueError) else f"{type(error).__name__}: {shown}"
    )


def _reason(error: Exception) -> str:
    match error:
        case FutureError():
            return "future"
        case msgspec.ValidationError():
            return "invalid"
        case msgspec.DecodeError() | UnicodeError() | DecodeError():
            return "malformed"
        case ValueError():
            return "invalid"
    return "internal"
