"""Unpacks and checks a broker's record batches before their records are read.

Kafka's library reads a batch lazily, and would raise again and again at one that is damaged, packed with an unknown
codec, or larger than memory. Here each batch of an answer is checked first, to separate readable batches from
unreadable ones. Pure: takes bytes; knows nothing of consumers or of how unreadable batches are handled.
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
"""Bytes that a batch may unpack to; otherwise a megabyte of compressed zeros could fill any memory."""

_START = struct.Struct(">qiib")
"""Base offset, length of what follows it, leader epoch, format."""
_HEADER = struct.Struct(">qiibIhiqqqhii")
_LENGTH_AT, _OVERHEAD, _CHECKED_FROM, _CODEC_MASK = 8, 12, 21, 0x07
_LEGACY_CODEC_AT, _LEGACY_KEY_AT = 17, (18, 26)
_ROOM = 64
"""Zeros behind a batch: where records state false sizes, Kafka's library reads some bytes beyond the batch."""
_XERIAL = b"\x82SNAPPY\x00"
_XERIAL_HEADER = 16
_TOO_SMALL = "failed to write whole buffer"


class BatchError(ValueError):
    """A batch cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A batch that cannot be read.

    Attributes
    ----------
    offset
        The offset at which reading stops.
    next
        The offset after the batch; None where it is not known.
    error
        The reason, in a few words.
    batch
        The bytes that the broker gave of it.
    """

    offset: int
    next: int | None
    error: str
    batch: bytes = b""


def readable(data: bytes, position: int) -> tuple[bytes, Unreadable | None]:
    """The readable batches at the start of a fetched answer, unpacked, and the unreadable one after them.

    Parameters
    ----------
    data
        Batches one after the other; the last one may be incomplete.
    position
        The requested offset; the first batch may begin before it.

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
    """The unpacked records of a batch.

    Parameters
    ----------
    codec
        1 gzip, 2 snappy, 3 lz4, 4 zstd.
    limit
        Largest size of the result, in bytes.

    Raises
    ------
    BatchError
        When the result is larger, or the codec is none of these.

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
    """Snappy in the frames of Java clients, or a single block; each block states its unpacked size first."""
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
    """Unpack into a buffer that grows to the limit: neither format states the unpacked size."""
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
    """The batch, unpacked, after each of its records was read once."""
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
    """The same batch with question marks in header names that are not UTF-8, since some clients send any bytes."""
    found, at = bytearray(batch), _HEADER.size

    def number() -> int:
        nonlocal at
        value = shift = 0
        while shift < 70:  # the library's own function reads beyond the end
            byte = found[at]
            value, at, shift = value | (byte & 0x7F) << shift, at + 1, shift + 7
            if byte < 0x80:
                return value >> 1 ^ -(value & 1)
        raise BatchError("a number in it has no end")

    def part() -> int:
        """Skip a length and as many bytes; returns the place of the first one."""
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
    """The offset after a batch: the next batch's base offset, else the one that the batch's own header states."""
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
