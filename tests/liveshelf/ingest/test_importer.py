"""What an import tells of a file that it cannot read to its end; nothing is sent, so no broker is needed."""

import gzip
import io
import json
import lzma
import zlib
from pathlib import Path

import pytest
from rich.console import Console

from liveshelf.ingest.importer import import_items, replay
from liveshelf.ingest.progress import Bar
from liveshelf.ingest.summary import ImportSummary
from liveshelf.terminal import make_console
from streams.config import EventsConfig, KafkaConfig, TopicsConfig
from streams.events.adapters.mapping import MappingConfig, load

LINES = "".join(json.dumps({"item_id": str(n), "title": f"{n * n} {n**3}"}) + "\n" for n in range(20_000)).encode()


def tried(path: Path | str, mapping: MappingConfig | None = None, refused: Path | None = None) -> ImportSummary:
    return (replay if mapping is not None and mapping.kind == "events" else import_items)(
        path,
        kafka=KafkaConfig(),
        topics=TopicsConfig(),
        events=EventsConfig(),
        mapping=mapping,
        refused_path=refused,
        dry_run=True,
        console=make_console(quiet=True),
    )


def shown(summary: ImportSummary) -> str:
    console = Console(width=500)
    with console.capture() as captured:
        console.print(summary.table())
    return captured.get()


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
    assert "fetch or pack it anew" in shown(summary) and f"{summary.sent:,}" in shown(summary)


def test_no_name_of_a_file_is_markup() -> None:
    out = io.StringIO()
    with Bar(Console(file=out, width=200), "[/shop].csv", 1) as bar:
        bar.end(1, 0)
    assert "[/shop].csv" in out.getvalue()


SAMPLES = Path(__file__).parents[2] / "streams" / "events" / "samples"


@pytest.mark.parametrize("sample", sorted(path.name for path in SAMPLES.iterdir()))
def test_lines_are_counted_and_add_up(sample: str) -> None:
    summary = tried(SAMPLES / sample, load(sample.partition(".")[0].removesuffix("-atom")))
    taken = summary.sent + summary.duplicates + summary.left_out.total() + summary.refused.total()
    assert summary.read + summary.made - summary.joined == taken
    assert summary.exit_code == 0 and summary.incomplete == "", "what is left out on purpose is no failure"


def test_what_was_found_and_converted_is_said() -> None:
    text = shown(tried(SAMPLES / "woocommerce.csv", load("woocommerce")))
    for said in (
        "CSV, delimiter comma",
        "decimal mark",
        "hidden",
        "not_published",
        "joined",
        "price from a text, as of '1.134,50'",
    ):
        assert said in text, text


@pytest.mark.parametrize(
    ("name", "content", "fields", "says"),
    [
        (
            "a.csv",
            "id,name\n1,\n2,\n",
            ["item_id=id", "title=name"],
            "2 of 2 records are invalid (line 2: Object missing",
        ),
        ("a.jsonl", "no\njson\n", [], "--format, --encoding"),
    ],
)
def test_a_file_of_which_every_line_is_refused_ends_with_one_sentence(
    tmp_path: Path, name: str, content: str, fields: list[str], says: str
) -> None:
    (tmp_path / name).write_text(content)
    summary = tried(tmp_path / name, load(fields=fields), tmp_path / "refused")
    assert summary.exit_code == 1 and summary.sent == 0
    assert summary.likely_cause.startswith("nothing was taken") and says in summary.likely_cause
    assert summary.likely_cause in shown(summary)
    lines = [json.loads(line) for line in (tmp_path / "refused").read_text().splitlines()]
    assert len(lines) == 2 and all(line["detail"] and line["line"] for line in lines)


def test_an_id_with_far_more_events_than_any_other_is_told(tmp_path: Path) -> None:
    rows = "".join(f"{1_768_003_200_000 + n},{'visitor' if n % 2 else f'u{n}'},i{n}\n" for n in range(2_000))
    (tmp_path / "a.csv").write_text(f"ts,user_id,item_id\n{rows}")
    mapping = load(fields=["type==click", "ts=ts", "user_id=user_id", "item_id=item_id"], kind="events")
    assert "'visitor' has 1,000 of 2,000 events" in shown(tried(tmp_path / "a.csv", mapping))


def test_a_damage_among_the_first_records_is_told_after_them(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text("<rss><item><id>1</id><title>Lamp</title></item>\n<item><id>2</rss>")
    summary = tried(path, load("google-merchant"))
    assert (summary.sent, summary.exit_code) == (1, 1) and "line 2: the XML is malformed" in summary.error
