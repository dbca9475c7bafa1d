"""Record batches as a broker hands them over: unpacked and checked before anybody reads their records.

Kafka's library reads a batch lazily, and one that is damaged, packed in a way that nobody knows or larger than memory
would raise again and again. Here each batch of an answer is checked first, so that what can be read is told from what
cannot. Pure: takes bytes; knows nothing of consumers or of what becomes of a batch that cannot be read.
"""

import gzip
import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cramjam
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.legacy_records import LegacyRecordBatch
from aiokafka.record.util import calc_crc32c

MAX_UNPACKED = 64 * 1024 * 1024
"""Bytes that a batch may unpack to; a megabyte of well-packed zeros would otherwise fill any memory."""

_START = struct.Struct(">qiib")
"""Base offset, length of what follows it, leader epoch, format."""
_HEADER = struct.Struct(">qiibIhiqqqhii")
_LENGTH_AT, _OVERHEAD, _CHECKED_FROM, _CODEC_MASK = 8, 12, 21, 0x07
_LEGACY_CODEC_AT, _LEGACY_KEY_AT = 17, (18, 26)
_ROOM = 64
"""Zeros behind a batch: Kafka's library looks some bytes beyond one whose records lie about their sizes."""
_XERIAL = b"\x82SNAPPY\x00"
_XERIAL_HEADER = 16
_TOO_SMALL = "failed to write whole buffer"


class BatchError(ValueError):
    """A batch cannot be read; its words say why."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A batch that cannot be read.

    Attributes
    ----------
    offset
        Where reading stops.
    next
        The offset after it, as far as that can be known; None where it cannot.
    error
        Why, in a few words.
    batch
        Its bytes, as far as the broker gave them.
    """

    offset: int
    next: int | None
    error: str
    batch: bytes = b""


def readable(data: bytes, position: int) -> tuple[bytes, Unreadable | None]:
    """As much of a fetched answer as can be read, unpacked, and what then stops reading.

    Parameters
    ----------
    data
        Batches one after the other; the last one may be cut off.
    position
        The offset that was asked for, which the first batch may begin before.

    Examples
    --------
    >>> readable(b"", 7)
    (b'', None)
    >>> batch = struct.pack(">qiib", 7, 9, 0, 9) + b"????"
    >>> readable(batch, 7)[1].error
    'format 9 is not known'
    """
    found: list[bytes] = []
    at = 0
    while len(data) - at >= _START.size:
        base, length, _, version = _START.unpack_from(data, at)
        end = at + _OVERHEAD + length
        if end > len(data) and found:
            break
        try:
            if length < _START.size - _OVERHEAD or end > len(data):
                raise BatchError(f"its length is given as {length} bytes")
            found.append(_checked(data[at:end], version))
        except Exception as error:
            batch = data[at : max(at, end)] if end <= len(data) else data[at:]
            offset = max(position, base) if base >= 0 else position
            return b"".join(found), Unreadable(offset, _next(data, at, end, offset), _words(error), batch)
        at = end
    return b"".join(found), None


def unpack(codec: int, packed: bytes, limit: int = MAX_UNPACKED) -> bytes:
    """The records of a batch as they were before they were packed.

    Parameters
    ----------
    codec
        1 gzip, 2 snappy, 3 lz4, 4 zstd.
    limit
        Bytes that they may take.

    Raises
    ------
    BatchError
        When they would take more, or the codec is none of these.

    Examples
    --------
    >>> unpack(4, bytes(cramjam.zstd.compress(b"x" * 9)))
    b'xxxxxxxxx'
    >>> unpack(4, bytes(cramjam.zstd.compress(bytes(10**6))), limit=1000)
    Traceback (most recent call last):
    streams.kafka.record_batches.BatchError: it unpacks to more than 1000 bytes
    """
    if codec == 1:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
            found = file.read(limit + 1)
        if len(found) > limit:
            raise _too_large(limit)
        return found
    if codec == 2:
        return _unsnappy(packed, limit)
    if codec == 3:
        return _grown(cramjam.lz4.decompress_into, packed, limit)
    if codec == 4:
        return _grown(cramjam.zstd.decompress_into, packed, limit)
    raise BatchError(f"codec {codec} is not known")


def _unsnappy(packed: bytes, limit: int) -> bytes:
    """Snappy as Java clients frame it, in blocks, or one block alone; each block tells its size beforehand."""
    blocks = [packed]
    if packed.startswith(_XERIAL) and len(packed) >= _XERIAL_HEADER:
        blocks, at = [], _XERIAL_HEADER
        while at < len(packed):
            [size] = struct.unpack_from(">i", packed, at)
            if not 0 <= size <= len(packed) - at - 4:
                raise BatchError(f"it has a block of {size} bytes")
            blocks.append(packed[at + 4 : at + 4 + size])
            at += 4 + size
    found, room = list[bytes](), limit
    for block in blocks:
        room -= cramjam.snappy.decompress_raw_len(block)
        if room < 0:
            raise _too_large(limit)
        found.append(bytes(cramjam.snappy.decompress_raw(block)))
    return b"".join(found)


def _grown(into: Callable[[bytes, bytearray], int], packed: bytes, limit: int) -> bytes:
    """Unpack into a buffer that grows to the limit: neither format says how large it becomes."""
    size = min(limit, max(16 * len(packed), 65_536))
    while True:
        buffer = bytearray(size)
        try:
            return bytes(memoryview(buffer)[: into(packed, buffer)])
        except cramjam.DecompressionError as error:
            if _TOO_SMALL not in str(error):
                raise
            if size == limit:
                raise _too_large(limit) from None
        size = min(limit, 8 * size)


def _too_large(limit: int) -> BatchError:
    return BatchError(f"it unpacks to more than {limit} bytes")


def _checked(batch: bytes, version: int) -> bytes:
    """A batch whose every record was read once; where it was packed, unpacked."""
    if version in (0, 1):
        _walk_legacy(batch, version)
        return batch
    if version != 2:
        raise BatchError(f"format {version} is not known")
    header = list(_HEADER.unpack_from(batch))
    if calc_crc32c(memoryview(batch)[_CHECKED_FROM:]) != header[4]:
        raise BatchError("its checksum is wrong")
    if codec := header[5] & _CODEC_MASK:
        records = unpack(codec, batch[_HEADER.size :])
        header[1], header[5] = _HEADER.size - _OVERHEAD + len(records), header[5] & ~_CODEC_MASK
        batch = _HEADER.pack(*header) + records
    try:
        _walk(batch)
    except UnicodeDecodeError:
        try:
            batch = _with_readable_names(batch, header[-1])
        except IndexError:
            raise BatchError("its records reach beyond its end") from None
        _walk(batch)
    return batch


def _walk(batch: bytes) -> None:
    for _ in DefaultRecordBatch(_with_room(batch)):
        pass


def _walk_legacy(batch: bytes, version: int) -> None:
    legacy = LegacyRecordBatch(_with_room(batch), version)
    if not legacy.validate_crc():
        raise BatchError("its checksum is wrong")
    if codec := batch[_LEGACY_CODEC_AT] & _CODEC_MASK:
        at = _LEGACY_KEY_AT[version]
        [key] = struct.unpack_from(">i", batch, at)
        unpack(codec, batch[at + 8 + max(0, key) :])  # the library sets no limit
    for _ in legacy:
        pass


def _with_room(batch: bytes) -> memoryview:
    return memoryview(batch + bytes(_ROOM))[: len(batch)]


def _with_readable_names(batch: bytes, count: int) -> bytes:
    """The same batch, where bytes of header names that are no UTF-8 are question marks: some clients send any bytes."""
    found, at = bytearray(batch), _HEADER.size

    def number() -> int:
        nonlocal at
        value = shift = 0
        while shift < 70:  # the library's own reads beyond the end
            byte = found[at]
            value, at, shift = value | (byte & 0x7F) << shift, at + 1, shift + 7
            if byte < 0x80:
                return value >> 1 ^ -(value & 1)
        raise BatchError("a number in it has no end")

    def part() -> int:
        """Pass over a length and as many bytes; returns where they begin."""
        nonlocal at
        size = max(0, number())
        at += size
        return at - size

    for _ in range(count):
        length = number()
        end = at + length
        at += 1  # attributes
        number(), number()  # of time and offset
        part(), part()  # key and value
        for _ in range(number()):
            begin = part()
            name = found[begin:at]
            try:
                name.decode()
            except UnicodeDecodeError:
                found[begin:at] = bytes(byte if byte < 0x80 else ord("?") for byte in name)
            part()
        at = end
    return bytes(found)


def _next(data: bytes, at: int, end: int, offset: int) -> int | None:
    """The offset after a batch: where the following one begins, else what its own header says."""
    if at + _OVERHEAD < end <= len(data) - _START.size:
        base, length, _, version = _START.unpack_from(data, end)
        if base > offset and length > 0 and version in (0, 1, 2):
            return int(base)
    if len(data) - at >= _HEADER.size:
        header: Any = _HEADER.unpack_from(data, at)
        base, last = header[0], header[6]
        if header[3] == 2 and base + last >= offset and 0 <= last < 1 << 24:
            return int(base + last + 1)
    return None


def _words(error: Exception) -> str:
    if isinstance(error, BatchError):
        return str(error)
    return f"{type(error).__name__}: {next(iter(error.args), '')}"[:200]
