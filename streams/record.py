"""One Kafka record as the pure parts see it, and the door they send through."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

Header = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class Record:
    """A record read: where it stood, when it was produced (epoch ms), and its bytes."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[Header] = field(default=())


@dataclass(frozen=True, slots=True)
class Unsent:
    """Why a record can never be sent: larger than is taken, or of a form that is not."""

    kind: Literal["too_large", "unacceptable"]
    detail: str


Sent = list[Awaitable[object]]
"""Records on their way to Kafka; each is done once the broker has it, or will never take it."""


class Send(Protocol):
    """Hands a record to Kafka.

    The call returns as soon as the record is queued. Awaiting what it returns waits until the broker has it, and then
    gives None; or gives :class:`Unsent` where this one record is refused, however often it is sent. It raises what
    keeps the broker from taking any record: then nothing that depends on this one may be committed.
    """

    def __call__(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Sequence[Header] = ()
    ) -> Awaitable[Unsent | None]: ...
