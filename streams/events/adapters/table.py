"""Reads tables of delimited text: finds the dialect, and gives each row as a record by column.

A row whose quote is never closed is refused alone, and reading goes on at the next line. Knows CSV; nothing of what the
columns mean.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from streams.events.adapters.gate import Entry, unread
from streams.events.adapters.mapping import MappingConfig, MappingError
from streams.events.adapters.source import Line, Source

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
SEPARATOR = re.compile(rb'"?sep=(.)"?\s*', re.I)
"""The first line of what Excel writes, which is no header."""
ROW_LINES = 5_000
"""The most lines of one row."""
LOOKED_AT = 200
"""How many lines the dialect is found by."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a table is written. ``quote`` is None where quotes are letters as any; ``escape`` precedes a quote in quotes
    where they are not doubled."""

    delimiter: str = ","
    quote: str | None = '"'
    escape: str | None = None

    def __str__(self) -> str:
        name = DELIMITERS.get(self.delimiter, repr(self.delimiter))
        more = ["no quotes"] if self.quote is None else ["quotes escaped by \\"] if self.escape else []
        return ", ".join([f"delimiter {name}", *more])

    def reader(self, lines: list[str], strict: bool) -> Any:
        """The csv module's reader of some lines."""
        return csv.reader(
            lines, delimiter=self.delimiter, quotechar=self.quote, escapechar=self.escape,
            doublequote=self.escape is None, strict=strict,
            quoting=csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One row with its original text; ``error`` says why it has no cells."""

    line: Line
    cells: list[str]
    error: str = ""


def detect(sample: str, quote: str | None = '"') -> Dialect:
    """The dialect of a table that begins like this: the delimiter by which the rows agree with the header.

    Examples
    --------
    >>> detect("sku;name;price\\n1;Lamp, red;12,50\\n2;Desk;8,00\\n").delimiter
    ';'
    >>> detect('sku\\tname\\n1\\t"a\\n b"\\n').delimiter
    '\\t'
    """
    lines = [Line(number, text.rstrip("\r").encode()) for number, text in enumerate(sample.split("\n"), 1)]
    escape = "\\" if quote and sample.count(f"\\{quote}") > sample.count(quote * 2) else None
    if told := SEPARATOR.match(lines[0].raw):
        return Dialect(told[1].decode(), quote, escape)
    best, found = (0.0, 1), Dialect(quote=quote, escape=escape)
    for delimiter in DELIMITERS:
        dialect = Dialect(delimiter, quote, escape)
        widths = [
            len(row.cells) for row in rows(iter(lines[: min(LOOKED_AT, len(lines) - 1) or 1]), dialect) if not row.error
        ]
        if not widths or widths[0] < 2:
            continue
        score = (round(sum(width == widths[0] for width in widths) / len(widths), 1), widths[0])
        if score > best:
            best, found = score, dialect
    return found


def rows(lines: Iterator[Line], dialect: Dialect, replaced: bool = False) -> Iterator[Row]:
    """Every row that is not blank, its header first.

    Parameters
    ----------
    replaced
        Whether the text was in another encoding, so that U+FFFD stands for what could not be decoded.

    Examples
    --------
    >>> text = [b"id,title", b'1,"open', b"2,Desk", b'3,"a', b'b"', b'4,5" nail']
    >>> for row in rows((Line(n, raw) for n, raw in enumerate(text, 1)), Dialect()): print(row.line.number, row.cells)
    1 ['id', 'title']
    2 []
    3 ['2', 'Desk']
    4 ['3', 'a\\nb']
    6 ['4', '5" nail']
    """
    again: deque[Line] = deque()
    quote = dialect.quote.encode() if dialect.quote else b""
    width = 0
    while (line := again.popleft() if again else next(lines, None)) is not None:
        raw = line.raw
        if not raw.strip() or (line.number == 1 and SEPARATOR.fullmatch(raw)):
            continue
        if not line.complete:
            yield Row(line, [], f"the row is longer than {len(raw)} bytes")
            continue
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            yield Row(line, [], "the row is not UTF-8: convert the file, or say with --encoding what it is in")
            continue
        if replaced and "\ufffd" in text:
            row = Row(line, [], "a letter cannot be decoded: say with --encoding what the file is in")
        elif not quote or quote not in raw:
            row = Row(line, text.split(dialect.delimiter))
        elif _closed(raw, quote, dialect):
            row = _parsed(line, [text], dialect, strict=False)
        else:
            row = _open_row(line, text, lines, again, dialect, width)
        width = width or len(row.cells)
        yield row


def _closed(raw: bytes, quote: bytes, dialect: Dialect) -> bool:
    count = raw.count(quote) - (raw.count(b"\\" + quote) if dialect.escape else 0)
    return count % 2 == 0


def _parsed(line: Line, texts: list[str], dialect: Dialect, strict: bool) -> Row:
    reader = dialect.reader(texts, strict)
    try:
        cells = next(reader)
    except csv.Error as error:
        return Row(line, [], str(error))
    except StopIteration:
        return Row(line, [], "no cells")
    return Row(line, cells, "" if reader.line_num == len(texts) else "more than one row")


def _open_row(first: Line, text: str, lines: Iterator[Line], again: deque[Line], dialect: Dialect, width: int) -> Row:
    """The row that begins on a line with an odd number of quotes: the line alone, if the quotes are letters in a cell;
    else with the lines up to the next odd one. If these make no row, the first is refused, and the others wait."""
    alone = _parsed(first, [text], dialect, strict=True)
    if not alone.error and (not width or len(alone.cells) == width):
        return alone
    quote = (dialect.quote or "").encode()
    taken, size = [first], len(first.raw)
    while len(taken) < ROW_LINES and size < 1_000_000:
        line = again.popleft() if again else next(lines, None)
        if line is None:
            break
        taken.append(line)
        size += len(line.raw)
        if not _closed(line.raw, quote, dialect):
            break
    raw = b"\n".join(line.raw for line in taken)
    try:
        texts = [f"{line.raw.decode()}\n" for line in taken]
        joined = _parsed(Line(first.number, raw), texts, dialect, strict=True)
    except UnicodeDecodeError:
        joined = Row(first, [], "not UTF-8")
    if len(taken) > 1 and not joined.error and len(joined.cells) == (width or len(joined.cells)):
        return joined
    again.extendleft(reversed(taken[1:]))
    return Row(first, [], "a quote is opened and not closed: close or double it, or read with --quote none")


def records(source: Source, mapping: MappingConfig, dialect: Dialect) -> Iterator[Entry | tuple[Line, dict[str, Any]]]:
    """Each row as a record by column name, or an entry that says why it cannot be read; the first item is the header.

    Raises
    ------
    MappingError
        When the header cannot be read.
    """
    found = rows(source.lines(blank=True), dialect, replaced=not source.encoding.startswith("utf-8"))
    header = _header(next(found, None), mapping)
    width = len(header)
    for row in found:
        cells = row.cells
        if row.error:
            yield unread(row.line, "malformed" if row.line.complete else "oversized", row.error)
        elif len(cells) == width or (len(cells) > width and not any(cells[width:])):
            yield row.line, dict(zip(header, cells, strict=False))
        else:
            yield unread(row.line, "malformed", f"{len(cells)} cells; the header has {width}")


def header(source: Source, mapping: MappingConfig, dialect: Dialect) -> list[str]:
    """The names of the columns, from the file's beginning; nothing of it is consumed.

    Raises
    ------
    MappingError
        When the header cannot be read.
    """
    lines = (Line(n, raw.rstrip(b"\r")) for n, raw in enumerate(source.sample.split(b"\n"), 1))
    return _header(next(rows(lines, dialect, replaced=not source.encoding.startswith("utf-8")), None), mapping)


def _header(row: Row | None, mapping: MappingConfig) -> list[str]:
    if row is None:
        return []
    if b"\r" in row.line.raw and not row.error:
        raise MappingError("the lines end with a carriage return alone: convert the file, as tr '\\r' '\\n' does")
    if row.error:
        raise MappingError(f"the header cannot be read: {row.error}")
    return [mapping.name(cell) for cell in row.cells]
