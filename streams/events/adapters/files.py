"""Reads any file of a shop as entries: chooses the adapter by the mapping, the name, or the first line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from streams.config import EventsConfig
from streams.events.adapters import jsonl, table, ubi
from streams.events.adapters.gate import Entry, Validator
from streams.events.adapters.mapping import MappingConfig, MappingError
from streams.events.adapters.source import Source
from streams.events.decode import Refusal

Kind = Literal["items", "events"]
Format = Literal["jsonl", "csv", "ubi"]


def read(source: Source, kind: Kind, mapping: MappingConfig, now_ms: int, config: EventsConfig) -> Iterator[Entry]:
    """Every record of the file, in its order.

    Parameters
    ----------
    now_ms : int
        The time now, epoch milliseconds: events dated after it are refused. A file does not say when its lines came,
        unlike the records of a topic.

    Raises
    ------
    MappingError
        When the mapping does not fit the file, before or with the first record.
    SourceError
        When the file is damaged or UTF-16; entries before the damage are yielded first.
    """
    if mapping.kind is not None and mapping.kind != kind:
        raise MappingError(f"this mapping makes {mapping.kind}, not {kind}")
    validator = Validator(now_ms, config, mapping.distinct)
    form = mapping.format if mapping.format != "auto" else guess(source.path)
    if form == "csv":
        return table.read(source, kind, mapping, validator)
    if form == "ubi":
        if kind == "items":
            raise MappingError("UBI files hold no items")
        return ubi.Ubi(mapping, validator).read(source)
    return jsonl.read(source, kind, mapping, validator)


def guess(path: Path) -> Format:
    """The format of a file.

    Examples
    --------
    >>> guess(Path("orders.csv.xz"))
    'csv'
    """
    names = [suffix for suffix in path.suffixes if suffix not in {".xz", ".gz"}]
    if names and names[-1] in {".csv", ".tsv"}:
        return "csv"
    with Source(path) as source:
        line = next(source.lines(), None)
    first = jsonl.parsed(line) if line else None
    if first is None or isinstance(first, Refusal):
        return "jsonl"
    return "ubi" if ubi.is_action(first) or "action_name" in first else "jsonl"
