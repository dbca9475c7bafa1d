"""Encoded items in memory, by slot; scorers read them from here.

The arrays can be files that several processes map. Knows tensors and slots; the caller knows which item has which slot.
"""

import threading
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import psutil
import torch

from models.compiled import compiled
from models.encoded import EncodedItem
from models.trigrams import WORDS, trigrams  # noqa: F401 (the last one for the examples)

Slots = npt.NDArray[np.int64]
Part = Literal["tokens", "scales", "pooled", "ids", "trigrams"]
PARTS: tuple[Part, ...] = ("tokens", "scales", "pooled", "ids", "trigrams")

SHARE = 0.75
"""The largest share of the machine's memory that one block may fill."""

SMALLEST = 4_096
"""Slots of the smallest block that is tried on a machine that does not overcommit memory."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """Items side by side: tokens int8 [n, L, T], scales float32 [n, L] (zero where there is no token),
    pooled float32 [n, D], ids int16 [n, L] (the bits of uint16; zero where there is no token), trigrams int64
    [n, 8] (the bits of uint64)."""

    tokens: torch.Tensor
    scales: torch.Tensor
    pooled: torch.Tensor
    ids: torch.Tensor
    trigrams: torch.Tensor


class Stored(NamedTuple):
    """Some items where they are stored, to be read without copying them.

    Attributes
    ----------
    rows, places
        int64 [m]: the items' rows among all that are asked for, and their places in the arrays.
    tokens, scales, pooled, ids, trigrams
        int8 [capacity, L, T], uint16 [capacity, L] and [capacity, D] (the bits of float16, as :func:`restore` takes
        them), int16 [capacity, L], uint64 [capacity, 8].
    """

    rows: Slots
    places: Slots
    tokens: npt.NDArray[np.int8]
    scales: npt.NDArray[np.uint16]
    pooled: npt.NDArray[np.uint16]
    ids: npt.NDArray[np.int16]
    trigrams: npt.NDArray[np.uint64]


@compiled
def restore(halves: npt.NDArray[np.uint16], out: npt.NDArray[np.float32]) -> None:
    """Write the values of finite float16 numbers, given as their bits [n], to float32 [n]; numba knows no float16.

    Examples
    --------
    >>> out = np.empty(3, np.float32)
    >>> restore(np.array([1.5, -0.0, 6e-8], np.float16).view(np.uint16), out)
    >>> out.tolist()
    [1.5, -0.0, 5.960464477539063e-08]
    """
    bits = out.view(np.int32)
    for place in range(len(halves)):
        half = np.int32(halves[place])
        bits[place] = ((half & 0x8000) << 16) | ((half & 0x7FFF) << 13)  # the exponent is by 112 too small
    for place in range(len(halves)):
        out[place] *= np.float32(2.0**112)


@compiled
def _restore_rows(halves: npt.NDArray[np.uint16], rows: Slots, places: Slots, out: npt.NDArray[np.float32]) -> None:
    for number in range(len(rows)):
        restore(halves[places[number]], out[rows[number]])


class _Block:
    """A fixed run of slots, from one on."""

    def __init__(self, start: int, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        self.start, self.slots = start, len(arrays["scales"])
        self.tokens, self.scales, self.pooled, self.ids, self.trigrams = (
            torch.from_numpy(arrays[part]) for part in PARTS
        )

    @cached_property
    def _arrays(self) -> tuple[npt.NDArray[Any], ...]:
        halves = self.scales.numpy().view(np.uint16), self.pooled.numpy().view(np.uint16)
        return self.tokens.numpy(), *halves, self.ids.numpy(), self.trigrams.numpy().view(np.uint64)

    def stored(self, rows: Slots, places: Slots) -> Stored:
        """Some of the items, to be read where they are."""
        return Stored(rows, places, *self._arrays)


class ItemStore:
    """Growable store of encoded items, safe to fill from one thread while another scores.

    Grows by whole blocks, so nothing is ever copied and memory never peaks at twice its size.

    Parameters
    ----------
    dim, token_dim, max_tokens
        Width of a pooled vector, width of a token's, and how many tokens of an item are kept; longer items are cut.
    capacity
        Slots per block; by default one block could fill :data:`SHARE` of the machine's memory. Gathering from one block
        is fastest, and slots take memory only once written.

    Examples
    --------
    >>> store = ItemStore(dim=4, token_dim=4, max_tokens=2, capacity=8)
    >>> store.put(9, EncodedItem.quantise(np.ones((1, 4), np.float32), np.ones(4, np.float32), [5], trigrams("tap")))
    >>> store.pooled(np.array([9, 3])).tolist()
    [[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]
    >>> len(store), store.bytes_per_item
    (1, 88)
    >>> store.drop(9); len(store)
    0
    """

    def __init__(self, dim: int, token_dim: int, max_tokens: int, capacity: int | None = None) -> None:
        self.dim = dim
        self.token_dim = token_dim
        self.max_tokens = max_tokens
        self.capacity = capacity or int(psutil.virtual_memory().total * SHARE) // self.bytes_per_item
        self._blocks: list[_Block] = []
        self._used = np.zeros(1024, dtype=np.bool_)
        self._count = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._count

    @property
    def bytes_per_item(self) -> int:
        """Bytes of one slot: tokens int8, scales and pooled float16, ids int16, trigrams."""
        return self.max_tokens * (self.token_dim + 4) + 2 * self.dim + 8 * WORDS

    @property
    def nbytes(self) -> int:
        """Bytes of the slots in use."""
        return len(self) * self.bytes_per_item

    def put(self, slot: int, item: EncodedItem) -> None:
        """Store or replace one item.

        Raises
        ------
        ValueError
            When the item is of another width, or the slot is negative.
        """
        if item.tokens.shape[1] != self.token_dim or item.pooled.shape != (self.dim,):
            raise ValueError(f"an item of {item.tokens.shape[1]} dimensions does not fit a memory of {self.token_dim}")
        if slot < 0:
            raise ValueError(f"slot {slot} is negative")
        count = min(len(item.tokens), self.max_tokens)
        with self._lock:
            block, place = self._place(slot)
            for stored, given in ((block.tokens, item.tokens), (block.scales, item.scales), (block.ids, item.ids)):
                stored.numpy()[place, :count] = given[:count].view(stored.numpy().dtype)
                stored.numpy()[place, count:] = 0
            block.pooled.numpy()[place] = item.pooled
            block.trigrams.numpy()[place] = item.trigrams.view(np.int64)
            if slot >= len(self._used):
                self._used = np.concatenate([self._used, np.zeros(slot + 1, dtype=np.bool_)])
            self._count += not self._used[slot]
            self._used[slot] = True

    def put_many(self, slots: Sequence[int], items: Sequence[EncodedItem]) -> None:
        """Store several items; the slots and items go in pairs."""
        for slot, item in zip(slots, items, strict=True):
            self.put(slot, item)

    def get(self, slot: int) -> EncodedItem:
        """The item in a slot, as it was put.

        Raises
        ------
        KeyError
            When the slot is empty.
        """
        with self._lock:
            if not self._uses(slot):
                raise KeyError(slot)
            block, place = self._place(slot)
            scales = block.scales[place].numpy().copy()
            count = int(np.count_nonzero(scales))
            return EncodedItem(
                block.tokens[place, :count].numpy().copy(),
                scales[:count],
                block.pooled[place].numpy().copy(),
                block.ids[place, :count].numpy().view(np.uint16).copy(),
                block.trigrams[place].numpy().view(np.uint64).copy(),
            )

    def drop(self, slot: int) -> None:
        """Remove an item; an unused slot is no error. The slot then scores as an item without text."""
        with self._lock:
            if self._uses(slot):
                block, place = self._place(slot)
                for stored in (block.tokens, block.scales, block.pooled, block.ids, block.trigrams):
                    stored.numpy()[place] = 0  # also where the block was made in inference mode
                self._used[slot] = False
                self._count -= 1

    def pooled(self, slots: Slots) -> npt.NDArray[np.float32]:
        """Pooled vectors, float32 [n, D]; zeros for unused slots. IndexError for slots beyond all blocks."""
        found = np.empty((len(slots), self.dim), np.float32)
        with self.read(slots) as parts:
            for part in parts:
                _restore_rows(part.pooled, part.rows, part.places, found)
        return found

    @contextmanager
    def read(self, slots: Slots) -> Iterator[list[Stored]]:
        """The items of these slots where they are stored, by block; no item changes meanwhile.

        Raises
        ------
        IndexError
            For slots that are negative or beyond all blocks.
        """
        slots = np.ascontiguousarray(slots, np.int64)
        with self._lock:
            if not self._blocks:
                self._place(0)
            end = self._blocks[-1].start + self._blocks[-1].slots
            if len(slots) and not 0 <= int(slots.min()) <= int(slots.max()) < end:
                raise IndexError(f"slots from {slots.min()} to {slots.max()} of {end}")
            if len(self._blocks) == 1:
                yield [self._blocks[0].stored(np.arange(len(slots)), slots)]
            else:
                parts = ((block, block.start <= slots) for block in self._blocks)
                rows = [(block, np.flatnonzero(own & (slots < block.start + block.slots))) for block, own in parts]
                yield [block.stored(own, slots[own] - block.start) for block, own in rows]

    def gather(self, slots: Slots) -> Gathered:
        """Copy the items of these slots into one batch for scorers; unused slots have no tokens."""
        index = torch.from_numpy(np.asarray(slots, np.int64))
        with self._lock:
            tokens, scales, pooled, ids, bits = (self._take(name, index) for name in PARTS)
        return Gathered(tokens, scales.float(), pooled.float(), ids, bits)

    def arrays(self, slots: int) -> dict[Part, list[npt.NDArray[Any]]]:
        """All that is stored in the first ``slots`` slots, each part in pieces that follow each other."""
        self._place(max(0, slots - 1))
        return {
            part: [getattr(block, part).numpy()[: max(0, slots - block.start)] for block in self._blocks]
            for part in PARTS
        }

    def used(self, slots: int) -> npt.NDArray[np.bool_]:
        """Which of the first ``slots`` slots hold an item, bool [slots]."""
        return np.pad(self._used[:slots], (0, max(0, slots - len(self._used))))

    def attach(self, arrays: Mapping[str, npt.NDArray[Any]], used: npt.NDArray[np.bool_]) -> None:
        """Take over arrays as :meth:`arrays` gives them, each in one piece, and which of their slots hold an item.

        They are changed in place: where they are files, map them so that changes stay in this process.

        Raises
        ------
        ValueError
            When their shapes or types are others, or the store is not empty.
        """
        wanted = self._layout(len(used))
        found = {part: (arrays[part].shape, arrays[part].dtype) for part in PARTS}
        if len(self) or found != wanted:
            raise ValueError(f"arrays of {found} do not fit a store of {len(self)} items and {wanted}")
        with self._lock:
            self._blocks = [_Block(0, arrays)]  # what was asked for before may have made one
            self._used, self._count = used, int(used.sum())

    def _layout(self, slots: int) -> dict[Part, tuple[tuple[int, ...], np.dtype[Any]]]:
        return {
            "tokens": ((slots, self.max_tokens, self.token_dim), np.dtype(np.int8)),
            "scales": ((slots, self.max_tokens), np.dtype(np.float16)),
            "pooled": ((slots, self.dim), np.dtype(np.float16)),
            "ids": ((slots, self.max_tokens), np.dtype(np.int16)),
            "trigrams": ((slots, WORDS), np.dtype(np.int64)),
        }

    def _uses(self, slot: int) -> bool:
        return 0 <= slot < len(self._used) and bool(self._used[slot])

    def _place(self, slot: int) -> tuple[_Block, int]:
        while not self._blocks or slot >= self._blocks[-1].start + self._blocks[-1].slots:
            self._blocks.append(self._block())
        number = bisect_right(self._blocks, slot, key=lambda block: block.start) - 1
        return self._blocks[number], slot - self._blocks[number].start

    def _block(self) -> _Block:
        start = self._blocks[-1].start + self._blocks[-1].slots if self._blocks else 0
        while True:
            try:
                # numpy's zeros, not torch's: numpy maps zero pages instead of writing zeros, so that the operating
                # system hands out pages only when slots are written.
                layout = self._layout(self.capacity).items()
                return _Block(start, {part: np.zeros(shape, dtype) for part, (shape, dtype) in layout})
            except MemoryError:  # on a machine that does not overcommit memory
                if self.capacity < SMALLEST:
                    raise
                self.capacity //= 2

    def _take(self, name: Part, index: torch.Tensor) -> torch.Tensor:
        if not self._blocks:
            self._place(0)
        parts: list[torch.Tensor] = [getattr(block, name) for block in self._blocks]
        if len(parts) == 1:
            return parts[0].index_select(0, index)
        starts = torch.tensor([block.start for block in self._blocks])
        numbers = torch.searchsorted(starts, index, right=True) - 1
        places = index - starts[numbers]
        out = torch.empty(len(index), *parts[0].shape[1:], dtype=parts[0].dtype)
        for number in torch.unique(numbers).tolist():
            where = torch.nonzero(numbers == number).squeeze(1)
            out.index_copy_(0, where, parts[number].index_select(0, places[where]))
        return out
