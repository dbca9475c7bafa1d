"""Everything a worker knows of the items on sale: their fields, their vectors, and the two indexes over them.

An item has a numbered slot. Fields that the policy reads are arrays by slot. Knows nothing of Kafka: the input is
embeddings with their origin.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.encoded import EncodedError, EncodedItem
from models.encoder import Encoder
from models.item_store import ItemStore
from streams.catalog import filtered
from streams.catalog.attributes import Attributes, Matching
from streams.catalog.embedding import Embedding, Origin, text, vectors
from streams.catalog.lexical_index import LexicalIndex
from streams.catalog.vector_index import VectorIndex
from streams.events.filters import IN_STOCK, Filter
from streams.events.schema import Item

log = logging.getLogger(__name__)

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


class Names:
    """Small integers for strings that repeat, such as brands; -1 for the empty one.

    Examples
    --------
    >>> names = Names()
    >>> names.number("acme"), names.number("bolt"), names.number("acme"), names.number("")
    (0, 1, 0, -1)
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def number(self, name: str) -> int:
        """The number of a name, new or known."""
        return self._numbers.setdefault(name, len(self._numbers)) if name else -1

    def find(self, name: str) -> int:
        """The number of a known name; -1 for another."""
        return self._numbers.get(name, -1)


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
    groups
        The group of each held item that has one.
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
        self.live = np.zeros(1024, dtype=bool)
        self.in_stock = np.zeros(1024, dtype=bool)
        self.brand = np.full(1024, -1, dtype=np.int32)
        self.group = np.full(1024, -1, dtype=np.int32)
        self.price = np.full(1024, np.nan)
        self.since = np.zeros(1024, dtype=np.int64)
        self.changes = 0
        self.foreign = 0
        self.brands, self._groups = Names(), Names()
        self.groups: dict[str, str] = {}
        self._regrouped: dict[str, None] = {}
        self._slots: dict[str, int] = {}
        self._items: list[Item | None] = []
        self._origins: dict[str, Origin] = {}
        self._texts: dict[str, str] = {}
        self._free: list[int] = []
        self._uncommitted = False

    def __len__(self) -> int:
        return len(self._slots)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._slots

    def slot(self, item_id: str) -> int | None:
        """An item's slot; None if the item is not held."""
        return self._slots.get(item_id)

    def on_sale(self, item_id: str) -> bool:
        """Whether an item is held and in stock."""
        slot = self._slots.get(item_id)
        return slot is not None and bool(self.in_stock[slot])

    def slots(self, item_ids: Sequence[str]) -> Slots:
        """Slots of the held ones of these items, in the order given."""
        get = self._slots.get
        return np.array([slot for item_id in item_ids if (slot := get(item_id)) is not None], dtype=np.int64)

    def item(self, slot: int) -> Item:
        """The item in a slot.

        Raises
        ------
        KeyError
            When the slot is empty.
        """
        item = self._items[slot] if slot < len(self._items) else None
        if item is None:
            raise KeyError(slot)
        return item

    def ids(self, slots: Slots) -> list[str]:
        """The ids of the items in some slots.

        Raises
        ------
        KeyError
            When a slot is empty.
        """
        return [self.item(slot).item_id for slot in slots.tolist()]

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
        return np.fromiter((slot for slot in list(self._slots.values())[: -k - 1 : -1]), dtype=np.int64)

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
        if self._texts.get(item_id) != text_hash:
            return None
        return self.item_store.get(self._slots[item_id])

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
            known = origins[change.item_id] if change.item_id in last else self._origins.get(change.item_id)
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

    def _put(self, origin: Origin | None, embedding: Embedding) -> int:
        item = embedding.item
        slot = self._slots.pop(item.item_id, None)
        if slot is None:
            slot = self._free.pop() if self._free else self._grow()
            self._changed(slot)
        self._slots[item.item_id] = slot  # last in the dict: newest
        if self._texts.get(item.item_id) != embedding.text:
            self.lexical.put(slot, self.encoder.word_pieces([text(item)])[0])
        self._items[slot] = msgspec.structs.replace(item, description="", attributes={})
        self._texts[item.item_id] = embedding.text
        if origin is not None:
            self._origins[item.item_id] = origin
        self.live[slot] = True
        self.in_stock[slot] = item.in_stock
        self.brand[slot] = self.brands.number(item.brand)
        self.group[slot] = self._groups.number(item.group_id or "")
        self._regroup(item.item_id, item.group_id or "")
        self.price[slot] = np.nan if item.price is None else item.price
        self.attributes.put(slot, item)
        return slot

    def _apply_fields(self, change: Change) -> bool:
        """Apply the fields of another encoder's record of an item, if its text is unchanged and the record is newer."""
        if change.embedding is None:
            return False
        known = self._origins.get(change.item_id)
        later = change.origin and change.origin.after(known)
        stale = change.origin is not None and (later is None or later == known)
        if stale or self._texts.get(change.item_id) != change.embedding.text:
            self.foreign += 1
            return False
        self._put(later, change.embedding)
        return True

    def _delete(self, item_id: str) -> None:
        slot = self._slots.pop(item_id, None)
        if slot is None:
            return
        self._items[slot] = None
        self._changed(slot)
        self._regroup(item_id, "")
        self._texts.pop(item_id, None)
        self._origins.pop(item_id, None)
        self.live[slot] = self.in_stock[slot] = False
        self.item_store.drop(slot)
        self.vectors.drop(slot)
        self.lexical.drop(slot)
        self.attributes.drop(slot)
        self._free.append(slot)

    def _regroup(self, item_id: str, group: str) -> None:
        if group != self.groups.get(item_id, ""):
            self._regrouped[item_id] = None
            if group:
                self.groups[item_id] = group
            else:
                del self.groups[item_id]

    def _changed(self, slot: int) -> None:
        self.changes += 1
        self.since[slot] = self.changes

    def _grow(self) -> int:
        slot = len(self._items)
        self._items.append(None)
        if slot >= len(self.in_stock):
            empty_values = {"live": False, "in_stock": False, "brand": -1, "group": -1, "price": np.nan, "since": 0}
            for name, empty in empty_values.items():
                held = getattr(self, name)
                setattr(self, name, np.concatenate([held, np.full_like(held, empty)]))
        return slot
