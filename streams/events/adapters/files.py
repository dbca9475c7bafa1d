"""Reads any file of a shop as entries: finds its encoding, format and dialect, and maps and checks its records.

What it finds is told in ``notes.facts``. Chooses among the adapters; knows nothing of their formats.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any, Literal

from streams.config import EventsConfig
from streams.events.adapters import documents, feed, parquet, table, ubi
from streams.events.adapters.encoding import SAMPLE
from streams.events.adapters.expression import columns, compiled
from streams.events.adapters.gate import Entry, Validator
from streams.events.adapters.mapper import Mapper
from streams.events.adapters.mapping import NAMES, Format, MappingConfig, MappingError, any_of
from streams.events.adapters.rankings import Rankings
from streams.events.adapters.source import Line, Source, SourceError
from streams.events.adapters.variants import Variants
from streams.events.amounts import decimal_mark
from streams.events.cleaning import Notes
from streams.events.decode import Refusal

Kind = Literal["items", "events"]
Row = Entry | tuple[Line, dict[str, Any]]
FIRST = 1_000
"""How many records are looked at before the first is mapped."""
MOST_OF_A_GROUP = 100
"""The most variants of one product among the first records."""


def read(
    source: Source,
    kind: Kind,
    mapping: MappingConfig,
    now_ms: int,
    config: EventsConfig,
    notes: Notes | None = None,
) -> Iterator[Entry]:
    """Every record of the file, in its order.

    Parameters
    ----------
    now_ms : int
        The time now, epoch milliseconds: events dated after it are refused. A file does not say when its lines came,
        unlike the records of a topic.
    notes
        Where it is told how the file is read, and what is converted.

    Raises
    ------
    MappingError
        When the mapping does not fit the file, before or with the first record.
    SourceError
        When the file is damaged; entries before the damage are yielded first.
    """
    if mapping.kind is not None and mapping.kind != kind:
        raise MappingError(f"this mapping makes {mapping.kind}, not {kind}")
    notes = notes if notes is not None else Notes()
    validator = Validator(now_ms, config, mapping.distinct, notes)
    form = mapping.format if mapping.format != "auto" else guess(source)
    if mapping.actions and form != "ubi":
        raise MappingError(f"[actions] is for UBI files, and this one is {form}: use [values.type]")
    if form == "ubi":
        if kind == "items":
            raise MappingError("UBI files hold no items")
        return ubi.Ubi(mapping, validator).read(source)
    if form == "csv":
        return _table(source, kind, mapping, validator)
    if mapping.rankings is not None:
        raise MappingError(f"[rankings] is for tables, and this file is {form}")
    inside = mapping.records or (documents.guessed_path(source.sample) if form == "json" else "")
    say(notes, source, form, f"records at {inside}" if inside else "")
    if mapping.is_own:
        return _own(source, kind, mapping, form, validator)
    return _mapped(rows_of(source, mapping, form), kind, mapping, validator, flat=False)


def guess(source: Source) -> Format:
    """The format of a file, by its name or its beginning.

    Examples
    --------
    >>> import tempfile; from pathlib import Path
    >>> path = Path(tempfile.mkdtemp()) / "orders"
    >>> _ = path.write_text("a;b\\n1;2\\n")
    >>> with Source(path) as source: guess(source)
    'csv'
    """
    if source.suffix == "parquet":
        return "parquet"
    begin = source.sample.lstrip()
    names = [part for part in source.name.lower().split(".")[1:] if part not in {"xz", "gz", "bz2"}]
    if begin[:1] == b"<":
        return "xml"
    if names and names[-1] in {"csv", "tsv", "tab"}:
        return "csv"
    if begin[:1] in {b"{", b"["}:
        first = documents.parsed(Line(1, begin.partition(b"\n")[0]))
        if not isinstance(first, Refusal) and (ubi.is_action(first) or "action_name" in first):
            return "ubi"
        return "json" if documents.is_document(source.sample) else "jsonl"
    named = bool(names) and names[-1] in {"json", "jsonl", "ndjson"}
    header = begin.partition(b"\n")[0]
    return "csv" if not named and any(mark.encode() in header for mark in table.DELIMITERS) else "jsonl"


def say(notes: Notes, source: Source, form: str, more: str = "") -> None:
    """Note how a file is read."""
    parts = [
        form.upper(),
        *([source.encoding] if source.encoding not in {"utf-8", "binary"} else []),
        *([more] if more else []),
    ]
    notes.facts["read as"] = ", ".join(parts)


def rows_of(source: Source, mapping: MappingConfig, form: Format) -> Iterator[Row]:
    """The records of a file that is no table."""
    if form == "parquet":
        return parquet.records(source)
    if form == "xml":
        rows: Iterator[Row] = feed.records(source, mapping.records)
    elif form == "json" or mapping.records:
        rows = documents.elements(source, mapping.records)
    else:
        rows = documents.lines(source)
    return _renamed(rows, mapping) if mapping.names == "loose" else rows


def _renamed(rows: Iterator[Row], mapping: MappingConfig) -> Iterator[Row]:
    for row in rows:
        yield row if isinstance(row, Entry) else (row[0], {mapping.name(name): value for name, value in row[1].items()})


def _own(source: Source, kind: Kind, mapping: MappingConfig, form: Format, validator: Validator) -> Iterator[Entry]:
    """Records that have our own names."""
    if form == "jsonl" and kind == "events" and not mapping.records:
        for line in source.lines():
            if line.complete:
                yield Entry(line, validator.raw_event(line.raw))
            else:
                yield Entry(line, documents.too_long(line))
        return
    passed: Callable[[dict[str, Any]], Any] = validator.item if kind == "items" else validator.own_event
    for row in rows_of(source, mapping, form):
        yield row if isinstance(row, Entry) else Entry(row[0], passed(row[1]))


def _table(source: Source, kind: Kind, mapping: MappingConfig, validator: Validator) -> Iterator[Entry]:
    sample = source.sample[:SAMPLE].decode("utf-8", "replace")
    quote = None if mapping.quote == "none" else mapping.quote
    dialect = table.detect(sample, quote)
    if mapping.delimiter is not None:
        dialect = table.Dialect(mapping.delimiter, quote, dialect.escape)
    say(validator.notes, source, "csv", str(dialect))
    header = table.header(source, mapping, dialect)
    mapping = _fitting(header, kind, mapping)
    rows = table.records(source, mapping, dialect)
    if mapping.rankings is not None:
        return Rankings(mapping, mapping.rankings, validator).read(rows)
    return _mapped(rows, kind, mapping, validator, flat=True)


def _fitting(header: list[str], kind: Kind, mapping: MappingConfig) -> MappingConfig:
    """The mapping, once it fits the header; without fields, that of columns with our own names."""
    there = ", ".join(header)
    if mapping.is_own:
        own = {name: name for name in header if name in NAMES}
        if not ({"item_id", "title"} if kind == "items" else {"type", "ts"}) <= own.keys():
            raise MappingError(
                f"a table needs a mapping, such as --preset or --map item_id=COLUMN: liveshelf import --guess proposes "
                f"one; its columns are {there}"
            )
        mapping = mapping.model_copy(update={"fields": own})
    needed = mapping.columns()
    if missing := sorted(name for name, must in needed.items() if must and name not in header):
        raise MappingError(f"no column {', '.join(missing)}; there are {there}")
    for field, text in mapping.fields.items():
        options = [columns(one) for one in text] if isinstance(text, tuple) else []
        found = any(all(name in header for name, _ in option) for option in options)
        if options and not found and any(must for _, must in options[-1]):
            raise MappingError(f"no column for {field}, which is one of {', '.join(text)}; there are {there}")
    if twice := sorted({name for name in header if header.count(name) > 1 and mapping.reads(name)}):
        raise MappingError(f"the header has {', '.join(twice)} more than once: rename all but the one that is meant")
    return mapping


def _mapped(
    rows: Iterator[Row], kind: Kind, mapping: MappingConfig, validator: Validator, *, flat: bool
) -> Iterator[Entry]:
    first, rows = _looked_at(rows)
    records = [row[1] for row in first if not isinstance(row, Entry)]
    mapping = _without_categories(records, mapping, validator.notes, flat=flat)
    if not flat:
        _check(records, mapping)
    validator.decimal = mapping.decimal or _decimal(records, mapping, validator.notes, flat=flat)
    mapper = Mapper(kind, mapping.model_copy(update={"decimal": validator.decimal}), validator, flat=flat)
    every = chain(first, rows)
    if mapping.variants is not None:
        yield from Variants(mapping.variants, mapper, flat=flat).read(every)
        return
    for row in every:
        if isinstance(row, Entry):
            yield row
            continue
        line, record = row
        records_made = 1
        for outcome in mapper.outcomes(record):
            yield Entry(line, outcome, records_made)
            records_made = 0


def _looked_at(rows: Iterator[Row]) -> tuple[list[Row], Iterator[Row]]:
    """The first rows, and an iterator over the others, which tells of a damage among the first."""
    first: list[Row] = []
    try:
        for row in islice(rows, FIRST):
            first.append(row)
    except SourceError as error:
        return first, _damaged(error)
    return first, rows


def _damaged(error: SourceError) -> Iterator[Row]:
    yield from ()
    raise error


def _check(records: list[dict[str, Any]], mapping: MappingConfig) -> None:
    """Records of JSON and XML have no header: a name that none of the first has is one that is not there."""
    if not records:
        return
    for name, must in mapping.columns().items():
        value = compiled(name)
        if must and not any(name in record or value(record) is not None for record in records):
            there = sorted({key for record in records[:100] for key in record})[:40]
            raise MappingError(
                f"no {name} in the first {len(records):,} records; there are {', '.join(there)}. "
                f"Write {name}? if it is rare"
            )


def _without_categories(
    records: list[dict[str, Any]], mapping: MappingConfig, notes: Notes, *, flat: bool
) -> MappingConfig:
    """The mapping without ``group_id``, if that is a category, as some feeds have it: all of its items but one would
    be missing from a shelf."""
    text = mapping.fields.get("group_id")
    if text is None:
        return mapping
    group = any_of(text, mapping.values.get("group_id"), flat=flat)
    [(name, size)] = Counter(value for record in records if isinstance(value := group(record), str | int)).most_common(
        1
    ) or [("", 0)]
    if size <= MOST_OF_A_GROUP:
        return mapping
    notes.facts["group_id"] = (
        f"left out, since {name!r} has {size} of the first {len(records):,} items: it is a category"
    )
    return mapping.model_copy(update={"fields": {key: one for key, one in mapping.fields.items() if key != "group_id"}})


def _decimal(records: list[dict[str, Any]], mapping: MappingConfig, notes: Notes, *, flat: bool) -> Any:
    """The decimal mark of the prices."""
    text = mapping.fields.get("price")
    if text is None:
        return None
    price = any_of(text, flat=flat)
    mark = decimal_mark(value for record in records if isinstance(value := price(record), str))
    if mark == ",":
        notes.facts["decimal mark"] = "comma"
    return mark
