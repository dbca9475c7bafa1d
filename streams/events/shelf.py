"""The shelf, as written to Redis for a frontend and to ``liveshelf.shelves`` for the evaluator.

Knows the schema and its bytes; nothing of how the items were chosen or of the Redis connection.
"""

import hashlib
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from models.encoded import quantise
from streams.clock import Moment, not_ahead
from streams.events.schema import Id

Chance = Annotated[float, Meta(ge=0, le=1.01)]
"""A probability, with a margin for rounding."""

Utility = Annotated[float, Meta(ge=-1e9, le=1e9)]
Name = Annotated[str, Meta(max_length=512)]
Query = Annotated[str, Meta(max_length=16_384)]
"""A normalised query; normalising can turn one character into eighteen."""

Key = Annotated[str, Meta(max_length=200_000)]
"""A Redis key: an id and a query, escaped, up to nine bytes a character."""

MOST = 1_000
OTHERS = 10
Items = Meta(max_length=MOST)


class ShelfItem(msgspec.Struct, frozen=True, gc=False):
    """One ranked item: its utility, the predicted probabilities, and what it owes its place to, ``KIND`` or
    ``KIND:PART:PART…`` with escaped parts."""

    item_id: Id
    score: Utility
    buy: Chance
    read: Chance
    look: Chance
    reason: Name


class Shelf(msgspec.Struct, frozen=True, kw_only=True):
    """The value under a shelf key. Times are epoch milliseconds.

    ``event_ts`` is the time of the newest event that the shelf includes; an older shelf never replaces a newer one.
    """

    shelf_id: Id
    surface: Name
    model: Name
    arm: Name
    made_at: Moment
    event_ts: Moment
    items: Annotated[list[ShelfItem], Items]


class Vector(msgspec.Struct, frozen=True, array_like=True):
    """A text's embedding: its encoder, and its direction as int8 [D]; its length is not needed."""

    encoder: Name
    values: Annotated[bytes, Meta(min_length=1, max_length=8_192)]


class RankedRows(msgspec.Struct, frozen=True, array_like=True):
    """What a feed's items were ranked by, and some candidates that were ranked with them and not shown.

    Attributes
    ----------
    columns
        Names the features and their meaning (:data:`streams.features.behaviour.COLUMNS`); who does not know the name
        cannot read the values.
    values
        Float16 [items + others, F] in C order, little-endian: of the shelf's items in their order, then of the others.
        NaN is "not known".
    others
        Candidates that might have been shown and were not, at most :data:`OTHERS`, drawn at random.
    popularity
        The demand for each of the others, 0 to 1.
    unshown
        Of how many the others were drawn: each had the chance ``len(others) / unshown``.
    bought
        How many items the shopper had bought.
    """

    columns: Name
    values: Annotated[bytes, Meta(max_length=1_000_000)]
    others: Annotated[list[Id], Items] = []
    popularity: Annotated[list[Chance], Items] = []
    unshown: Annotated[int, Meta(ge=0, le=MOST)] = 0
    bought: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0

    def whole(self, items: int) -> bool:
        """Whether its parts fit each other and so many items."""
        count = len(self.others)
        fit = count == len(self.popularity) and count <= self.unshown
        return fit and not len(self.values) % (2 * (items + count)) if items + count else not self.values

    def of(self, place: int, items: int) -> "RankedRows":
        """What belongs to the item at a place of so many: its row, and those of the others that are given to it, so
        that all items together have each of the others once."""
        mine = range(place, len(self.others), items)
        size = len(self.values) // (items + len(self.others))
        rows = [self.values[row * size : (row + 1) * size] for row in (place, *(items + other for other in mine))]
        return msgspec.structs.replace(
            self,
            values=b"".join(rows),
            others=[self.others[other] for other in mine],
            popularity=[self.popularity[other] for other in mine],
        )


class ShelfRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A record of ``liveshelf.shelves``: the shelf, its shopper, and each item's propensity.

    ``propensities[i]`` is the probability, under the policy that made the shelf, that ``items[i]`` is at place ``i``;
    inverse-propensity estimates divide by it. ``sources[i]`` names the sources that found ``items[i]``, joined by
    ``+``. ``vector`` is the query's embedding. ``filter`` names the filter that all items pass, as the key does.

    The context is kept as the model saw it, since training on the shelf's clicks needs the same input. ``history`` are
    the past items that the shelf was ranked by, newest first (for similar items, the item that they are similar to).
    ``asked`` are the past queries. ``weights`` are the weights of the items, then of the queries. ``popularity[i]`` is
    the demand for ``items[i]``, 0 to 1. ``renewed`` is true of a feed that was made again without an event. ``ranked``
    is what a feed was ranked by, where it was by behaviour.
    """

    key: Key
    shopper: Id | None
    query: Query | None
    shelf: Shelf
    propensities: list[Chance]
    history: Annotated[list[Id], Items] = []
    asked: Annotated[list[Query], Items] = []
    weights: list[Utility] = []
    popularity: list[Chance] = []
    vector: Vector | None = None
    sources: Annotated[list[Name], Items] = []
    filter: Name | None = None
    renewed: bool = False
    ranked: RankedRows | None = None


def shelf_id(surface: str, key: str, event_id: str, model: str) -> str:
    """A shelf's id. Equal inputs give the same id, so a repeated event makes the same shelf, not a second one.

    Examples
    --------
    >>> len(shelf_id("feed", "shelf:feed:u1", "e1", "m"))
    24
    >>> shelf_id("feed", "shelf:feed:u1", "e1", "m") == shelf_id("feed", "shelf:feed:u1", "e1", "m")
    True
    """
    digest = hashlib.blake2b("\x1f".join((surface, key, event_id, model)).encode("utf-8", "replace"), digest_size=12)
    return digest.hexdigest()


def direction(encoder: str, pooled: npt.NDArray[np.float32]) -> Vector:
    """An embedding [D], reduced to its direction.

    Examples
    --------
    >>> restored(direction("mini", np.array([3.0, 4.0], np.float32))).round(2).tolist()
    [0.6000000238418579, 0.800000011920929]
    """
    values, _ = quantise(pooled[None, :])
    return Vector(encoder, values.tobytes())


def restored(vector: Vector) -> npt.NDArray[np.float32]:
    """The embedding's direction as a unit vector, float32 [D]."""
    values = np.frombuffer(vector.values, np.int8).astype(np.float32)
    found: npt.NDArray[np.float32] = values / max(float(np.linalg.norm(values)), 1e-9)
    return found


encoder = msgspec.json.Encoder()
shelf_decoder = msgspec.json.Decoder(Shelf)
record_decoder = msgspec.json.Decoder(ShelfRecord)


def bounded(record: ShelfRecord, max_bytes: int) -> ShelfRecord:
    """The record, shortened if its JSON is larger than ``max_bytes``: first its context and what it was ranked by are
    removed, then its last items.

    Examples
    --------
    >>> item = ShelfItem("x" * 200, 1.0, 0.1, 0.2, 0.3, "vector")
    >>> shelf = Shelf(shelf_id="s", surface="feed", model="m", arm="a", made_at=1, event_ts=1, items=[item] * 20)
    >>> record = ShelfRecord(key="k", shopper="u", query=None, shelf=shelf, propensities=[1.0] * 20, asked=["q" * 999])
    >>> [(len(one.asked), len(one.shelf.items), len(one.propensities))
    ...     for one in (bounded(record, limit) for limit in (9_000, 6_500, 1_000))]
    [(1, 20, 20), (0, 20, 20), (0, 2, 2)]
    """
    size = len(encoder.encode(record))
    if size > max_bytes:
        record = msgspec.structs.replace(record, history=[], asked=[], weights=[], vector=None, ranked=None)
        size = len(encoder.encode(record))
    while size > max_bytes and record.shelf.items:
        count = len(record.shelf.items) * max_bytes // (size + 1)
        record = msgspec.structs.replace(
            record,
            shelf=msgspec.structs.replace(record.shelf, items=record.shelf.items[:count]),
            propensities=record.propensities[:count],
            popularity=record.popularity[:count],
            sources=record.sources[:count],
        )
        size = len(encoder.encode(record))
    return record


class Encoded(NamedTuple):
    """A record as it is sent and as a frontend reads it.

    Attributes
    ----------
    record
        The record, shortened if it was too large.
    value, shelf
        The JSON of the record, and of its shelf alone, with as many of its first items as fit.
    """

    record: ShelfRecord
    value: bytes
    shelf: bytes


def encoded(record: ShelfRecord, max_bytes: int, max_shelf_bytes: int) -> Encoded:
    """A record as :func:`bounded` leaves it and its shelf as :func:`fitted` does; where both fit, encoded only once.

    Examples
    --------
    >>> shelf = Shelf(shelf_id="s", surface="feed", model="m", arm="a", made_at=1, event_ts=1, items=[])
    >>> record = ShelfRecord(key="k", shopper="u", query=None, shelf=shelf, propensities=[])
    >>> found = encoded(record, 1_000, 1_000)
    >>> record_decoder.decode(found.value) == record, shelf_decoder.decode(found.shelf) == shelf
    (True, True)
    """
    shelf = encoder.encode(record.shelf)
    value = encoder.encode(msgspec.structs.replace(record, shelf=msgspec.Raw(shelf)))
    if len(value) > max_bytes:
        record = bounded(record, max_bytes)
        shelf, value = encoder.encode(record.shelf), encoder.encode(record)
    if len(shelf) > max_shelf_bytes:
        shelf = fitted(record.shelf, max_shelf_bytes)
    return Encoded(record, value, shelf)


def parse(message: Any, came_ms: int) -> ShelfRecord:
    """The shelf record of a consumed Kafka message; for :class:`streams.kafka.guard.Guard`.

    Raises
    ------
    ValueError
        When it is no valid record: it is from the future, or its lists have different lengths.
    """
    record = record_decoder.decode(message.value or b"")
    not_ahead(max(record.shelf.made_at, record.shelf.event_ts), came_ms, "the shelf")
    count = len(record.shelf.items)
    told = len(record.propensities), len(record.popularity), len(record.sources)
    if told[0] != count or not set(told) <= {0, count}:
        raise ValueError(f"{count} items, but {told[0]} propensities, {told[1]} popularities and {told[2]} sources")
    if len(record.weights) not in (0, len(record.history) + len(record.asked)):
        raise ValueError(
            f"{len(record.weights)} weights of {len(record.history)} items and {len(record.asked)} queries"
        )
    if record.ranked is not None and not record.ranked.whole(count):
        raise ValueError(f"what the feed was ranked by does not fit its {count} items")
    return record


def fitted(shelf: Shelf, max_bytes: int) -> bytes:
    """The shelf's JSON, with as many of its first items as fit into ``max_bytes``.

    Examples
    --------
    >>> item = ShelfItem("x" * 200, 1.0, 0.1, 0.2, 0.3, "vector")
    >>> shelf = Shelf(shelf_id="s", surface="feed", model="m", arm="a", made_at=1, event_ts=1, items=[item] * 20)
    >>> len(fitted(shelf, 1_000)) <= 1_000
    True
    """
    value = encoder.encode(shelf)
    while len(value) > max_bytes and shelf.items:
        shelf = msgspec.structs.replace(shelf, items=shelf.items[: len(shelf.items) * max_bytes // (len(value) + 1)])
        value = encoder.encode(shelf)
    return value
