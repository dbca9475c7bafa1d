"""Files as tables: CSV, JSON lines and Parquet, plain, ``.gz`` or ``.xz``, whole or in batches; and their columns.

Knows polars, files and the usual names of columns; nothing of what a table is for.
"""

import codecs
import gzip
import hashlib
import lzma
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import polars as pl

OPENERS: dict[str, Callable[..., Any]] = {".xz": lzma.open, ".gz": gzip.open}

SEPARATORS = {".csv": ",", ".tsv": "\t"}
LINES = (".jsonl", ".ndjson")

CHUNK = 1 << 20
"""Bytes that are read at a time."""

ALIASES: dict[str, tuple[str, ...]] = {
    "query": ("query", "search_term", "q", "search", "keywords", "搜索词"),
    "item": (
        "item_id",
        "item",
        "product_id",
        "doc_id",
        "clicked_doc_id",
        "upc",
        "sku",
        "stockcode",
        "asin",
        "id",
        "商品编号",
        "商品ID",
    ),
    "text": ("title", "name", "product_title", "description", "text", "item_title", "标题", "商品名称"),
    "gain": ("relevance", "gain", "grade", "label", "rating", "clicked", "click", "评分"),
    "list": (
        "sess_id",
        "session_id",
        "list_id",
        "shelf_id",
        "impression_id",
        "invoiceno",
        "invoice",
        "order_id",
        "list",
        "订单号",
    ),
    "rank": ("rank", "position"),
    "shopper": ("user_id", "customerid", "customer_id", "shopper", "visitor_id", "用户ID", "用户编号"),
    "time": ("ts", "timestamp", "time", "invoicedate", "date", "event_time", "时间", "日期"),
    "quantity": ("quantity", "qty", "数量"),
    "price": ("price", "unitprice", "unit_price", "价格", "单价"),
    "currency": ("currency", "currency_code", "币种"),
    "brand": ("brand", "manufacturer", "supplier", "品牌"),
    "seller": ("seller", "seller_id", "merchant", "vendor", "卖家", "商家"),
    "propensity": ("propensity", "propensity_score"),
}
"""The columns in which a field is looked for, the likeliest first; the case of letters does not matter."""


class DataError(ValueError):
    """Data that cannot be used; the message names the file and what to do."""


UNREADABLE = (OSError, EOFError, lzma.LZMAError, zlib.error)
"""What reading a file raises, packed or plain."""


def unreadable(path: Path, error: Exception) -> str:
    """Why a file cannot be read, in one sentence, and what to do.

    Examples
    --------
    >>> unreadable(Path("a.csv.xz"), EOFError("Compressed file ended"))
    'a.csv.xz is damaged or cut off: Compressed file ended. Fetch it again, or write it again.'
    >>> unreadable(Path("a.csv"), pl.exceptions.ComputeError("no lines.\\nHint: more"))
    'a.csv cannot be read as a table of this kind: no lines.'
    """
    said = str(error).strip().partition("\n")[0].rstrip(".")
    if isinstance(error, EOFError | lzma.LZMAError | zlib.error | gzip.BadGzipFile):
        return f"{path} is damaged or cut off: {said}. Fetch it again, or write it again."
    if isinstance(error, OSError):
        return f"{path} cannot be read: {error.strerror or said}."
    return f"{path} cannot be read as a table of this kind: {said}."


def read_table(path: Path) -> pl.DataFrame:
    """A file as a table.

    Raises
    ------
    DataError
        When it is not there, or no table.
    """
    kind = table_kind(path)
    try:
        with OPENERS.get(path.suffix, Path.open)(path, "rb") as file:
            content = file.read()
        if not content.strip():
            raise DataError(f"{path} is empty. Give a file with rows.")
        if kind in SEPARATORS:
            separator = separator_of(content.partition(b"\n")[0], kind)
            found = pl.read_csv(content, separator=separator, infer_schema=False, encoding="utf8-lossy")
        elif kind in LINES:
            found = pl.read_ndjson(content, infer_schema_length=None)
        else:
            found = pl.read_parquet(content)
    except (pl.exceptions.PolarsError, *UNREADABLE) as error:
        raise DataError(unreadable(path, error)) from error
    if not found.height:
        raise DataError(f"{path} has no rows. Give a file with some.")
    return found


def table_kind(path: Path) -> str:
    """The suffix that says what kind of table a file is, without that of its compression.

    Raises
    ------
    DataError
        When the file is not there, or its name says no kind.
    """
    if not path.is_file():
        raise DataError(f"{path} is not there.")
    kind = (path.with_suffix("") if path.suffix in OPENERS else path).suffix.lower()
    if kind not in (*SEPARATORS, *LINES, ".parquet"):
        raise DataError(f"{path}: {kind or 'no suffix'} is read as no table. Give .csv, .tsv, .jsonl or .parquet.")
    return kind


def separator_of(header: bytes, kind: str) -> str:
    """What separates the columns: in a ``.csv`` what its first line has more of, commas or semicolons.

    Spreadsheets write semicolons where the decimal mark is a comma. What stands in quotes does not count.

    Examples
    --------
    >>> separator_of(b'Artikel;"Preis, netto";Menge', ".csv"), separator_of(b"a;b,c,d", ".csv")
    (';', ',')
    """
    bare = b"".join(header.split(b'"')[::2])
    return ";" if kind == ".csv" and bare.count(b";") > bare.count(b",") else SEPARATORS[kind]


@dataclass(frozen=True, slots=True)
class Source:
    """A file that is ready to be read in batches.

    Attributes
    ----------
    path : Path
        The file as the user named it.
    plain : Path
        The same without compression and in UTF-8.
    kind : str
        The suffix of its kind, such as ``.csv``.
    sha256 : str
        Of the file as it was given.
    schema : Schema or None
        Of JSON lines, by all of them.
    """

    path: Path
    plain: Path
    kind: str
    sha256: str
    schema: pl.Schema | None = None

    def scan(self) -> pl.LazyFrame:
        """All rows, read when they are needed. Columns of CSV are text."""
        if self.kind in SEPARATORS:
            with self.plain.open("rb") as file:
                separator = separator_of(file.readline(CHUNK), self.kind)
            return pl.scan_csv(self.plain, separator=separator, infer_schema=False, glob=False)
        if self.kind in LINES:
            return pl.scan_ndjson(self.plain, schema=self.schema)
        return pl.scan_parquet(self.plain, glob=False)

    def batches(self, rows: int, columns: Sequence[str] = ()) -> Iterator[pl.DataFrame]:
        """All rows in their order, at most so many at a time, with these columns or all."""
        if self.kind in LINES:
            for block in _line_blocks(self.plain):
                some = pl.read_ndjson(block, schema=self.schema)
                yield from (some.select(columns) if columns else some).iter_slices(rows)
            return
        chosen = self.scan().select(columns) if columns else self.scan()
        for batch in chosen.collect_batches(chunk_size=rows, maintain_order=True):
            if batch.height:
                yield batch


def open_source(path: Path, folder: Path, encoding: str = "utf-8") -> Source:
    """Unpack a file to a folder and check its encoding, in bounded memory; a plain file is only linked.

    Raises
    ------
    DataError
        When it is not there, no table, damaged, or not in this encoding.
    """
    kind = table_kind(path)
    plain = folder / f"source{len(list(folder.glob('source*')))}{kind}"
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        copied = path.suffix in OPENERS or _is_other(encoding)
        with OPENERS.get(path.suffix, Path.open)(path, "rb") as file:
            if kind == ".parquet":
                if path.suffix in OPENERS:
                    with plain.open("wb") as target:
                        shutil.copyfileobj(file, target, CHUNK)
            elif copied:
                with plain.open("wb") as target:
                    _check_text(file, encoding, target)
            else:
                _check_text(file, encoding, None)
        if not plain.exists():
            plain.symlink_to(path.resolve())
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not in {encoding}. Name its encoding with --encoding, such as cp1252 or gb18030."
        ) from error
    except LookupError as error:
        raise DataError(f"{encoding} is no encoding. Known are for example utf-8, cp1252 and gb18030.") from error
    except UNREADABLE as error:
        raise DataError(unreadable(path, error)) from error
    return Source(path, plain, kind, digest, _lines_schema(plain) if kind in LINES else None)


def _lines_schema(path: Path) -> pl.Schema:
    """The columns of JSON lines and their types, by all lines, some of them in memory at a time."""
    found = pl.DataFrame()
    for block in _line_blocks(path):
        found = pl.concat([found, pl.read_ndjson(block, infer_schema_length=None).clear()], how="diagonal_relaxed")
    return found.schema


def _line_blocks(path: Path) -> Iterator[bytes]:
    """A file's lines in blocks; a mapping of the whole file would count as memory."""
    with path.open("rb") as file:
        while lines := file.readlines(16 * CHUNK):
            if block := b"".join(lines).strip():
                yield block


def _is_other(encoding: str) -> bool:
    return codecs.lookup(encoding).name != "utf-8"


def _check_text(file: IO[bytes], encoding: str, target: IO[bytes] | None) -> None:
    decoder = codecs.getincrementaldecoder(encoding)()
    while chunk := file.read(CHUNK):
        text = decoder.decode(chunk)
        if target:
            target.write(text.encode())
    decoder.decode(b"", final=True)


def match_columns(columns: Sequence[str], given: Mapping[str, str], wanted: Iterable[str], path: str) -> dict[str, str]:
    """Each field's column: as given, else guessed by its name; fields that are not found are left out.

    Raises
    ------
    DataError
        When a wanted field is not found, or a given column is not there.

    Examples
    --------
    >>> match_columns(["Query", "relevance"], {}, ["query", "gain"], "f.csv")
    {'query': 'Query', 'gain': 'relevance'}
    >>> match_columns(["q"], {}, ["gain"], "f.csv")
    Traceback (most recent call last):
    evaluator.preparation.tables.DataError: f.csv has no column for gain: it has q. Name one with --column gain=NAME.
    >>> match_columns(["Invoice No", "StockCode", "x"], {"text": "x"}, [], "f.csv")
    {'item': 'StockCode', 'text': 'x', 'list': 'Invoice No'}
    """
    if unknown := [field for field in given if field not in ALIASES]:
        raise DataError(f"{unknown[0]} is no field. Fields are {', '.join(ALIASES)}.")
    taken = set(given.values())
    known = {_bare(name): name for name in reversed(columns) if name not in taken}
    found = {}
    for field, names in ALIASES.items():
        if field in given:
            if given[field] not in columns:
                raise DataError(f"{path} has no column {given[field]!r}: it has {', '.join(columns)}.")
            found[field] = given[field]
        elif match := next((known[_bare(name)] for name in names if _bare(name) in known), None):
            found[field] = match
    for field in wanted:
        if field not in found:
            raise DataError(
                f"{path} has no column for {field}: it has {', '.join(columns)}. Name one with --column {field}=NAME."
            )
    return found


def _bare(name: str) -> str:
    """A column's name without what writers of files vary: case, spaces, underscores."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())
