"""Everything a worker knows of the items on sale: their fields, their vectors, and the two indexes over them.

An item has a numbered slot. All that is known of it lies in arrays by slot, so that a million items take no Python
objects, and several processes can map them (`streams.catalog.snapshot`). Knows nothing of Kafka: the input is
embeddings with their origin.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.encoded import EncodedError, EncodedItem
from models.encoder import Encoder
from models.item_store import PARTS, ItemStore
from streams.catalog import filtered
from streams.catalog.attributes import Attributes, Matching
from streams.catalog.columns import Names, Origins, Sink, Source, Texts, grown, hashed
from streams.catalog.embedding import Embedding, Origin, text, vectors
from streams.catalog.lexical_index import LexicalIndex
from streams.catalog.vector_index import VectorIndex
from streams.events.filters import IN_STOCK, Filter
from streams.events.schema import Item

log = logging.getLogger(__name__)

VECTORS = "vectors.usearch"
"""The vector index's file in a snapshot."""

RECENT = 1_024
"""Items that are known to be the newest ones without a search."""

FACTS: Mapping[str, tuple[type, float]] = {
    "live": (np.bool_, False),
    "in_stock": (np.bool_, False),
    "brand": (np.int32, -1),
    "group": (np.int32, -1),
    "price": (np.float64, np.nan),
    "since": (np.int64, 0),
    "texts": (np.int64, 0),
}
"""The columns of a catalogue: their type, and what an empty slot has."""

item_encoder = msgspec.msgpack.Encoder()
item_decoder = msgspec.msgpack.Decoder(Item)

Slots = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Change:
    """One record of the embeddings topic: an upsert, or a delete when there is no embedding.

    ``encoder`` is the version whose record was deleted. Without it, the delete is for all encoders.
    """

    item_id: str
    embedding: Embedding | None
    origin: Origin | None
    encoder: str | None = None


class Groups(Mapping[str, str]):
    """The group of variants of each held item that has one."""

    def __init__(self, catalogue: "Catalog") -> None:
        self._catalogue = catalogue

    def __getitem__(self, item_id: str) -> str:
        group = self._catalogue.group_of(item_id)
        if not group:
            raise KeyError(item_id)
        return group

    def __iter__(self) -> Iterator[str]:
        return iter(self._catalogue.ids(self._slots()))

    def __len__(self) -> int:
        return len(self._slots())

    def __bool__(self) -> bool:
        return self._catalogue.grouped > 0

    def _slots(self) -> Slots:
        return np.flatnonzero(self._catalogue.live & (self._catalogue.group >= 0))


class Catalog:
    """The items of one shop in one worker.

    Parameters
    ----------
    encoder
        Gives word pieces for the lexical index. Its version is the one that embeddings must have.

    Attributes
    ----------
    live, in_stock, brand, group, price
        By slot: whether it holds an item, and of that whether it can be sold, the numbers of its brand and of the group
        of variants that it is one of (-1: none), and its price (NaN: none). They may be longer than there are slots.
    grouped
        How many items are of a group.
    texts
        By slot, a hash of the text that was encoded.
    changes, since
        How often an item came or went, and of each slot the number of the last such change: as long as that number
        stays, the slot holds the same item, or none.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.item_store = ItemStore(encoder.dim, encoder.token_dim, encoder.max_item_tokens)
        self.vectors = VectorIndex(encoder.dim)
        self.lexical = LexicalIndex()
        self.attributes = Attributes()
        self.live = np.zeros(0, dtype=np.bool_)
        self.in_stock = np.zeros(0, dtype=np.bool_)
        self.brand = self.group = np.zeros(0, dtype=np.int32)
        self.price = np.zeros(0)
        self.since = self.texts = np.zeros(0, dtype=np.int64)
        self.changes = self.foreign = self.grouped = 0
        self.brands, self._groups = Names(), Names()
        self._regrouped: dict[str, None] = {}
        self._slots, self._origins, self._items = Names(), Origins(), Texts()
        self._recent: dict[int, None] = {}
        self._uncommitted = False
        self._grow(1_024)

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._slots

    @property
    def groups(self) -> Groups:
        """The group of each held item that has one."""
        return Groups(self)

    def slot(self, item_id: str) -> int | None:
        """An item's slot; None if the item is not held."""
        slot = self._slots.find(item_id)
        return slot if slot >= 0 else None

    def on_sale(self, item_id: str) -> bool:
        """Whether an item is held and in stock."""
        slot = self._slots.find(item_id)
        return slot >= 0 and bool(self.in_stock[slot])

    def slots(self, item_ids: Sequence[str]) -> Slots:
        """Slots of the held ones of these items, in the order given."""
        slots = np.fromiter(map(self._slots.find, item_ids), np.int64, len(item_ids))
        return slots[slots >= 0]

    def group_of(self, item_id: str) -> str:
        """The group of variants that a held item is one of; empty if there is none."""
        slot = self._slots.find(item_id)
        number = int(self.group[slot]) if slot >= 0 else -1
        return self._groups.name(number) if number >= 0 else ""

    def item(self, slot: int) -> Item:
        """The item in a slot.

        Raises
        ------
        KeyError
            When the slot is empty.
        """
        stored = self._items.get(slot)
        if stored is None:
            raise KeyError(slot)
        return item_decoder.decode(stored)

    def ids(self, slots: Slots) -> list[str]:
        """The ids of the items in some slots.

        Raises
        ------
        KeyError
            When a slot is empty.
        """
        return list(map(self._slots.name, slots.tolist()))

    def variants(self, slots: Slots, among: Slots) -> NDArray[np.bool_]:
        """Which of the slots ``among`` are of a group of variants that one of some slots is of, bool [n]."""
        groups = self.group[slots]
        groups = groups[groups >= 0]
        if not len(groups):
            return np.zeros(len(among), np.bool_)
        found: NDArray[np.bool_] = np.isin(self.group[among], groups)
        return found

    def take_regrouped(self) -> list[str]:
        """The items that came to a group or left one since the last call."""
        found, self._regrouped = list(self._regrouped), {}
        return found

    def title(self, slot: int) -> str:
        """An item's title, for scorers that read text."""
        return self.item(slot).title

    def newest(self, k: int) -> Slots:
        """The items that were added or changed last: shown when there are no other candidates."""
        if len(self._recent) < min(k, len(self)):
            live = Matching(self.live, len(self), self.attributes.stamps)
            self._recent = dict.fromkeys(reversed(live.newest(max(k, RECENT)).tolist()))
        return np.fromiter(islice(reversed(self._recent), k), dtype=np.int64)

    def matching(self, wanted: Filter, in_stock: bool = False) -> Matching:
        """The items that match a filter and, if so wanted, are in stock: under it `nearest` and `sharing` search, and
        it has its own newest."""
        return self.attributes.matching(wanted, self.in_stock if in_stock or IN_STOCK in wanted.values else self.live)

    def nearest(self, queries: NDArray[np.float32], k: int, matching: Matching) -> list[Slots]:
        """The matching items nearest to each of some vectors, best first; see `streams.catalog.filtered`."""
        return filtered.nearest(self.vectors, self.item_store.pooled, queries, k, matching)

    def sharing(self, pieces: Sequence[str], k: int, matching: Matching) -> Slots:
        """The matching items that share word pieces with a query, best first."""
        return filtered.lexical(self.lexical, pieces, k, matching)

    def encoded(self, item_id: str, text_hash: str) -> EncodedItem | None:
        """An item's vectors if this encoder encoded the same text before; else None."""
        slot = self._slots.find(item_id)
        return self.item_store.get(slot) if slot >= 0 and self.texts[slot] == hashed(text_hash) else None

    def vectors_of(self, embedding: Embedding) -> EncodedItem:
        """The vectors of an embedding.

        Raises
        ------
        models.encoded.EncodedError
            When they cannot be used: other widths, or invalid values.
        """
        return vectors(embedding, self.encoder.dim, self.encoder.token_dim)

    def apply(self, changes: Sequence[Change]) -> int:
        """Apply changes. Of one item the latest state wins (`Origin.after`), else the one given last.

        Embeddings of another encoder version are not applied, only counted in ``foreign``. But if the item's text has
        not changed, its other fields (price, stock) are. An earlier state of an item never replaces a later one.

        Returns
        -------
        int
            How many changes were applied.
        """
        last: dict[str, Change] = {}
        origins: dict[str, Origin | None] = {}
        foreign: list[Change] = []
        for change in changes:
            version = change.encoder if change.embedding is None else change.embedding.encoder
            if version is not None and version != self.encoder.version:
                foreign.append(change)
                continue
            known = origins[change.item_id] if change.item_id in last else self._origin(change.item_id)
            later = change.origin and change.origin.after(known)
            if change.origin is not None and later is None:
                continue
            last[change.item_id], origins[change.item_id] = change, later
        puts: list[tuple[int, EncodedItem]] = []
        for change in last.values():
            if change.embedding is None:
                self._delete(change.item_id)
            else:
                try:
                    encoded = self.vectors_of(change.embedding)
                except EncodedError as error:
                    log.error("the vectors of %r cannot be read: %s", change.item_id, error)
                    self.foreign += 1
                else:
                    puts.append((self._put(origins[change.item_id], change.embedding), encoded))
        if puts:
            slots = [slot for slot, _ in puts]
            self.item_store.put_many(slots, [encoded for _, encoded in puts])
            self.vectors.put_many(slots, np.stack([encoded.pooled for _, encoded in puts]).astype(np.float32))
        self._uncommitted = self._uncommitted or bool(last)
        return len(last) + sum(map(self._apply_fields, foreign))

    def commit(self) -> None:
        """Make changes visible to lexical search; cheap if there are none."""
        if self._uncommitted:
            self.lexical.commit()
            self._uncommitted = False

    def save(self, to: Sink) -> None:
        """Write all but the lexical index, whose files are linked (`LexicalIndex.copy_files`)."""
        count = self._slots.reach
        for part, pieces in self.item_store.arrays(count).items():
            to.pieces(f"store.{part}", pieces)
        to.array("store.used", self.item_store.used(count), count)
        to.array("vectors.held", self.vectors.save(to.folder / VECTORS, count), count)
        for name, (_, empty) in FACTS.items():
            to.array(f"facts.{name}", getattr(self, name), count, empty)
        for name, held in (("slots", self._slots), ("brands", self.brands), ("groups", self._groups)):
            held.save(to, name)
        self._origins.save(to, "origins")
        self._items.save(to, "items")
        self.attributes.save(to, count)
        to.value("counts", [self.changes, self.grouped])

    def restore(self, source: Source, lexical: LexicalIndex) -> None:
        """Read what :meth:`save` wrote for the same encoder, in place of nothing; changed only if that succeeds.

        Raises
        ------
        ValueError, KeyError, OSError, msgspec.MsgspecError
            When the files are not such as :meth:`save` writes.
        """
        slots, brands, groups, origins, items = Names(), Names(), Names(), Origins(), Texts()
        attributes, vectors = Attributes(), VectorIndex(self.encoder.dim)
        for name, held in (("slots", slots), ("brands", brands), ("groups", groups)):
            held.restore(source, name)
        origins.restore(source, "origins")
        items.restore(source, "items")
        attributes.restore(source)
        vectors.attach(source.folder / VECTORS, source.array("vectors.held"))
        changes, grouped = source.value("counts", list[int])
        facts = {name: source.array(f"facts.{name}") for name in FACTS}
        if len(lexical) != len(slots):
            raise ValueError(f"words of {len(lexical)} items, but {len(slots)} items")
        self.item_store.attach({part: source.array(f"store.{part}") for part in PARTS}, source.array("store.used"))
        for name, column in facts.items():
            setattr(self, name, column)
        self._slots, self.brands, self._groups, self._origins, self._items = slots, brands, groups, origins, items
        self.attributes, self.vectors, self.lexical = attributes, vectors, lexical
        self.changes, self.grouped = self.changes + changes, grouped

    def _put(self, origin: Origin | None, embedding: Embedding) -> int:
        item, text_of = embedding.item, hashed(embedding.text)
        slot = self._slots.find(item.item_id)
        new = slot < 0
        if new:
            slot = self._slots.number(item.item_id)
            self._grow(slot + 1)
            self._changed(slot)
        if new or self.texts[slot] != text_of:
            self.lexical.put(slot, self.encoder.word_pieces([text(item)])[0])
        self._items.put(slot, item_encoder.encode(msgspec.structs.replace(item, description="", attributes={})))
        self.texts[slot] = text_of
        if origin is not None:
            self._origins.put(slot, origin)
        self._regroup(slot, item.item_id, item.group_id or "")
        self.live[slot] = True
        self.in_stock[slot] = item.in_stock
        self.brand[slot] = self.brands.number(item.brand)
        self.price[slot] = np.nan if item.price is None else item.price
        self.attributes.put(slot, item)
        self._recent.pop(slot, None)
        self._recent[slot] = None  # last in the dict: newest
        if len(self._recent) > 2 * RECENT:
            self._recent = dict.fromkeys([*self._recent][-RECENT:])
        return slot

    def _apply_fields(self, change: Change) -> bool:
        """Apply the fields of another encoder's record of an item, if its text is unchanged and the record is newer."""
        if change.embedding is None:
            return False
        slot = self._slots.find(change.item_id)
        known = self._origins.get(slot)
        later = change.origin and change.origin.after(known)
        stale = change.origin is not None and (later is None or later == known)
        if stale or slot < 0 or self.texts[slot] != hashed(change.embedding.text):
            self.foreign += 1
            return False
        self._put(later, change.embedding)
        return True

    def _delete(self, item_id: str) -> None:
        slot = self._slots.find(item_id)
        if slot < 0:
            return
        self._changed(slot)
        self._regroup(slot, item_id, "")
        self._slots.drop(item_id)
        self._items.drop(slot)
        self._origins.drop(slot)
        self.live[slot] = self.in_stock[slot] = False
        self.item_store.drop(slot)
        self.vectors.drop(slot)
        self.lexical.drop(slot)
        self.attributes.drop(slot)
        self._recent.pop(slot, None)

    def _origin(self, item_id: str) -> Origin | None:
        return self._origins.get(self._slots.find(item_id))

    def _regroup(self, slot: int, item_id: str, group: str) -> None:
        """Let an item be of a group, or of none, in place of the one it is of."""
        before, now = int(self.group[slot]) if self.live[slot] else -1, self._groups.number(group)
        self.group[slot] = now
        self.grouped += (now >= 0) - (before >= 0)
        if now != before:
            self._regrouped[item_id] = None

    def _changed(self, slot: int) -> None:
        self.changes += 1
        self.since[slot] = self.changes

    def _grow(self, slots: int) -> None:
        if slots > len(self.live):
            for name, (kind, empty) in FACTS.items():
                setattr(self, name, grown(getattr(self, name).astype(kind, copy=False), slots, empty))
