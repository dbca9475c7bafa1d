"""The shelf: what is written to Redis for a frontend, and to ``liveshelf.shelves`` for the evaluator.

Knows the shape and its bytes; nothing of how the items were chosen or of the Redis connection.
"""

import hashlib

import msgspec


class ShelfItem(msgspec.Struct, frozen=True):
    """One ranked item: utility, the probabilities behind it, and where the candidate came from."""

    item_id: str
    score: float
    buy: float
    read: float
    look: float
    reason: str


class Shelf(msgspec.Struct, frozen=True, kw_only=True):
    """The value under a shelf key. Times are epoch milliseconds.

    ``event_ts`` is the time of the newest event the shelf knows of; an older shelf never replaces a newer one.
    """

    shelf_id: str
    surface: str
    model: str
    arm: str
    made_at: int
    event_ts: int
    items: list[ShelfItem]


class ShelfRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What ``liveshelf.shelves`` keeps of a shelf: the shelf, whom it was for, and each item's propensity.

    ``propensities[i]`` is the probability, under the policy that made the shelf, that ``items[i]`` stood at place
    ``i``; it is what inverse-propensity estimates divide by.
    """

    key: str
    shopper: str | None
    query: str | None
    shelf: Shelf
    propensities: list[float]


def shelf_id(surface: str, key: str, event_id: str, model: str) -> str:
    """A shelf's id: the same for the same cause, so a repeated event makes the same shelf, not a second one.

    Examples
    --------
    >>> len(shelf_id("feed", "shelf:feed:u1", "e1", "m"))
    24
    >>> shelf_id("feed", "shelf:feed:u1", "e1", "m") == shelf_id("feed", "shelf:feed:u1", "e1", "m")
    True
    """
    digest = hashlib.blake2b("\x1f".join((surface, key, event_id, model)).encode("utf-8", "replace"), digest_size=12)
    return digest.hexdigest()


encoder = msgspec.json.Encoder()
shelf_decoder = msgspec.json.Decoder(Shelf)
record_decoder = msgspec.json.Decoder(ShelfRecord)
