"""Joins the rows of a catalogue that are variants of one item, such as its sizes and colours.

The item is in stock if one of its variants is, costs what the cheapest of those costs, and has the attributes of all;
of all else the first row that has it counts. A row that a rule leaves out is no variant; if it is the item's own, the
whole item is left out. Knows records and fields; no files.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from streams.events.adapters.expression import ExpressionError, Record, compiled
from streams.events.adapters.gate import Entry
from streams.events.adapters.mapper import Mapper
from streams.events.adapters.mapping import MappingError, VariantsConfig
from streams.events.adapters.source import Line
from streams.events.cleaning import in_stock, number
from streams.events.decode import Refusal, refuse

MOST_WAITING = 200_000
"""The most items that wait for their variants."""
MOST_VALUES = 100
"""The most values of one attribute that are joined."""


@dataclass(slots=True)
class Group:
    """The rows of one item so far."""

    line: Line
    records: int = 0
    first: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    why_not: Refusal | None = None


class Variants:
    """Reads rows and gives one entry for each item.

    Raises
    ------
    MappingError
        On construction, for an invalid expression.
    """

    def __init__(self, config: VariantsConfig, mapper: Mapper, *, flat: bool) -> None:
        self.config, self.mapper = config, mapper
        try:
            self._parent = compiled(config.parent, flat=flat)
            self._keys = [compiled(key, flat=flat) for key in config.keys]
            self._expects = compiled(config.expects.column, flat=flat) if config.expects else None
        except ExpressionError as error:
            raise MappingError(str(error)) from error
        self._waiting: dict[str, Group] = {}

    def read(self, rows: Iterable[Entry | tuple[Line, dict[str, Any]]]) -> Iterator[Entry]:
        """All entries of the rows."""
        for row in rows:
            if isinstance(row, Entry):
                yield row
            else:
                yield from self._row(*row)
        yield from self._flushed()

    def _row(self, line: Line, record: dict[str, Any]) -> Iterator[Entry]:
        try:
            parent = self._parent(record)
            keys = [str(key) for make in self._keys if (key := make(record)) is not None]
        except ValueError as error:
            yield Entry(line, refuse("invalid", str(error)))
            return
        name = None if parent is None else str(parent)
        group = self._waiting.get(name) if name is not None else None
        if group is None and self.config.adjacent:
            yield from self._flushed()
        if group is not None:
            yield from self._variant(group, line, record)
            return
        if name is not None and name not in keys:
            yield Entry(line, refuse("no_parent", f"there is no item {name[:100]!r} before this variant"))
            return
        group = Group(line, first=record)
        self._add(group, record)
        expects, rule = self._expects, self.config.expects
        if not self.config.adjacent and rule is not None and expects is not None and not rule.holds(expects(record)):
            yield self._entry(group)
            return
        for key in keys:
            self._waiting[key] = group
        if len(self._waiting) > MOST_WAITING:
            self.mapper.validator.notes.add("items that waited too long for their variants", keys[:1])
            yield from self._flushed()

    def _variant(self, group: Group, line: Line, record: dict[str, Any]) -> Iterator[Entry]:
        for column in self.config.inherit:
            if record.get(column) in (None, ""):
                record[column] = group.first.get(column)
        before = len(group.rows)
        why_not = self._add(group, record)
        if why_not is not None and group.why_not is None and len(group.rows) == before:
            group.records -= 1
            yield Entry(line, why_not)

    def _add(self, group: Group, record: Record) -> Refusal | None:
        """Add a row to its item; returns why it is none of it."""
        group.records += 1
        fields: dict[str, Any] | Refusal | None = self.mapper.ruled(record)
        if fields is None:
            fields = self.mapper.of(record)
        if isinstance(fields, Refusal):
            if group.records == 1:
                group.why_not = fields
            return fields
        group.rows.append(fields)
        return None

    def _flushed(self) -> Iterator[Entry]:
        groups = {id(group): group for group in self._waiting.values()}
        self._waiting.clear()
        return (self._entry(group) for group in groups.values())

    def _entry(self, group: Group) -> Entry:
        if group.why_not is not None:
            return Entry(group.line, group.why_not, group.records)
        return Entry(group.line, self.mapper.passed(self._joined(group.rows)), group.records)

    def _joined(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        if len(rows) == 1:
            return rows[0]
        joined: dict[str, Any] = {}
        for row in reversed(rows):
            joined |= row
        notes, decimal = self.mapper.validator.notes, self.mapper.validator.decimal
        stocks = [
            _known(lambda row=row: in_stock(row["in_stock"], notes)) if "in_stock" in row else None for row in rows
        ]
        if any(stock is not None for stock in stocks):
            joined["in_stock"] = any(stocks)
        prices = [
            _known(lambda row=row: number("price", row["price"], notes, decimal)) if "price" in row else None
            for row in rows
        ]
        sold = [
            price
            for price, stock in zip(prices, stocks, strict=True)
            if isinstance(price, int | float) and stock is not False
        ]
        if known := sold or [price for price in prices if isinstance(price, int | float)]:
            joined["price"] = min(known)
        if attributes := _union(rows):
            joined["attributes"] = attributes
        return joined


def _known(read: Any) -> Any:
    """What can be read; of what cannot, the other variants say it."""
    try:
        return read()
    except ValueError:
        return None


def _union(rows: list[dict[str, Any]]) -> dict[str, Any]:
    values: dict[str, dict[Any, None]] = {}
    for row in rows:
        for name, value in (row.get("attributes") or {}).items():
            for one in value if isinstance(value, list) else [value]:
                if len(values.setdefault(name, {})) < MOST_VALUES and isinstance(one, str | int | float):
                    values[name][one] = None
    return {name: next(iter(found)) if len(found) == 1 else list(found) for name, found in values.items() if found}
