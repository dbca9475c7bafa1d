"""What filters read of the items: their categories, brands, prices and attributes by slot, and which slots match.

Keeps for each item one entry per value, in columns that only grow at their end; an entry is valid while its slot has
the stamp that it was written with, and a full column drops what is not. Values are kept as 64-bit hashes of name and
value, so memory depends on the number of values, never on their length or on how many differ: 20 bytes a value, 28 a
number. Knows filters and slots; nothing of vectors, words, or of who asks.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from streams.catalog.columns import Sink, Source, grown
from streams.events.filters import IN_STOCK, Filter, item_numbers, item_values
from streams.events.schema import Item

Slots = NDArray[np.int64]
Mask = NDArray[np.bool_]

COLUMNS = 256
"""Columns of values, and as many of numbers: a name's hash says which. Names beyond share columns, which costs time."""

MOST_OF_AN_ITEM = 128
"""Values of one item that filters see, its category first; and as many numbers."""

MASKS_BYTES = 64_000_000
"""Masks kept, in bytes: 640 of them over 100,000 items."""


@dataclass(slots=True)
class Matching:
    """The slots that match a filter: as a mask over all slots, and how many are true.

    ``stamps`` say when each slot was last written, the newest highest.
    """

    mask: Mask
    count: int
    stamps: NDArray[np.int64]

    @property
    def slots(self) -> Slots:
        """The matching slots, ascending."""
        return np.flatnonzero(self.mask)

    def newest(self, k: int) -> Slots:
        """The ``k`` matching slots that were added or changed last, the newest first."""
        slots = self.slots
        if len(slots) > k:
            slots = slots[np.argpartition(self.stamps[slots], -k)[-k:]]
        return slots[np.argsort(-self.stamps[slots])]

    def keep(self, slots: Slots) -> Slots:
        """Those of some slots that match, in their order."""
        return slots[self.mask[slots]]


class Attributes:
    """Values of items by slot, and masks of the slots that match a filter.

    Examples
    --------
    >>> attributes = Attributes()
    >>> attributes.put(0, Item(item_id="a", title="Hose", category="Garden > Hoses", price=12.5))
    >>> attributes.put(1, Item(item_id="b", title="Pot", brand="Acme", category="Garden", attributes={"size": ["M"]}))
    >>> shown = np.ones(2, dtype=bool)
    >>> [attributes.matching(Filter.of(asked), shown).slots.tolist() for asked in (
    ...     {"category": "garden"}, {"price": {"max": 12.5}}, {"size": ["m", "l"], "brand": "ACME"}, {"size": "xl"})]
    [[0, 1], [0], [1], []]
    >>> attributes.drop(1)
    >>> attributes.matching(Filter.of({"category": "garden"}), shown).slots.tolist()
    [0]
    """

    def __init__(self) -> None:
        self._stamps = np.zeros(1024, dtype=np.int64)
        self._clock = 0
        self._values: dict[int, _Column] = {}
        self._numbers: dict[int, _Column] = {}
        self._masks: LRUCache[str, tuple[int, Mask, Matching]] = LRUCache(
            MASKS_BYTES, lambda kept: kept[2].mask.nbytes + 256
        )

    def put(self, slot: int, item: Item) -> None:
        """Hold an item's values, in place of what its slot held."""
        self.drop(slot)
        clock = self._clock
        for name, value in islice(item_values(item), MOST_OF_AN_ITEM):
            self._column(self._values, name).append(slot, clock, _hash(name, value), 0.0)
        for name, number in islice(item_numbers(item), MOST_OF_AN_ITEM):
            self._column(self._numbers, name).append(slot, clock, _hash(name), number)

    def drop(self, slot: int) -> None:
        """Hold nothing of a slot."""
        self._stamps = grown(self._stamps, slot + 1)
        self._clock += 1
        self._stamps[slot] = self._clock

    def matching(self, wanted: Filter, shown: Mask) -> Matching:
        """The slots that match a filter, as of the last change; computed anew only after one.

        Parameters
        ----------
        shown
            The slots that may be shown at all, bool [slots]: those in stock if the filter asks for it. An array that is
            changed in place, with a `put` or `drop` each time.
        """
        since, of, found = self._masks.get(wanted.key, (-1, shown, None))
        if found is None or since != self._clock or of is not shown:
            mask = self._mask(wanted, shown)
            found = Matching(mask, int(mask.sum()), self._stamps)
            if found.mask.nbytes + 256 <= MASKS_BYTES:
                self._masks[wanted.key] = self._clock, shown, found
        return found

    @property
    def stamps(self) -> NDArray[np.int64]:
        """When each slot was last written, the newest highest, int64 [slots or more]."""
        return self._stamps

    @property
    def nbytes(self) -> int:
        """Memory of the values, without the masks."""
        return self._stamps.nbytes + sum(one.nbytes for one in (*self._values.values(), *self._numbers.values()))

    def save(self, to: Sink, slots: int) -> None:
        """Write the first ``slots`` slots and all values, with room behind each column."""
        to.array("attributes.stamps", self._stamps, slots)
        to.value("attributes.clock", self._clock)
        for kind, columns in (("values", self._values), ("numbers", self._numbers)):
            sizes = [[place, column.used, column.used + max(64, column.used // 4)] for place, column in columns.items()]
            to.value(f"attributes.{kind}", sizes)
            for field in FIELDS[kind]:
                held = [_sized(getattr(columns[place], field)[:used], size) for place, used, size in sizes]
                to.pieces(f"attributes.{kind}.{field}", held or [getattr(NOTHING, field)[:0]])

    def restore(self, source: Source) -> None:
        """Read what :meth:`save` wrote."""
        self._stamps, self._clock = source.array("attributes.stamps"), source.value("attributes.clock", int)
        for kind, columns in (("values", self._values), ("numbers", self._numbers)):
            fields, start = [source.array(f"attributes.{kind}.{field}") for field in FIELDS[kind]], 0
            for place, used, size in source.value(f"attributes.{kind}", list[list[int]]):
                slots, stamps, keys, *given = (field[start : start + size] for field in fields)
                columns[place] = _Column(used, slots, stamps, keys, given[0] if given else np.zeros(0))
                start += size

    def _mask(self, wanted: Filter, shown: Mask) -> Mask:
        mask = shown.copy()
        for slots in self._parts(wanted):
            part = np.zeros_like(mask)
            part[slots] = True
            mask &= part
            if not mask.any():
                return mask
        return mask

    def _parts(self, wanted: Filter) -> Iterator[Slots]:
        """For each name that a filter has, the slots with what it asks for."""
        for name, values in wanted.values.items():
            if name != IN_STOCK:
                column = self._values.get(_place(name), NOTHING)
                yield column.equal([_hash(name, value) for value in values], self._stamps)
        for name, (low, high) in wanted.ranges.items():
            yield self._numbers.get(_place(name), NOTHING).between(_hash(name), low, high, self._stamps)

    def _column(self, columns: dict[int, "_Column"], name: str) -> "_Column":
        place = _place(name)
        column = columns.get(place)
        if column is None:
            column = columns[place] = _Column.empty(numbers=columns is self._numbers)
        column.make_room(self._stamps)
        return column


@dataclass(slots=True)
class _Column:
    """Entries ``(slot, stamp, key)``, of numbers also ``number``, in the order in which they were written."""

    used: int
    slots: NDArray[np.int32]
    stamps: NDArray[np.int64]
    keys: NDArray[np.int64]
    given: NDArray[np.float64]

    @classmethod
    def empty(cls, numbers: bool) -> "_Column":
        given = np.zeros(64 if numbers else 0)
        return cls(0, np.zeros(64, np.int32), np.zeros(64, np.int64), np.zeros(64, np.int64), given)

    @property
    def nbytes(self) -> int:
        return self.slots.nbytes + self.stamps.nbytes + self.keys.nbytes + self.given.nbytes

    def append(self, slot: int, stamp: int, key: int, number: float) -> None:
        at = self.used
        self.slots[at], self.stamps[at], self.keys[at] = slot, stamp, key
        if len(self.given):
            self.given[at] = number
        self.used += 1

    def make_room(self, stamps: NDArray[np.int64]) -> None:
        """If it is full, drop entries that are no longer valid; if most are, grow."""
        if self.used < len(self.slots):
            return
        valid = np.flatnonzero(stamps[self.slots] == self.stamps)
        size = len(self.slots) * (1 if 2 * len(valid) <= len(self.slots) else 2)
        self.slots, self.stamps, self.keys = (
            _sized(held[valid], size) for held in (self.slots, self.stamps, self.keys)
        )
        if len(self.given):
            self.given = _sized(self.given[valid], size)
        self.used = len(valid)

    def equal(self, keys: Sequence[int], stamps: NDArray[np.int64]) -> Slots:
        """The slots with an entry of one of these keys."""
        held = self.keys[: self.used]
        return self._valid(held == keys[0] if len(keys) == 1 else np.isin(held, keys), stamps)

    def between(self, key: int, low: float, high: float, stamps: NDArray[np.int64]) -> Slots:
        """The slots with a number of this key within two bounds, both inclusive."""
        given = self.given[: self.used]
        return self._valid((self.keys[: self.used] == key) & (given >= low) & (given <= high), stamps)

    def _valid(self, hits: Mask, stamps: NDArray[np.int64]) -> Slots:
        at = np.flatnonzero(hits)
        slots = self.slots[at]
        valid: Slots = slots[stamps[slots] == self.stamps[at]].astype(np.int64)
        return valid


NOTHING = _Column.empty(numbers=True)

FIELDS = {"values": ("slots", "stamps", "keys"), "numbers": ("slots", "stamps", "keys", "given")}


def _sized(held: NDArray[Any], size: int) -> NDArray[Any]:
    sized = np.zeros(size, dtype=held.dtype)
    sized[: len(held)] = held
    return sized


def _hash(*parts: str) -> int:
    digest = hashlib.blake2b("\x1f".join(parts).encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def _place(name: str) -> int:
    return _hash(name) % COLUMNS
