"""Batches of bytes: what can be read of them is, whatever the rest is."""

import gzip
import random
import struct
from collections.abc import Callable

import cramjam
import pytest
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from kafka.record import util

from streams.kafka.record_batches import MAX_UNPACKED, readable, unpack

HEADER = 61


def batch(base: int, values: list[bytes], codec: int = 0, headers: list[tuple[str, bytes]] | None = None) -> bytes:
    """A batch as a broker stores it."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 24,
    )
    for offset, value in enumerate(values):
        builder.append(offset, 1_700_000_000_000, b"k", value, headers or [])
    made = bytearray(builder.build())
    struct.pack_into(">q", made, 0, base)
    return bytes(made)


def resummed(made: bytes) -> bytes:
    """The same with a right checksum."""
    found = bytearray(made)
    struct.pack_into(">I", found, 17, calc_crc32c(bytes(found[21:])))
    return bytes(found)


def values(data: bytes) -> list[bytes]:
    """The records' values of batches that can be read."""
    found, at = [], 0
    while at < len(data):
        [length] = struct.unpack_from(">i", data, at + 8)
        found += [record.value for record in DefaultRecordBatch(data[at : at + 12 + length])]
        at += 12 + length
    return found


@pytest.mark.parametrize("codec", range(5))
def test_each_codec_is_unpacked_and_what_is_cut_off_is_left_for_the_next_fetch(codec: int) -> None:
    told = [b"%d" % number * 100 for number in range(10)]
    data = batch(0, told, codec) + batch(10, [b"more"], codec) + batch(11, told, codec)[:-5]
    found, bad = readable(data, 0)
    assert bad is None
    assert values(found) == [*told, b"more"]


def test_what_is_before_the_bad_batch_is_read_and_where_it_goes_on_is_known() -> None:
    spoilt = bytearray(batch(10, [b"x"] * 10))
    spoilt[-1] ^= 1
    found, bad = readable(batch(0, [b"good"] * 10) + bytes(spoilt) + batch(25, [b"next"]), 0)
    assert values(found) == [b"good"] * 10
    assert bad is not None
    assert (bad.offset, bad.next, bad.error, bad.batch) == (10, 25, "its checksum is wrong", bytes(spoilt))
    found, bad = readable(bytes(spoilt), 13)
    assert bad is not None and (found, bad.offset, bad.next) == (b"", 13, 20)


def test_a_header_name_that_is_no_utf_8_is_read() -> None:
    made = batch(3, [b"one", b"two"], headers=[("näme", b"kept"), ("plain", b"")]).replace("ä".encode(), b"\xff\xfe")
    found, bad = readable(resummed(made), 3)
    assert bad is None
    [first, second] = list(DefaultRecordBatch(found))
    assert (first.value, second.value) == (b"one", b"two")
    assert second.headers == [("n??me", b"kept"), ("plain", b"")]


def test_old_formats_are_read() -> None:
    builder = LegacyRecordBatchBuilder(magic=1, compression_type=1, batch_size=1 << 20)
    for offset in range(3):
        builder.append(offset, 1_700_000_000_000, b"k", b"v")
    made = bytes(builder.build())
    assert readable(made, 0) == (made, None)
    found, bad = readable(made[:-1] + bytes([made[-1] ^ 1]), 0)
    assert found == b"" and bad is not None


@pytest.mark.parametrize(
    "pack",
    [
        lambda data: (1, gzip.compress(data)),
        lambda data: (2, bytes(cramjam.snappy.compress_raw(data))),
        lambda data: (3, bytes(cramjam.lz4.compress(data))),
        lambda data: (4, bytes(cramjam.zstd.compress(data))),
    ],
)
def test_what_unpacks_to_too_much_is_refused_before_it_fills_the_memory(
    pack: Callable[[bytes], tuple[int, bytes]],
) -> None:
    codec, packed = pack(bytes(2_000_000))
    assert unpack(codec, packed) == bytes(2_000_000)
    with pytest.raises(ValueError, match="it unpacks to more than 1999999 bytes"):
        unpack(codec, packed, limit=1_999_999)
    assert len(unpack(*pack(bytes(MAX_UNPACKED)))) == MAX_UNPACKED


def test_an_old_batch_that_unpacks_to_too_much_is_refused() -> None:
    builder = LegacyRecordBatchBuilder(magic=1, compression_type=1, batch_size=1 << 27)
    builder.append(0, 1_700_000_000_000, b"k", bytes(MAX_UNPACKED))
    found, bad = readable(bytes(builder.build()), 0)
    assert found == b"" and bad is not None and "unpacks to more" in bad.error


@pytest.mark.parametrize("size", [0, 5, 1_000, 20_000])
def test_records_that_lie_about_their_sizes_are_read_nowhere_else(size: int) -> None:
    """Kafka's library looks beyond the end of such a batch: after some hundreds of them the process ended (SIGSEGV)."""
    chance = random.Random(size)
    for number in range(3_000):
        spoilt = bytearray(batch(0, [bytes([0xFF]) * size] * chance.randrange(1, 12), headers=[("h", b"\xff" * 9)]))
        for _ in range(chance.randrange(1, 6)):
            spoilt[chance.randrange(HEADER - 4, len(spoilt))] = chance.choice((0xFF, 0x80, 0x7F, 0x7E, 0, number % 256))
        found, _ = readable(resummed(bytes(spoilt)), 0)
        values(found)


def test_no_bytes_raise() -> None:
    chance = random.Random(7)
    made = [batch(0, [b"v" * 30] * 5, codec) for codec in range(5)]
    for _ in range(3_000):
        spoilt = bytearray(chance.choice(made))
        for _ in range(chance.randrange(1, 6)):
            spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
        data = bytes(spoilt) if chance.random() < 0.3 else resummed(bytes(spoilt))
        found, bad = readable(data[: chance.randrange(1, len(data) + 1)], 0)
        values(found)
        assert bad is None or bad.next is None or bad.next > bad.offset


def test_no_client_computes_checksums_in_python() -> None:
    """It would take 79 ms for a megabyte, and 0.1 ms so."""
    assert util.crc32c_c is not None
