"""A Kafka record as the pure parts see it, and the interface through which they send records."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from streams.clock import came_ms
from streams.events.decode import Refusal

Header = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class Record:
    """A record that was read: its place, its timestamp (epoch ms) and its bytes; ``timestamp_type`` is Kafka's number
    for the clock of the timestamp. Where its value was decoded by a schema, ``raw`` is what stands on the topic; where
    it could not be, ``refusal`` says why."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[Header] = field(default=())
    timestamp_type: int = 0
    raw: bytes | None = None
    refusal: Refusal | None = None

    def came_ms(self, now_ms: int) -> int:
        """When it came, as :func:`streams.clock.came_ms` says."""
        return came_ms(self.timestamp_ms, self.timestamp_type, now_ms)


def place(records: Sequence[Record]) -> str:
    """The place of a batch, by its first record.

    Examples
    --------
    >>> records = [Record("shop.events", 3, offset, 0, None, None, ()) for offset in (812, 813)]
    >>> place(records), place(records[:1]), place([])
    ('shop.events/3 offset 812 and 1 more', 'shop.events/3 offset 812', '')
    """
    if not records:
        return ""
    first, more = records[0], len(records) - 1
    return f"{first.topic}/{first.partition} offset {first.offset}" + (f" and {more} more" if more else "")


@dataclass(frozen=True, slots=True)
class Unsent:
    """Why a record can never be sent: it is too large, or the broker does not accept its form."""

    kind: Literal["too_large", "unacceptable"]
    detail: str


Sent = list[Awaitable[object]]
"""Records on their way to Kafka; each is done once the broker has it, or has refused it for good."""


class Send(Protocol):
    """Hands a record to Kafka.

    The call returns as soon as the record is queued. The awaitable that it returns gives None once the broker has the
    record, or :class:`Unsent` where the broker refuses this record however often it is sent. It raises an error that
    keeps the broker from taking any record; then nothing that depends on this record may be committed.
    """

    def __call__(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Sequence[Header] = ()
    ) -> Awaitable[Unsent | None]: ...
