"""The shelf: what is written to Redis for a frontend, and to ``liveshelf.shelves`` for the evaluator.

Knows the shape and its bytes; nothing of how the items were chosen or of the Redis connection.
"""

import hashlib

import msgspec
import numpy as np
import numpy.typing as npt

from models.encoded import quantise


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


class Vector(msgspec.Struct, frozen=True, array_like=True):
    """A text's embedding: which encoder made it, and its direction as int8 [D], since only that matters."""

    encoder: str
    values: bytes


class ShelfRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What ``liveshelf.shelves`` keeps of a shelf: the shelf, whom it was for, and each item's propensity.

    ``propensities[i]`` is the probability, under the policy that made the shelf, that ``items[i]`` stood at place
    ``i``; it is what inverse-propensity estimates divide by. ``vector`` is the query's embedding.

    The context is kept as it was served, for whoever learns from what came of the shelf must see what the model saw:
    ``history`` are the items whose past touches the shelf was ranked by, newest first (for similar items, the item that
    they are similar to), ``asked`` the past queries, ``weights`` how much each of both counted, in that order, and
    ``popularity[i]`` how much ``items[i]`` was in demand, in 0..1.
    """

    key: str
    shopper: str | None
    query: str | None
    shelf: Shelf
    propensities: list[float]
    history: list[str] = []
    asked: list[str] = []
    weights: list[float] = []
    popularity: list[float] = []
    vector: Vector | None = None


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


def direction(encoder: str, pooled: npt.NDArray[np.float32]) -> Vector:
    """An embedding [D], cut down to its direction.

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
    """The record, or where its JSON is larger than ``max_bytes`` less of it: first it loses what it was ranked by, then
    its last items.

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
        record = msgspec.structs.replace(record, history=[], asked=[], weights=[], vector=None)
        size = len(encoder.encode(record))
    while size > max_bytes and record.shelf.items:
        count = len(record.shelf.items) * max_bytes // (size + 1)
        record = msgspec.structs.replace(
            record,
            shelf=msgspec.structs.replace(record.shelf, items=record.shelf.items[:count]),
            propensities=record.propensities[:count],
            popularity=record.popularity[:count],
        )
        size = len(encoder.encode(record))
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
