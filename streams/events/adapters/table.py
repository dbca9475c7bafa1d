"""Reads CSV with a header: one row is one item, one event or, with ``rankings``, one result shown to a shopper."""

from collections.abc import Iterator
from typing import Literal

from streams.events.adapters.gate import Entry, Validator, unread
from streams.events.adapters.mapped import Mapped
from streams.events.adapters.mapping import MappingConfig, MappingError, Record
from streams.events.adapters.rankings import Rankings
from streams.events.adapters.source import Line, Row, Source


def read(
    source: Source, kind: Literal["items", "events"], mapping: MappingConfig, validator: Validator
) -> Iterator[Entry]:
    """One entry for each row, or with rankings a few entries for each list.

    Raises
    ------
    MappingError
        When the header cannot be read, lacks a column that the mapping names, or has one of them twice.
    """
    rows = records(source, mapping)
    if mapping.rankings is None:
        mapped = Mapped(kind, mapping, validator)
        for row in rows:
            yield row if isinstance(row, Entry) else Entry(row[0], mapped.outcome(row[1]))
    else:
        yield from Rankings(mapping, mapping.rankings, validator).read(rows)


def records(source: Source, mapping: MappingConfig) -> Iterator[Entry | tuple[Line, Record]]:
    """Each row as a record by column name, or an entry that says why it cannot be read."""
    header: list[str] = []
    for row in source.rows(mapping.delimiter):
        if not header:
            header = _header(row)
            _check(header, mapping)
        elif row.error:
            yield unread(row.line, "malformed", row.error)
        elif not row.line.complete:
            yield unread(row.line, "oversized", f"the row is longer than {len(row.line.raw)} bytes")
        elif len(row.cells) != len(header):
            yield unread(row.line, "malformed", f"{len(row.cells)} cells; the header has {len(header)}")
        else:
            yield row.line, dict(zip(header, row.cells, strict=True))


def _header(row: Row) -> list[str]:
    """The columns' names."""
    if row.error and b"\r" in row.line.raw:
        raise MappingError("the lines end with a carriage return alone: convert the file, as tr '\\r' '\\n' does")
    if row.error:
        raise MappingError(f"the header cannot be read: {row.error}; convert the file to UTF-8 CSV")
    return [cell.strip() for cell in row.cells]


def _check(header: list[str], mapping: MappingConfig) -> None:
    if not mapping.fields:
        raise MappingError(f"a table needs a mapping (docs/import.md); its columns are {', '.join(header)}")
    if missing := sorted(mapping.columns() - set(header)):
        raise MappingError(f"no column {', '.join(missing)}; there are {', '.join(header)}")
    if twice := sorted({name for name in header if header.count(name) > 1 and mapping.reads(name)}):
        raise MappingError(f"the header has {', '.join(twice)} more than once: rename all but the one that is meant")
