"""The receipt of a shopper that was forgotten, as on ``liveshelf.forgotten``, in Redis and as the command prints it.

Knows the shape and its bytes; nothing of where things are removed.
"""

from typing import Any

import msgspec

from streams.clock import Moment, not_ahead
from streams.events.schema import Id


class Removed(msgspec.Struct, frozen=True):
    """How many things were removed: remembered actions on items, queries, items bought, attributes of the profile,
    hours of counted cells, links to sessions, shelves, and pages that were seen."""

    items: int = 0
    queries: int = 0
    bought: int = 0
    attributes: int = 0
    hours: int = 0
    shelves: int = 0
    sessions: int = 0
    pages: int = 0

    def __add__(self, other: "Removed") -> "Removed":
        """
        Examples
        --------
        >>> (Removed(items=2) + Removed(items=1, shelves=3)).items
        3
        """
        both = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)
        return Removed(*(one + another for one, another in both))


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What forgetting a shopper removed. Times are epoch milliseconds.

    ``before`` is the time of the ``forget`` event: what happened up to then is removed, and is ignored until
    ``ignored_until`` if it comes again. ``known`` is false where nothing was kept. ``shoppers`` are all that were
    forgotten: the user, the session, and the sessions whose memory was the user's.
    """

    event_id: Id
    before: Moment
    removed_at: Moment
    ignored_until: int
    known: bool
    shoppers: list[Id]
    removed: Removed
    user_id: Id | None = None
    session_id: Id | None = None


encoder = msgspec.json.Encoder(order="deterministic")
decoder = msgspec.json.Decoder(Receipt)


def parse(message: Any, came_ms: int) -> Receipt:
    """The receipt of a consumed Kafka message; for :class:`streams.kafka.guard.Guard`.

    Raises
    ------
    ValueError
        When it is no receipt, or its time is in the future.
    """
    receipt = decoder.decode(message.value or b"")
    not_ahead(receipt.before, came_ms, "the forgotten event")
    return receipt
