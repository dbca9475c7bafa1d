"""One encoded item as it travels on ``liveshelf.embeddings``: the item, its vectors, and where it came from.

The topic is compacted by item and encoder version, so reading it from the start gives every worker the whole encoded
catalogue, for the encoder in charge and for others beside it. All records of an item are in one partition. A record
without a value deletes: with an origin, it is the item that was deleted; without, only what this encoder made of it.
Knows the bytes only; nothing of consuming, encoding or indexes.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta

from models.encoded import EncodedError, EncodedItem
from streams.events.schema import Id, Item
from streams.kafka.topics import SEPARATOR

ORIGIN_HEADER = "origin"


@dataclass(frozen=True, slots=True)
class Origin:
    """Which ``shop.items`` record an embedding was made from: its place, and when it was produced.

    Within a partition offsets decide which of two states of an item is the later one, but a topic that was made anew
    counts from 0 again: a lower offset with a later timestamp is later. Across partitions, where one key stands when
    its producers hash it differently, timestamps decide; of equal ones the higher partition. A state without a
    timestamp, as earlier versions wrote it, is older than any in another partition that has one.

    Parameters
    ----------
    timestamp_ms
        Epoch milliseconds of the record, -1 where it is not known. Two origins are equal where their places are.

    Examples
    --------
    >>> Origin(0, 5).before(Origin(0, 6)), Origin(0, 5).before(Origin(1, 4))
    (True, False)
    >>> Origin(0, 5, 2_000).before(Origin(1, 4, 3_000)), Origin(0, 5, 3_000).before(Origin(1, 4, 2_000))
    (True, False)
    >>> Origin(0, 5, 2_000).before(Origin(1, 4, 2_000)), Origin(1, 4, 2_000).before(Origin(0, 5, 2_000))
    (True, False)
    >>> Origin(0, 5, 2_000).before(Origin(0, 6, 2_000)), Origin(0, 5, 3_000).before(Origin(0, 6, 2_000))
    (True, False)
    """

    partition: int
    offset: int
    timestamp_ms: int = field(default=-1, compare=False)

    def before(self, other: "Origin") -> bool:
        """Whether this is an earlier state of the same item; of two without timestamps in different partitions neither
        is."""
        if self.partition == other.partition:
            anew = self.timestamp_ms > other.timestamp_ms >= 0
            return self.offset < other.offset and not anew
        if self.timestamp_ms == other.timestamp_ms:
            return self.timestamp_ms >= 0 and self.partition < other.partition
        return self.timestamp_ms < other.timestamp_ms

    def after(self, known: "Origin | None") -> "Origin | None":
        """This state if it takes the known one's place, else None.

        It takes over the later of both timestamps within a partition: its producer's clock may have gone back, and what
        is later than a state is later than what that replaced. So any interleaving of the partitions, with any
        repetition, ends with the same state.

        Examples
        --------
        >>> Origin(0, 6, 1_000).after(Origin(0, 5, 4_000))
        Origin(partition=0, offset=6, timestamp_ms=4000)
        >>> Origin(1, 0, 3_000).after(Origin(0, 6, 4_000)) is None
        True
        """
        if known is None:
            return self
        if self.before(known):
            return None
        if self.partition == known.partition and self.timestamp_ms < known.timestamp_ms:
            return replace(self, timestamp_ms=known.timestamp_ms)
        return self

    def header(self) -> tuple[str, bytes]:
        """As a Kafka header, which a delete can carry as well.

        Examples
        --------
        >>> Origin(1, 2, 3).header(), Origin(1, 2).header()
        (('origin', b'1:2:3'), ('origin', b'1:2'))
        """
        known = (self.partition, self.offset, self.timestamp_ms)
        return ORIGIN_HEADER, ":".join(str(part) for part in known if part >= 0).encode()


class Embedding(msgspec.Struct, frozen=True, array_like=True):
    """The value: MessagePack array, vectors last.

    ``encoder`` is the version of what made the vectors and ``text`` the hash of what it read; when both are unchanged,
    an item's update (a price, a stock) needs no BERT pass.
    """

    item: Item
    encoder: Annotated[str, Meta(min_length=1, max_length=512)]
    text: Annotated[str, Meta(max_length=64)]
    vectors: bytes


class Place(NamedTuple):
    """What key and headers say: which item and whose record of it this is, and which state of the item."""

    item_id: str
    version: str
    origin: Origin | None


class Entry(NamedTuple):
    """A record of the topic: its place, and what was made of the item; None where it deletes."""

    place: Place
    made: Embedding | None


encoder = msgspec.msgpack.Encoder()
decoder = msgspec.msgpack.Decoder(Embedding)


def key(item_id: str, version: str) -> bytes:
    """The key of what an encoder's version made of an item.

    Examples
    --------
    >>> key("1", "mini@0a1b")
    b'1\\x00mini@0a1b'
    """
    return SEPARATOR.join((item_id.encode("utf-8", "replace"), version.encode("utf-8", "replace")))


def origin(headers: Iterable[tuple[str, bytes | None]] | None) -> Origin | None:
    """The origin a record's headers tell; None where they tell none. Earlier versions wrote no timestamp.

    Raises
    ------
    ValueError
        When they tell one that is none.

    Examples
    --------
    >>> origin([Origin(1, 2, 3).header()]), origin([("origin", b"1:2")])
    (Origin(partition=1, offset=2, timestamp_ms=3), Origin(partition=1, offset=2, timestamp_ms=-1))
    >>> origin([("origin", b"here")])
    Traceback (most recent call last):
    ...
    ValueError: the header origin is b'here', not a partition, an offset and a timestamp
    """
    for name, value in headers or ():
        if name == ORIGIN_HEADER:
            found = _ORIGIN.fullmatch(value or b"")
            if found is None:
                told = (value or b"")[:40]
                raise ValueError(f"the header {ORIGIN_HEADER} is {told!r}, not a partition, an offset and a timestamp")
            return Origin(*(int(part) for part in found.groups() if part is not None))
    return None


_ORIGIN = re.compile(rb"([0-9]{1,9}):([0-9]{1,18})(?::([0-9]{1,15}))?")


def place(message: Any) -> Place:
    """What the key and the headers of a consumed Kafka message say.

    Raises
    ------
    ValueError
        When they say nothing that can be.
    """
    item_id, separator, version = (message.key or b"").partition(SEPARATOR)
    if not separator or not version:
        raise ValueError("the key names no encoder, as in an earlier layout: send the item again")
    return Place(msgspec.convert(item_id.decode(), Id), version.decode(), origin(message.headers))


def parse(message: Any, _came_ms: int) -> Entry:
    """The entry of a consumed Kafka message; for :class:`streams.kafka.guard.Guard`.

    Whether its vectors can be used is told by :func:`vectors`: those of another encoder need not.

    Raises
    ------
    ValueError
        When it is none.
    """
    found = place(message)
    if message.value is None:
        return Entry(found, None)
    made = decoder.decode(message.value)
    if (made.item.item_id, made.encoder) != (found.item_id, found.version):
        raise ValueError(f"the key names {found[:2]}, the value {(made.item.item_id, made.encoder)}")
    return Entry(found, made)


def vectors(made: Embedding, dim: int, token_dim: int) -> EncodedItem:
    """What an encoder made, where it is of its widths and of unit length.

    Raises
    ------
    models.encoded.EncodedError
        When it cannot be used.
    """
    encoded = EncodedItem.from_bytes(made.vectors)
    if (found := (len(encoded.pooled), encoded.tokens.shape[1])) != (dim, token_dim):
        raise EncodedError(f"vectors of {found[0]} and {found[1]} dimensions, not of {dim} and {token_dim}")
    if float(np.linalg.norm(encoded.pooled.astype(np.float32))) > LONGEST:
        raise EncodedError("a mean that is longer than unit length")
    if len(encoded.scales) and 127 * float(encoded.scales.max()) > LONGEST:
        raise EncodedError("a token that is longer than unit length")
    return encoded


LONGEST = 1.1
"""Unit length, and some for rounding."""


def text(item: Item) -> str:
    """What the encoder reads of an item: title first, since only the first word pieces are kept.

    Examples
    --------
    >>> text(Item(item_id="1", title="HDMI cable", brand="Acme", category="Cables", description="Two metres."))
    'HDMI cable. Acme. Cables. Two metres.'
    >>> text(Item(item_id="1", title="Acme HDMI cable", brand="Acme"))
    'Acme HDMI cable'
    """
    title = item.title.strip()
    brand = "" if item.brand.lower() in title.lower() else item.brand
    return ". ".join(part for part in (title, brand, item.category, item.description[:1000]) if part)


def text_hash(item_text: str) -> str:
    """A short stable hash of what was encoded."""
    return hashlib.blake2b(item_text.encode("utf-8", "replace"), digest_size=8).hexdigest()
