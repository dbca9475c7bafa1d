"""One encoded item as it travels on ``liveshelf.embeddings``: the item, its vectors, and where it came from.

The topic is compacted by item and encoder version, so reading it from the start gives every worker the whole encoded
catalogue, for the encoder in charge and for others beside it. All records of an item are in one partition. A record
without a value deletes: with an origin, it is the item that was deleted; without, only what this encoder made of it.
Knows the bytes only; nothing of consuming, encoding or indexes.
"""

import hashlib
from collections.abc import Sequence

import msgspec

from streams.events import Item

ORIGIN_HEADER = "origin"
SEPARATOR = b"\0"
"""Between item and encoder version in a key; no item id has it, nor any other control character."""


class Origin(msgspec.Struct, frozen=True, array_like=True, order=True):
    """Place of the ``shop.items`` record that an embedding was made from.

    Examples
    --------
    >>> Origin(0, 5).before(Origin(0, 6)), Origin(0, 5).before(Origin(1, 4))
    (True, False)
    """

    partition: int
    offset: int

    def before(self, other: "Origin") -> bool:
        """Whether this is an earlier state of the same item; different partitions cannot be compared."""
        return self.partition == other.partition and self.offset < other.offset

    def header(self) -> tuple[str, bytes]:
        """As a Kafka header, which a delete can carry as well."""
        return ORIGIN_HEADER, f"{self.partition}:{self.offset}".encode()


class Embedding(msgspec.Struct, frozen=True, array_like=True):
    """The value: MessagePack array, vectors last.

    ``encoder`` is the version of what made the vectors and ``text`` the hash of what it read; when both are unchanged,
    an item's update (a price, a stock) needs no BERT pass.
    """

    item: Item
    encoder: str
    text: str
    vectors: bytes


encoder = msgspec.msgpack.Encoder()
decoder = msgspec.msgpack.Decoder(Embedding)


def key(item_id: str, version: str) -> bytes:
    """The key of what an encoder's version made of an item.

    Examples
    --------
    >>> key("1", "mini@0a1b"), split(key("1", "mini@0a1b"))
    (b'1\\x00mini@0a1b', ('1', 'mini@0a1b'))
    """
    return SEPARATOR.join((item_id.encode("utf-8", "replace"), version.encode("utf-8", "replace")))


def split(record_key: bytes) -> tuple[str, str]:
    """The item and the encoder's version that a key names; the version is empty in a key of another layout."""
    item_id, _, version = record_key.partition(SEPARATOR)
    return item_id.decode("utf-8", "replace"), version.decode("utf-8", "replace")


def origin(headers: Sequence[tuple[str, bytes]]) -> Origin | None:
    """The origin a record's headers tell, if they do.

    Examples
    --------
    >>> origin([Origin(1, 2).header()])
    Origin(partition=1, offset=2)
    """
    for name, value in headers or ():
        if name == ORIGIN_HEADER:
            partition, _, offset = value.decode("ascii", "replace").partition(":")
            return Origin(int(partition), int(offset)) if partition.isdigit() and offset.isdigit() else None
    return None


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
