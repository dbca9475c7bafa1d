"""Reads files with one JSON object per line: our own events and items or, with a mapping, a shop's records."""

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from streams.events.adapters.gate import Entry, Validator, unread
from streams.events.adapters.mapped import Mapped
from streams.events.adapters.mapping import MappingConfig
from streams.events.adapters.source import Line, Source
from streams.events.decode import Refusal, refuse


def read(
    source: Source, kind: Literal["items", "events"], mapping: MappingConfig, validator: Validator
) -> Iterator[Entry]:
    """One entry for each line; a mapping without fields leaves objects as they are."""
    mapped = Mapped(kind, mapping, validator) if mapping.fields else None
    for line in source.lines():
        if not line.complete:
            yield unread(line, "oversized", f"the line is longer than {len(line.raw)} bytes")
        elif mapped is None and kind == "events":
            yield Entry(line, validator.raw_event(line.raw))
        else:
            record = parsed(line)
            if isinstance(record, Refusal):
                yield Entry(line, record)
            else:
                yield Entry(line, mapped.outcome(record) if mapped else validator.item(record))


def parsed(line: Line) -> dict[str, Any] | Refusal:
    """The JSON object on a line.

    Examples
    --------
    >>> parsed(Line(1, b'{"a": 1}')), parsed(Line(2, b"[1]"))
    ({'a': 1}, Refusal(reason='invalid', detail='Expected `object`, got `list`'))
    """
    try:
        record = msgspec.json.decode(line.raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return refuse("malformed", f"{type(error).__name__}: {error}")
    if not isinstance(record, dict):
        return refuse("invalid", f"Expected `object`, got `{type(record).__name__}`")
    return record
