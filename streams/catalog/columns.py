"""What is known of many things by number, in arrays: texts, names, origins. A million take no Python objects.

The arrays can be files that several processes map, each with changes of its own (``streams.catalog.snapshot``). Knows
numbers and values; nothing of what has a number, or of files.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from streams.catalog.embedding import Origin

Value = TypeVar("Value")

FIRST = 1_024
"""Length of a new column."""

FREE, LEFT = -1, -2
"""Entries of the table of names: never used, and used by a name that is gone."""

KNOWN = 65_536
"""Names whose numbers are kept in a dictionary as well, which finds them in a tenth of the time."""

GARBAGE_BYTES = 1_000_000
"""Bytes of texts that are no longer needed, up to which no room is made."""


class Sink(Protocol):
    """Where the state of something goes, by name; files of their own lie in ``folder``."""

    folder: Path

    def array(self, name: str, array: NDArray[Any], used: int, fill: float = 0) -> None:
        """The first ``used`` rows of an array; the room behind them, for more, is full of ``fill``."""

    def value(self, name: str, value: object) -> None:
        """Anything that MessagePack can say."""

    def pieces(self, name: str, pieces: Sequence[NDArray[Any]]) -> None:
        """An array in pieces that follow each other, all of them used; the room behind them is full of zeros."""


class Source(Protocol):
    """Where the state of something comes from: what a :class:`Sink` got, by name."""

    folder: Path

    def array(self, name: str) -> NDArray[Any]:
        """An array with room behind it. It can be changed; nobody else sees the changes."""

    def value(self, name: str, kind: type[Value]) -> Value:
        """A value of a type."""


def grown(held: NDArray[Any], length: int, fill: float = 0) -> NDArray[Any]:
    """The same array, or a longer copy with at least so many rows; new rows are full of ``fill``.

    Examples
    --------
    >>> grown(np.array([1, 2]), 3, -1).tolist(), grown(np.array([1, 2]), 2).tolist()
    ([1, 2, -1, -1], [1, 2])
    """
    if length <= len(held):
        return held
    longer = np.full((max(length, 2 * len(held)), *held.shape[1:]), fill, held.dtype)
    longer[: len(held)] = held
    return longer


class Texts:
    """Bytes by number, one after another in one array.

    Examples
    --------
    >>> texts = Texts()
    >>> texts.put(3, b"tap"); texts.put(0, b"hose"); texts.put(3, b"valve"); texts.drop(0)
    >>> texts.get(3), texts.get(0), texts.get(99)
    (b'valve', None, None)
    """

    def __init__(self) -> None:
        self._shared: NDArray[np.uint8] = np.zeros(0, np.uint8)
        self._own, self._garbage = bytearray(), 0
        self._set(np.zeros(FIRST, np.int64), np.full(FIRST, -1, np.int32))

    def _set(self, starts: NDArray[np.int64], lengths: NDArray[np.int32]) -> None:
        self._starts, self._lengths = starts, lengths
        # Single numbers are read three times as fast from these.
        self._start, self._length = starts.data, lengths.data

    def get(self, number: int) -> bytes | None:
        """The bytes of a number; None if it has none."""
        if number >= len(self._lengths) or (length := self._length[number]) < 0:
            return None
        start = self._start[number] - len(self._shared)
        if start >= 0:
            return bytes(self._own[start : start + length])
        start += len(self._shared)
        return self._shared[start : start + length].tobytes()

    def put(self, number: int, text: bytes) -> None:
        """Hold bytes for a number, in place of what it had."""
        self.drop(number)
        if number >= len(self._lengths):
            self._set(grown(self._starts, number + 1), grown(self._lengths, number + 1, -1))
        if self._garbage > GARBAGE_BYTES and 2 * self._garbage > len(self._own):
            self._make_room()
        self._starts[number], self._lengths[number] = len(self._shared) + len(self._own), len(text)
        self._own += text

    def drop(self, number: int) -> None:
        """Hold nothing for a number."""
        if number < len(self._lengths) and (length := self._length[number]) >= 0:
            if self._start[number] >= len(self._shared):
                self._garbage += length
            self._lengths[number] = -1

    def numbers(self) -> NDArray[np.int64]:
        """The numbers with bytes, ascending."""
        return np.flatnonzero(self._lengths >= 0)

    @property
    def nbytes(self) -> int:
        """Memory taken in all, shared or not."""
        return len(self._shared) + len(self._own) + self._starts.nbytes + self._lengths.nbytes

    def save(self, to: Sink, name: str) -> None:
        """Write all, without what is no longer needed."""
        numbers = self.numbers()
        parts, lengths = [self.get(number) or b"" for number in numbers.tolist()], self._lengths
        starts = np.zeros_like(self._starts)
        starts[numbers] = np.cumsum(lengths[numbers], dtype=np.int64) - lengths[numbers]
        count = int(numbers[-1]) + 1 if len(numbers) else 0
        joined = np.frombuffer(b"".join(parts), np.uint8)
        to.array(f"{name}.bytes", joined, len(joined))
        to.array(f"{name}.starts", starts, count)
        to.array(f"{name}.lengths", lengths, count, -1)
        to.value(f"{name}.size", len(joined))

    def restore(self, source: Source, name: str) -> None:
        """Read what :meth:`save` wrote."""
        self._shared = source.array(f"{name}.bytes")[: source.value(f"{name}.size", int)]
        self._set(source.array(f"{name}.starts"), source.array(f"{name}.lengths"))

    def _make_room(self) -> None:
        numbers = np.flatnonzero((self._lengths >= 0) & (self._starts >= len(self._shared)))
        texts = [self.get(number) or b"" for number in numbers.tolist()]
        self._own, self._garbage = bytearray(b"".join(texts)), 0
        lengths = self._lengths[numbers].astype(np.int64)
        self._starts[numbers] = len(self._shared) + np.cumsum(lengths) - lengths


class Names:
    """Small numbers for names such as ids and brands, and the names by number; a dropped name's number is used again.

    Finds a name in a table by its 64-bit hash, and compares it with the one that is held.

    Examples
    --------
    >>> names = Names()
    >>> names.number("acme"), names.number("bolt"), names.number("acme"), names.number("")
    (0, 1, 0, -1)
    >>> names.find("bolt"), names.find("none"), names.name(1), "acme" in names
    (1, -1, 'bolt', True)
    >>> names.drop("acme"), names.find("acme"), names.number("cord"), len(names), list(names)
    (0, -1, 0, 2, ['cord', 'bolt'])
    """

    def __init__(self) -> None:
        self._texts = Texts()
        self._hashes = np.zeros(FIRST, np.int64)
        self._set(np.full(2 * FIRST, FREE, np.int32))
        self._free: list[int] = []
        self._count = self._filled = 0
        self._known: dict[str, int] = {}
        self._named: dict[int, str] = {}

    def _set(self, table: NDArray[np.int32]) -> None:
        self._table, self._entry = table, table.data

    def __len__(self) -> int:
        return self._count - len(self._free)

    def __iter__(self) -> Iterator[str]:
        return (_decoded(self._texts.get(number)) for number in self._texts.numbers().tolist())

    def __contains__(self, name: str) -> bool:
        return self.find(name) >= 0

    @property
    def reach(self) -> int:
        """One more than the highest number ever given."""
        return self._count

    def find(self, name: str) -> int:
        """The number of a name; -1 for one that has none."""
        found = self._known.get(name)
        if found is None:
            found = self._searched(name, hashed(name))
            if found >= 0:
                if len(self._known) >= KNOWN:
                    self._known.clear()
                self._known[name] = found
        return found

    def number(self, name: str) -> int:
        """The number of a name, which gets one if it has none; -1 for the empty name."""
        if not name:
            return -1
        found = self._known.get(name)
        if found is None:
            key = hashed(name)
            found = self._searched(name, key)
            if found < 0:
                found = self._added(name, key)
        return found

    def name(self, number: int) -> str:
        """The name with a number.

        Raises
        ------
        KeyError
            When no name has it.
        """
        found = self._named.get(number)
        if found is None:
            text = self._texts.get(number)
            if text is None:
                raise KeyError(number)
            if len(self._named) >= KNOWN:
                self._named.clear()
            found = self._named[number] = _decoded(text)
        return found

    def drop(self, name: str) -> int:
        """Take a name's number away; returns it, or -1 if it has none."""
        number = self.find(name)
        if number >= 0:
            del self._known[name]
            self._named.pop(number, None)
            place, mask = int(self._hashes[number]), len(self._table) - 1
            while self._entry[place & mask] != number:
                place += 1
            self._table[place & mask] = LEFT
            self._texts.drop(number)
            self._free.append(number)
        return number

    @property
    def nbytes(self) -> int:
        """Memory taken in all, shared or not; without the dictionary."""
        return self._texts.nbytes + self._hashes.nbytes + self._table.nbytes

    def save(self, to: Sink, name: str) -> None:
        """Write all."""
        self._texts.save(to, f"{name}.texts")
        to.array(f"{name}.hashes", self._hashes, self._count)
        to.array(f"{name}.table", self._table, len(self._table))
        to.value(f"{name}.counts", [self._count, self._filled, len(self._table)])

    def restore(self, source: Source, name: str) -> None:
        """Read what :meth:`save` wrote."""
        self._texts.restore(source, f"{name}.texts")
        self._hashes = source.array(f"{name}.hashes")
        self._count, self._filled, size = source.value(f"{name}.counts", list[int])
        self._set(source.array(f"{name}.table")[:size])
        self._free = np.setdiff1d(np.arange(self._count), self._texts.numbers()).tolist()[::-1]
        self._known, self._named = {}, {}

    def _searched(self, name: str, key: int) -> int:
        table, mask, place = self._entry, len(self._table) - 1, key
        while (number := table[place & mask]) != FREE:
            if number >= 0 and self._hashes[number] == key and self._texts.get(number) == _encoded(name):
                return number
            place += 1
        return -1

    def _added(self, name: str, key: int) -> int:
        if 2 * self._filled >= len(self._table):
            self._rebuild()
        number = self._free.pop() if self._free else self._count
        self._count = max(self._count, number + 1)
        self._hashes = grown(self._hashes, number + 1)
        self._hashes[number] = key
        self._texts.put(number, _encoded(name))
        self._enter(number)
        return number

    def _enter(self, number: int) -> None:
        place, mask = int(self._hashes[number]), len(self._table) - 1
        while self._entry[place & mask] != FREE:
            place += 1
        self._table[place & mask] = number
        self._filled += 1

    def _rebuild(self) -> None:
        size = len(self._table)
        while 4 * len(self) >= size:
            size *= 2
        self._set(np.full(size, FREE, np.int32))
        self._filled = 0
        for number in self._texts.numbers().tolist():
            self._enter(number)


class Origins:
    """Origins by number.

    Examples
    --------
    >>> origins = Origins()
    >>> origins.put(2, Origin(0, 7, 1_000)); origins.put(5, Origin(1, 8)); origins.drop(2)
    >>> origins.get(2), origins.get(5), origins.get(9_999), len(origins)
    (None, Origin(partition=1, offset=8, timestamp_ms=-1), None, 1)
    """

    def __init__(self) -> None:
        self._count = 0
        self._set(np.full(FIRST, -1, np.int32), np.zeros(FIRST, np.int64), np.zeros(FIRST, np.int64))

    def _set(self, partitions: NDArray[np.int32], offsets: NDArray[np.int64], times: NDArray[np.int64]) -> None:
        self._partitions, self._offsets, self._times = partitions, offsets, times
        self._views = partitions.data, offsets.data, times.data

    def __len__(self) -> int:
        return self._count

    def get(self, number: int) -> Origin | None:
        """The origin of a number; None if it has none."""
        partition, offset, time = self._views
        if not 0 <= number < len(partition) or partition[number] < 0:
            return None
        return Origin(partition[number], offset[number], time[number])

    def put(self, number: int, origin: Origin) -> None:
        """Hold an origin for a number, in place of what it had."""
        if number >= len(self._partitions):
            columns = grown(self._partitions, number + 1, -1), grown(self._offsets, number + 1)
            self._set(*columns, grown(self._times, number + 1))
        self._count += self._views[0][number] < 0
        self._partitions[number] = origin.partition
        self._offsets[number], self._times[number] = origin.offset, origin.timestamp_ms

    def drop(self, number: int) -> None:
        """Hold nothing for a number."""
        if 0 <= number < len(self._partitions) and self._views[0][number] >= 0:
            self._partitions[number] = -1
            self._count -= 1

    def numbers(self) -> NDArray[np.int64]:
        """The numbers with an origin, ascending."""
        return np.flatnonzero(self._partitions >= 0)

    def differing(self, other: "Origins") -> NDArray[np.int64]:
        """The numbers whose origin here is another one there, or is not there."""
        numbers = self.numbers()
        there = numbers[numbers < len(other._partitions)]
        same = np.zeros(len(numbers), dtype=np.bool_)
        same[: len(there)] = (self._partitions[there] == other._partitions[there]) & (
            self._offsets[there] == other._offsets[there]
        )
        return numbers[~same]

    @property
    def nbytes(self) -> int:
        """Memory taken in all, shared or not."""
        return self._partitions.nbytes + self._offsets.nbytes + self._times.nbytes

    def save(self, to: Sink, name: str) -> None:
        """Write all."""
        numbers = self.numbers()
        used = int(numbers[-1]) + 1 if len(numbers) else 0
        to.array(f"{name}.partitions", self._partitions, used, -1)
        to.array(f"{name}.offsets", self._offsets, used)
        to.array(f"{name}.times", self._times, used)
        to.value(f"{name}.count", self._count)

    def restore(self, source: Source, name: str) -> None:
        """Read what :meth:`save` wrote."""
        columns = source.array(f"{name}.partitions"), source.array(f"{name}.offsets")
        self._set(*columns, source.array(f"{name}.times"))
        self._count = source.value(f"{name}.count", int)


def hashed(name: str) -> int:
    """A signed 64-bit hash, the same in every process."""
    return int.from_bytes(hashlib.blake2b(_encoded(name), digest_size=8).digest(), signed=True)


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")


def _decoded(text: bytes | None) -> str:
    return (text or b"").decode("utf-8", "surrogatepass")
