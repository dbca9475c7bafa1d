"""One encoded item on ``liveshelf.embeddings``: the item, its vectors, and its origin.

The topic is compacted by item and encoder version, so reading it from the start gives every worker the whole encoded
catalogue, for the champion's encoder and for others. All records of an item are in one partition. A record without a
value is a delete: with an origin it deletes the item, without one only this encoder's record of it.
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
    """Which ``shop.items`` record an embedding was made from: its partition, offset and timestamp.

    Within a partition the higher offset is the later state of an item. But a topic that was created again counts from
    0: a lower offset with a later timestamp is later. Across partitions the later timestamp wins; one key is in two
    partitions if its producers hash it differently. With equal timestamps the higher partition wins. A state without a
    timestamp, as earlier versions wrote it, is older than any state with one in another partition.

    Parameters
    ----------
    timestamp_ms
        Epoch milliseconds of the record, -1 if not known. Two origins are equal if partition and offset are.

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
        """Whether this is an earlier state of the same item. Of two states without timestamps in different partitions,
        neither is earlier."""
        if self.partition == other.partition:
            recreated = self.timestamp_ms > other.timestamp_ms >= 0
            return self.offset < other.offset and not recreated
        if self.timestamp_ms == other.timestamp_ms:
            return self.timestamp_ms >= 0 and self.partition < other.partition
        return self.timestamp_ms < other.timestamp_ms

    def after(self, known: "Origin | None") -> "Origin | None":
        """This state if it replaces the known one, else None.

        Within a partition it takes the later of both timestamps, since its producer's clock may have gone back: a state
        is later than all states before it. So any interleaving of the partitions, with any repetition, ends with the
        same state.

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
        """As a Kafka header, which a delete can carry too.

        Examples
        --------
        >>> Origin(1, 2, 3).header(), Origin(1, 2).header()
        (('origin', b'1:2:3'), ('origin', b'1:2'))
        """
        known = (self.partition, self.offset, self.timestamp_ms)
        return ORIGIN_HEADER, ":".join(str(part) for part in known if part >= 0).encode()


class Embedding(msgspec.Struct, frozen=True, array_like=True):
    """The value: MessagePack array, vectors last.

    ``encoder`` is the version of the encoder that made the vectors, ``text`` the hash of the text it read. If both are
    unchanged, an update of an item (price, stock) needs no BERT pass.
    """

    item: Item
    encoder: Annotated[str, Meta(min_length=1, max_length=512)]
    text: Annotated[str, Meta(max_length=64)]
    vectors: bytes

    @classmethod
    def of(cls, item: Item, encoder: str, encoded: EncodedItem) -> "Embedding":
        """An item's vectors, made of its text now by an encoder of this version."""
        return cls(item, encoder, text_hash(text(item)), encoded.to_bytes())


class Place(NamedTuple):
    """The key and headers of a record: the item, the encoder version, and which state of the item it is."""

    item_id: str
    version: str
    origin: Origin | None


class Entry(NamedTuple):
    """A record of the topic: its place, and the embedding; None if it is a delete."""

    place: Place
    embedding: Embedding | None


encoder = msgspec.msgpack.Encoder()
decoder = msgspec.msgpack.Decoder(Embedding)


def key(item_id: str, version: str) -> bytes:
    """The key of an encoder version's record of an item.

    Examples
    --------
    >>> key("1", "mini@0a1b")
    b'1\\x00mini@0a1b'
    """
    return SEPARATOR.join((item_id.encode("utf-8", "replace"), version.encode("utf-8", "replace")))


def origin(headers: Iterable[tuple[str, bytes | None]] | None) -> Origin | None:
    """The origin in a record's headers; None if there is none. Earlier versions wrote no timestamp.

    Raises
    ------
    ValueError
        When the header is not an origin.

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
                raise ValueError(
                    f"the header {ORIGIN_HEADER} is {(value or b'')[:40]!r}, not a partition, an offset and a timestamp"
                )
            return Origin(*(int(part) for part in found.groups() if part is not None))
    return None


_ORIGIN = re.compile(rb"([0-9]{1,9}):([0-9]{1,18})(?::([0-9]{1,15}))?")


def place(message: Any) -> Place:
    """The place that the key and headers of a consumed Kafka message name.

    Raises
    ------
    ValueError
        When they are invalid.
    """
    item_id, separator, version = (message.key or b"").partition(SEPARATOR)
    if not separator or not version:
        raise ValueError("the key names no encoder, as in an earlier layout: send the item again")
    return Place(msgspec.convert(item_id.decode(), Id), version.decode(), origin(message.headers))


def parse(message: Any, _came_ms: int) -> Entry:
    """The entry of a consumed Kafka message; for :class:`streams.kafka.guard.Guard`.

    :func:`vectors` checks whether its vectors can be used; those of another encoder need not.

    Raises
    ------
    ValueError
        When the message is no entry.
    """
    found = place(message)
    if message.value is None:
        return Entry(found, None)
    embedding = decoder.decode(message.value)
    if (embedding.item.item_id, embedding.encoder) != (found.item_id, found.version):
        raise ValueError(f"the key names {found[:2]}, the value {(embedding.item.item_id, embedding.encoder)}")
    return Entry(found, embedding)


def vectors(embedding: Embedding, dim: int, token_dim: int) -> EncodedItem:
    """The vectors of an embedding, checked to have the encoder's widths and unit length.

    Raises
    ------
    models.encoded.EncodedError
        When they cannot be used.
    """
    encoded = EncodedItem.from_bytes(embedding.vectors)
    if (found := (len(encoded.pooled), encoded.tokens.shape[1])) != (dim, token_dim):
        raise EncodedError(f"vectors of {found[0]} and {found[1]} dimensions, not of {dim} and {token_dim}")
    if float(np.linalg.norm(encoded.pooled.astype(np.float32))) > LONGEST:
        raise EncodedError("a mean that is longer than unit length")
    if len(encoded.scales) and 127 * float(encoded.scales.max()) > LONGEST:
        raise EncodedError("a token that is longer than unit length")
    return encoded


LONGEST = 1.1
"""Unit length, with a margin for rounding."""


def text(item: Item) -> str:
    """The text of an item that the encoder reads: title first, since only the first word pieces are kept.

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
    """A short stable hash of the encoded text."""
    return hashlib.blake2b(item_text.encode("utf-8", "replace"), digest_size=8).hexdigest()
