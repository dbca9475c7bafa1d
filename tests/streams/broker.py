"""A broker whose files a test may damage, and readers of every kind: what the consumer's tests share."""

import asyncio
import json
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiokafka.record.util import calc_crc32c

from streams.config import StreamsConfig
from streams.kafka.consumer import Consumer
from tests.forked import Forked
from tests.shop import until

METADATA_MS = 2_000
"""How old what is known of the topics may be in the tests: what they wait for."""

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
ATTRIBUTES, CHECKED, RECORDS = 21, 21, 61


class Segment:
    """The first log file of a partition, on the broker's disk."""

    def __init__(self, data: Path, topic: str, partition: int) -> None:
        self.path = data / f"{topic}-{partition}" / f"{0:020}.log"

    def batches(self) -> Iterator[tuple[int, int, bytes]]:
        """Position in the file, base offset and bytes of each batch."""
        held = self.path.read_bytes()
        at = 0
        while at + 17 <= len(held):
            base, length = struct.unpack_from(">qi", held, at)
            if not length:
                return
            yield at, base, held[at : at + 12 + length]
            at += 12 + length

    def codecs(self) -> list[str]:
        """How each batch is packed."""
        return [CODECS[batch[ATTRIBUTES + 1] & 7] for _, _, batch in self.batches()]

    def change(self, base: int, change: Callable[[bytearray], None], *, mend_checksum: bool = False) -> bytes:
        """Change the batch that begins at an offset, where it lies; returns it as it is now."""
        at, held = next((at, bytearray(batch)) for at, first, batch in self.batches() if first == base)
        size = len(held)
        change(held)
        assert len(held) == size
        if mend_checksum:
            struct.pack_into(">I", held, 17, calc_crc32c(bytes(held[CHECKED:])))
        with self.path.open("r+b") as file:
            file.seek(at)
            file.write(held)
        return bytes(held)


def flip(batch: bytearray) -> None:
    """Damage the records."""
    batch[-1] ^= 0xFF


def lengthen(batch: bytearray) -> None:
    """Say that it is longer than its file."""
    struct.pack_into(">i", batch, 8, 1 << 30)


def unknown_codec(batch: bytearray) -> None:
    """Say that it is packed in a way that there is none of."""
    batch[ATTRIBUTES + 1] |= 0x07


class FaustReader:
    """A process that reads events and items through Faust.

    Attributes
    ----------
    hold
        While this file is there, a record "hold" holds its batch.
    """

    def __init__(self, process: Forked, log: Path, hold: Path) -> None:
        self.process, self.log, self.hold = process, log, hold

    def told(self) -> list[dict[str, Any]]:
        """All that it told."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def records(self, topic: str) -> list[tuple[int, int, str]]:
        """Partition, offset and value of each record."""
        return [(one["partition"], one["offset"], one["value"]) for one in self.told() if one.get("topic") == topic]

    def values(self, topic: str) -> list[str]:
        """The values, in their order."""
        return [value for _, _, value in self.records(topic)]

    def held(self) -> list[dict[str, Any]]:
        """The records that held a batch."""
        return [one for one in self.told() if "holding" in one]

    def state(self) -> dict[str, Any]:
        """What it last told of itself."""
        nothing = {"lag": None, "partitions": 0, "caught_up": [], "unreadable": []}
        return next((one for one in reversed(self.told()) if "lag" in one), nothing)

    def until(self, holds: Callable[[], Any]) -> Any:
        """Wait, for as long as it runs."""

        def checked() -> Any:
            ended = f"it ended with {self.process.exit_code}: "
            assert self.process.running, ended + self.log.read_text(errors="replace")[-5000:]
            return holds()

        return until(checked, lambda: self.log.read_text(errors="replace")[-5000:], every_s=0.2)


@contextmanager
def faust_reader(
    config: StreamsConfig, group: str, folder: Path, name: str = "faust", stall_s: float = 60.0
) -> Iterator[FaustReader]:
    """One that runs."""
    log, hold = folder / f"{name}.log", folder / f"{name}.hold"
    streams = {"kafka": config.kafka.model_dump(), "topics": config.topics.model_dump()}
    told = {"streams": streams, "group": group, "stall_s": stall_s, "metadata_ms": METADATA_MS}
    told["hold"] = str(hold)
    process = Forked(json.dumps(told), log=log, env={}, program="tests.streams.faust_program")
    try:
        yield FaustReader(process, log, hold)
    finally:
        process.stop(timeout_s=20)


def values(config: StreamsConfig, topic: str, *, over_skips: bool = False) -> list[bytes]:
    """What a consumer of a topic reads up to its end, or to where it cannot be read on."""

    async def read() -> list[bytes]:
        consumer = Consumer(config, topic)
        found = []
        await consumer.start()
        try:
            ends = await consumer.end_offsets(consumer.assignment())
            async with asyncio.timeout(60):
                while not consumer.passed(ends) or (over_skips and consumer.stopped):
                    for messages in (await consumer.getmany(timeout_ms=200)).values():
                        found += [message.value for message in messages]
        finally:
            await consumer.stop()
        return found

    return asyncio.run(read())
