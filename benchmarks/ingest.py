"""How many rows a second does an import read, map, clean and check, and does its memory stay bounded?

``python -m benchmarks.ingest --json FILE``: a made catalogue of a million rows in each format, read by one process as
``liveshelf import items`` reads it, without Kafka and without encoding. ``plain`` has values of our types; ``dirty``
has prices with decimal commas and currencies, words of stock, HTML and missing values, as exports have them.
"""

import json as text_of
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Annotated, Any

import psutil
import typer

from benchmarks.report import Report
from benchmarks.smoke import smoke
from streams.clock import wall_ms
from streams.config import EventsConfig
from streams.events.adapters.files import read
from streams.events.adapters.mapping import MappingConfig, load
from streams.events.adapters.source import Source
from streams.events.decode import Refusal

MEGABYTE = 1024 * 1024
FIELDS = ("id", "title", "description", "product_type", "brand", "price", "availability")
OURS = ("item_id", "title", "description", "category", "brand", "price", "in_stock")
LOOKED_AT = 10_000
"""Memory is looked at after each so many rows."""


def rows(count: int, dirty: bool) -> Iterator[dict[str, str]]:
    """A made catalogue: eight words of title, forty of description."""
    chance = random.Random(1)
    words = [f"word{number}" for number in range(3_000)]
    texts = [tuple(" ".join(chance.choices(words, k=size)) for size in (8, 40)) for _ in range(5_000)]
    for number in range(count):
        title, text = texts[number % len(texts)]
        values = [f"{number}", title, f"{text}, and more", f"Home > {number % 50}", f"Maker {number % 300}"]
        if dirty:
            values[2] = f"<p>{text} &amp; more</p>"
            values += [f"1.{number % 900 + 100},50 EUR", "in stock" if number % 3 else ""]
        else:
            values += [f"{number % 900}.50", "true"]
        yield dict(zip(FIELDS, values, strict=True))


def csv(file: IO[str], made: Iterator[dict[str, str]]) -> None:
    """A table with commas."""
    file.write(",".join(FIELDS) + "\n")
    for row in made:
        file.write(",".join(f'"{value}"' if "," in value else value for value in row.values()) + "\n")


def jsonl(file: IO[str], made: Iterator[dict[str, str]]) -> None:
    """An object a line."""
    file.writelines(text_of.dumps(row) + "\n" for row in made)


def json_array(file: IO[str], made: Iterator[dict[str, str]]) -> None:
    """One array in a document."""
    file.write('{"products": [')
    file.writelines(("" if not number else ",\n") + text_of.dumps(row, indent=1) for number, row in enumerate(made))
    file.write("]}")


def xml(file: IO[str], made: Iterator[dict[str, str]]) -> None:
    """A feed as RSS."""
    file.write("<rss><channel>")
    for row in made:
        inside = "".join(
            f"<g_{name}>{value.replace('&', '&amp;').replace('<', '&lt;')}</g_{name}>" for name, value in row.items()
        )
        file.write(f"<item>{inside.replace('g_', '')}</item>\n")
    file.write("</channel></rss>")


FORMS: dict[str, tuple[str, Callable[[IO[str], Iterator[dict[str, str]]], None]]] = {
    "CSV": ("items.csv", csv),
    "JSON lines": ("items.jsonl", jsonl),
    "JSON array": ("items.json", json_array),
    "RSS": ("items.xml", xml),
}


def measured(path: Path, mapping: MappingConfig) -> dict[str, Any]:
    """Figures of one reading."""
    process = psutil.Process()
    before = peak = process.memory_info().rss
    counts: Counter[bool] = Counter()
    begin = time.process_time()
    with Source(path) as source:
        entries = read(source, "items", mapping, wall_ms(), EventsConfig())
        while some := list(islice(entries, LOOKED_AT)):
            counts.update(isinstance(entry.outcome, Refusal) for entry in some)
            peak = max(peak, process.memory_info().rss)
    spent = time.process_time() - begin
    size = path.stat().st_size / MEGABYTE
    return {
        "rows": counts.total(),
        "refused": counts[True],
        "rows_per_cpu_s": counts.total() / spent,
        "mb": size,
        "mb_per_cpu_s": size / spent,
        "memory_mb": (peak - before) / MEGABYTE,
    }


@smoke(count=2_000)
def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    count: Annotated[int, typer.Option("--rows", help="Rows of each file.")] = 1_000_000,
) -> None:
    """Measure, print a table, and write JSON where wanted."""
    mapping = load(None, None, [f"{ours}={theirs}" for ours, theirs in zip(OURS, FIELDS, strict=True)])
    report = Report("ingest", rows=count)
    with tempfile.TemporaryDirectory() as folder:
        for form, (name, write) in FORMS.items():
            for dirty in (False, True):
                path = Path(folder) / name
                with path.open("w", encoding="utf-8") as file:
                    write(file, rows(count, dirty))
                report.row(format=form, values="dirty" if dirty else "plain", **measured(path, mapping))
                path.unlink()
    report.write(json)


if __name__ == "__main__":
    typer.run(main)
