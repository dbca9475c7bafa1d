"""One Kafka record as the pure parts see it, and the door they send through."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

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


Sent = list[Awaitable[None]]
"""Records on their way to Kafka; each is done once the broker has it."""


class Send(Protocol):
    """Hands a record to Kafka.

    The call returns as soon as the record is queued; awaiting what it returns waits until the broker has it, and raises
    what the broker refused.
    """

    def __call__(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Sequence[Header] = ()
    ) -> Awaitable[None]: ...
