"""What an import tells of a file that it cannot read to its end; nothing is sent, so no broker is needed."""

import gzip
import io
import json
import lzma
import zlib
from pathlib import Path

import pytest
from rich.console import Console

from liveshelf.ingest.importer import import_items
from liveshelf.ingest.progress import Bar
from liveshelf.ingest.summary import ImportSummary
from liveshelf.terminal import make_console
from streams.config import EventsConfig, KafkaConfig, TopicsConfig

LINES = "".join(json.dumps({"item_id": str(n), "title": f"{n * n} {n**3}"}) + "\n" for n in range(20_000)).encode()


def tried(path: Path) -> ImportSummary:
    return import_items(
        path,
        kafka=KafkaConfig(),
        topics=TopicsConfig(),
        events=EventsConfig(),
        dry_run=True,
        console=make_console(quiet=True),
    )


def spoilt(content: bytes) -> bytes:
    """Packed, and then something that gzip never writes."""
    packer = zlib.compressobj(wbits=31)
    return packer.compress(content) + packer.flush(zlib.Z_FULL_FLUSH) + b"\xff" * 100


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.jsonl.gz", spoilt(LINES), "error: Error -3"),
        ("a.jsonl.gz", gzip.compress(LINES)[:-100], "EOFError"),
        ("a.jsonl.gz", gzip.compress(LINES)[:-8] + b"12345678", "BadGzipFile"),
        ("a.jsonl.xz", lzma.compress(LINES)[:-5_000] + bytes(5_000), "LZMAError"),
    ],
    ids=["in the middle", "cut", "checksum", "xz"],
)
def test_a_damaged_file_ends_with_its_line_and_the_summary(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    summary = tried(path)
    assert summary.exit_code == 1 and summary.incomplete
    assert f"{path} is damaged and cannot be read beyond line {summary.read:,} ({why}" in summary.error
    assert "fetch or pack it anew" in summary.error
    assert name.endswith(".xz") or summary.sent > 1_000, "what stood before the damage counts"
    shown = Console(width=500)
    with shown.capture() as captured:
        shown.print(summary.table())
    assert "fetch or pack it anew" in captured.get() and f"{summary.sent:,}" in captured.get()


def test_no_name_of_a_file_is_markup() -> None:
    out = io.StringIO()
    with Bar(Console(file=out, width=200), "[/shop].csv", 1) as bar:
        bar.end(1, 0)
    assert "[/shop].csv" in out.getvalue()
