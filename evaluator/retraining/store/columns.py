"""Labelled examples as columns and back, sorted.

Knows Arrow tables in memory; nothing of files. Rows are sorted by time, then by shopper and shelf, so that the examples
of one view are adjacent.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
import pyarrow as pa

from evaluator.attribution.example import LabelledExample
from streams.events.shelf import RankedRows

SCHEMA: Any = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("ts", pa.int64(), nullable=False),
        pa.field("shopper", pa.string(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("shelf_id", pa.string(), nullable=False),
        pa.field("surface", pa.string(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),
        pa.field("intent", pa.string(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
        pa.field("query", pa.string(), nullable=False),
        pa.field("history", pa.list_(pa.string()), nullable=False),
        pa.field("asked", pa.list_(pa.string()), nullable=False),
        pa.field("weights", pa.list_(pa.float64()), nullable=False),
        pa.field("popularity", pa.float64(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("arm", pa.string(), nullable=False),
        pa.field("propensity", pa.float64()),
        pa.field("ranked", pa.binary()),
    ]
)

ORDER = ("ts", "shopper", "shelf_id", "position", "id")
"""Sort key: groups the examples of one shopper's view of one shelf."""

RANKED = "ranked"
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(RankedRows).decode


def table(examples: Iterable[LabelledExample]) -> Any:
    """An Arrow table of the examples, in :data:`ORDER`.

    Examples
    --------
    >>> examples = [LabelledExample(id=str(ts), ts=ts, shopper="u", item_id="i", shelf_id="s", surface="feed",
    ...     position=0, intent="look", history=["a"]) for ts in (9, 5)]
    >>> rows(table(examples)) == examples[::-1]
    True
    """
    ordered = sorted(examples, key=lambda one: tuple(getattr(one, name) for name in ORDER))
    columns = [pa.array([_stored(one, field.name) for one in ordered], field.type) for field in SCHEMA]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def _stored(one: LabelledExample, name: str) -> Any:
    if name == RANKED:
        return None if one.ranked is None else _pack(one.ranked)
    return getattr(one, name)


def whole(columns: Any) -> Any:
    """A table of a file with all columns: those of an older release's lack what items were ranked by."""
    if RANKED in columns.column_names:
        return columns
    return columns.append_column(SCHEMA.field(RANKED), pa.nulls(len(columns), pa.binary()))


def rows(columns: Any) -> list[LabelledExample]:
    """The examples of a table, in the table's order."""
    found = whole(columns).to_pylist()
    for one in found:
        if one[RANKED] is not None:
            one[RANKED] = _unpack(one[RANKED])
    return msgspec.convert(found, list[LabelledExample])
