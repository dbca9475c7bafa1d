"""Maps a shop's records to our fields, by a small declaration from a preset, a TOML file or options.

Knows names of fields and expressions (`streams.events.adapters.expression`). Knows nothing of files or of what is
valid.
"""

import re
import tomllib
from collections.abc import Callable, Iterable
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import msgspec
from pydantic import Field, ValidationError, field_validator

from streams.config import Config, EventsConfig
from streams.events.adapters.encoding import is_encoding
from streams.events.adapters.expression import (
    Expression,
    ExpressionError,
    Record,
    columns,
    compiled,
    first_of,
    matching,
)
from streams.events.amounts import Mark
from streams.events.cleaning import TYPES
from streams.events.moments import MomentConfig, Note
from streams.events.schema import EVENT_TYPES, Item

Text = str | tuple[str, ...]
"""An expression, or several of which the first with a value counts."""
Format = Literal["auto", "csv", "jsonl", "json", "xml", "parquet", "ubi"]

_STRUCTS: tuple[type[msgspec.Struct], ...] = (*EVENT_TYPES, Item)
NAMES = {field.name for kind in _STRUCTS for field in msgspec.structs.fields(kind)} | {"type"}
"""The names of all fields of events and items."""


class MappingError(ValueError):
    """A mapping cannot be read or does not fit the file; the message says what to change."""


class Rule(Config):
    """A rule on a record: its column matches a pattern, does not match one (``unless``), or is a number of at most
    ``at_most``. ``reason`` is what is counted."""

    reason: str = Field(pattern="^[a-z_]+$")
    column: str
    matches: str | None = None
    unless: str | None = None
    at_most: float | None = None

    @field_validator("matches", "unless")
    @classmethod
    def _pattern(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"{pattern!r} is no pattern: {error}") from error
        return pattern

    def holds(self, found: Any) -> bool:
        """Whether the rule holds for its column's value.

        Examples
        --------
        >>> Rule(reason="cancelled", column="InvoiceNo", matches="^C").holds("C536379")
        True
        >>> Rule(reason="no_price", column="UnitPrice", at_most=0).holds("0.85")
        False
        """
        value = "" if found is None else str(found).strip()
        if self.matches is not None and re.search(self.matches, value):
            return True
        if self.unless is not None and not re.search(self.unless, value):
            return True
        if self.at_most is None:
            return False
        try:
            return float(value) <= self.at_most
        except ValueError:
            return False  # not a number: validation refuses it with a better message


class RankingsConfig(Config):
    """Settings for tables with one row for each result shown; see ``streams.events.adapters.rankings``."""

    by: tuple[str, ...]
    clicked: str
    start: str = "2024-01-01T00:00:00Z"
    step_s: float = Field(default=1.0, gt=0)


class VariantsConfig(Config):
    """Rows that are variants of one item, such as its sizes; see ``streams.events.adapters.variants``.

    ``parent`` is what a variant calls its item, ``keys`` what the item's own row is called. ``adjacent`` says that the
    rows of an item follow each other; else those for which ``expects`` holds wait for their variants to the end of the
    file. ``inherit`` are columns that only the first row of an item has.
    """

    parent: str
    keys: tuple[str, ...]
    adjacent: bool = True
    expects: Rule | None = None
    inherit: tuple[str, ...] = ()


class EventRule(Config):
    """What a record means if the columns of ``when`` have one of their values: one event or, with ``each``, one for
    each element of a list, or one impression of them all. ``each`` may be two lists, the second in each
    element of the first; names in ``when`` that begin with a dot are those of elements. ``skip`` leaves such records
    out."""

    when: dict[str, Text] = Field(default_factory=dict)
    each: Text = ""
    skip: bool = False
    fields: dict[str, Text] = Field(default_factory=dict)

    @property
    def is_list(self) -> bool:
        """Whether its elements make one impression."""
        return bool(self.each) and self.fields.get("type") == "=impression"

    @property
    def lists(self) -> tuple[str, ...]:
        """The paths of ``each``."""
        return () if not self.each else (self.each,) if isinstance(self.each, str) else self.each


class MappingConfig(Config):
    """A whole mapping, as in a preset's TOML file."""

    about: str = ""
    kind: Literal["items", "events"] | None = None
    format: Format = "auto"
    encoding: str = "auto"
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    quote: str = Field(default='"', pattern="^(none|[^\\w\\s])$")
    decimal: Mark | None = None
    records: str = ""
    names: Literal["exact", "loose"] = "exact"
    distinct: bool = False
    fields: dict[str, Text] = Field(default_factory=dict)
    attributes: dict[str, Text] = Field(default_factory=dict)
    values: dict[str, dict[str, str]] = Field(default_factory=dict)
    ts: MomentConfig = MomentConfig()
    refuse: tuple[Rule, ...] = ()
    skip: tuple[Rule, ...] = ()
    variants: VariantsConfig | None = None
    event: tuple[EventRule, ...] = ()
    rankings: RankingsConfig | None = None
    actions: dict[str, str] = Field(default_factory=dict)

    @field_validator("encoding")
    @classmethod
    def _encoding(cls, name: str) -> str:
        if name != "auto" and not is_encoding(name):
            raise ValueError(f"there is no encoding {name!r}; names are as in utf-8, cp1252, shift_jis, gb18030")
        return name

    @property
    def is_own(self) -> bool:
        """Whether records have our own names."""
        return not (self.fields or self.event or self.attributes)

    def name(self, cell: str) -> str:
        """The name of a column, by what stands in the header.

        Examples
        --------
        >>> MappingConfig(names="loose").name("g:Image Link"), MappingConfig().name(" sku ")
        ('image_link', 'sku')
        """
        cell = cell.strip()
        return re.sub(r"[\s-]+", "_", cell.lower().rpartition(":")[2].strip()) if self.names == "loose" else cell

    def compiled(
        self,
        config: EventsConfig | None = None,
        note: Note | None = None,
        *,
        flat: bool = False,
        more: dict[str, Text] | None = None,
    ) -> Callable[[Record], dict[str, Any]]:
        """The function from a record to our fields.

        It raises `ValueError` for a value that a conversion cannot take.

        Parameters
        ----------
        config, note, flat
            As in `streams.events.moments.MomentConfig.reader` and `streams.events.adapters.expression.compiled`.
        more
            Fields beside the mapping's, or in place of them.

        Raises
        ------
        MappingError
            For an unknown field or an invalid expression.

        Examples
        --------
        >>> mapping = MappingConfig(fields={"item_id": "{no|pad4}", "title": ("long", "name"), "brand": "=Acme"})
        >>> mapping.compiled()({"no": "17", "name": " Lamp "})
        {'item_id': '0017', 'title': 'Lamp', 'brand': 'Acme'}
        """
        fields = self.fields | (more or {})
        if unknown := sorted((fields.keys() | self.values.keys()) - NAMES):
            raise MappingError(f"no such field: {', '.join(unknown)}; there are {', '.join(sorted(NAMES))}")
        try:
            made = {name: self._compiled(name, text, flat) for name, text in fields.items()}
            named = [
                (compiled(key, flat=flat) if "{" in key else key, any_of(text, flat=flat, decimal=self.decimal))
                for key, text in self.attributes.items()
            ]
        except ExpressionError as error:
            raise MappingError(str(error)) from error
        if "ts" in made:
            read, column = self.ts.reader(config, note), made["ts"]
            made["ts"] = lambda record: None if (value := column(record)) is None else read(value)
        pattern = made.pop("attributes", None)
        if not (pattern or named):
            return _Fields(made)
        return _Fields(made, _attributes(pattern, named, self.values.get("attributes", {})))

    def _compiled(self, name: str, text: Text, flat: bool) -> Expression:
        if name == "attributes" and isinstance(text, str) and "*" in text:
            return matching(text)
        return any_of(text, self.values.get(name), flat=flat, decimal=self.decimal)

    def columns(self) -> dict[str, bool]:
        """The columns that the mapping reads, and whether the file must have them.

        Where a field has several expressions, the file must have none of them.
        """
        found: dict[str, bool] = {}
        texts = [*self.fields.values(), *self.attributes.values(), *self.attributes.keys()]
        for text in texts:
            if isinstance(text, str) and "*" not in text and (text not in self.attributes or "{" in text):
                for name, needed in columns(text):
                    found[name] = found.get(name, False) or needed
            elif isinstance(text, tuple):
                found |= {name: found.get(name, False) for one in text for name, _ in columns(one)}
        for rule in (*self.refuse, *self.skip):
            for name, needed in columns(rule.column):
                found[name] = found.get(name, False) or needed
        if self.rankings:
            found |= dict.fromkeys((*self.rankings.by, self.rankings.clicked), True)
        return found

    def reads(self, column: str) -> bool:
        """Whether the mapping reads the column.

        Examples
        --------
        >>> mapping = MappingConfig(fields={"title": "{brand} {name}", "attributes": "attr_*"})
        >>> [mapping.reads(column) for column in ("name", "attr_colour", "price")]
        [True, True, False]
        """
        pattern = self.fields.get("attributes", "")
        return column in self.columns() or (
            bool(column) and isinstance(pattern, str) and bool(matching(pattern)({column: "x"}) if pattern else False)
        )

    def changed(
        self, assignments: Iterable[str] = (), replacements: Iterable[str] = (), **settings: Any
    ) -> "MappingConfig":
        """This mapping, overridden by the options of the command line.

        Parameters
        ----------
        assignments
            Fields, each ``field=expression``.
        replacements
            Values of fields, each ``field.value=ours``.
        settings
            Other members, by name; those that are None are left.

        Raises
        ------
        MappingError
            When one of them cannot be read.

        Examples
        --------
        >>> mapping = MappingConfig().changed(["title=name", "type==purchase"], ["type.view=click"], delimiter=";")
        >>> mapping.fields, mapping.values, mapping.delimiter
        ({'title': 'name', 'type': '=purchase'}, {'type': {'view': 'click'}}, ';')
        """
        added: dict[str, Text] = {}
        for assignment in assignments:
            name, equals, text = assignment.partition("=")
            if not equals or not name.strip() or not text.strip():
                raise MappingError(f"{assignment!r} is not field=expression, e.g. item_id=sku")
            added[name.strip()] = text.strip()
        tables = {name: dict(table) for name, table in self.values.items()}
        for value in replacements:
            theirs, equals, ours = value.rpartition("=")
            name, dot, theirs = theirs.partition(".")
            if not (equals and dot and name.strip() and theirs):
                raise MappingError(f"{value!r} is not field.value=ours, e.g. type.view=click")
            tables.setdefault(name.strip(), {})[theirs] = ours.strip()
        changes = {name: value for name, value in settings.items() if value is not None}
        whole = self.model_dump() | {"fields": self.fields | added, "values": tables} | changes
        try:
            return MappingConfig.model_validate(whole).checked()
        except ValidationError as error:
            raise MappingError(f"the mapping cannot be used: {_listed(error)}") from error

    def checked(self) -> "MappingConfig":
        """This mapping, if its parts fit each other.

        Raises
        ------
        MappingError
            When a part would be ignored, or a type of events is none.
        """
        if self.actions and self.format not in {"auto", "ubi"}:
            raise MappingError(f"[actions] is for UBI files, not for {self.format}: use [values.type]")
        if self.actions and not self.is_own:
            raise MappingError("[actions] is for UBI files, which take no [fields]: use [values.type]")
        if unknown := sorted(set(self.values.get("type", {}).values()) - TYPES - {""}):
            raise MappingError(f"no such type: {', '.join(unknown)}; there are {', '.join(sorted(TYPES))}")
        if self.event and self.kind == "items":
            raise MappingError("[[event]] is for events, and this mapping makes items")
        return self


def presets() -> list[str]:
    """Names of the mappings that come with Liveshelf.

    Examples
    --------
    >>> "icecat" in presets()
    True
    """
    folder = resources.files("streams.events.adapters") / "presets"
    return sorted(Path(file.name).stem for file in folder.iterdir() if file.name.endswith(".toml"))


def load(
    preset: str | None = None,
    path: Path | None = None,
    fields: Iterable[str] = (),
    values: Iterable[str] = (),
    **settings: Any,
) -> MappingConfig:
    """The mapping of a preset or a TOML file, overridden by the options of the command line
    (`MappingConfig.changed`).

    Raises
    ------
    MappingError
        When the mapping does not exist, is not TOML, or is invalid.
    """
    if preset is not None and path is not None:
        raise MappingError("give a preset or a mapping file, not both")
    if preset is not None and preset not in presets():
        raise MappingError(f"no preset {preset!r}; there are {', '.join(presets())}")
    text = ""
    try:
        if preset is not None:
            text = (resources.files("streams.events.adapters") / "presets" / f"{preset}.toml").read_text("utf-8")
        elif path is not None:
            text = path.read_text("utf-8-sig")
        found = MappingConfig.model_validate(tomllib.loads(text))
    except RecursionError as error:
        raise MappingError(f"the mapping {preset or path} cannot be used: it is nested too deep") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError) as error:
        why = _listed(error) if isinstance(error, ValidationError) else error
        raise MappingError(f"the mapping {preset or path} cannot be used: {why}") from error
    return found.changed(fields, values, **settings)


class _Fields:
    """The fields of a record."""

    def __init__(self, made: dict[str, Expression], attributes: Expression | None = None) -> None:
        self._made, self._attributes = list(made.items()), attributes

    def __call__(self, record: Record) -> dict[str, Any]:
        found = {name: value for name, make in self._made if (value := make(record)) is not None}
        if self._attributes is not None and (attributes := self._attributes(record)):
            found["attributes"] = attributes
        return found


def any_of(
    text: Text, table: dict[str, str] | None = None, *, flat: bool = False, decimal: Mark | None = None
) -> Expression:
    """The function of an expression, or of several of which the first with a value counts.

    Parameters
    ----------
    table
        Our values by theirs; with an empty one, there is no value.

    Examples
    --------
    >>> any_of(("policy", "pieces"), {"deny": ""})({"policy": "deny", "pieces": "3"})
    '3'
    """
    made = [compiled(one, flat=flat, decimal=decimal) for one in ((text,) if isinstance(text, str) else text)]
    return first_of(_replaced(one, table) if table else one for one in made)


def _replaced(make: Expression, table: dict[str, str]) -> Expression:
    def replaced(record: Record) -> Any:
        value = make(record)
        known = None if value is None else table.get(str(value))
        return value if known is None else known or None

    return replaced


def _attributes(
    pattern: Expression | None, named: list[tuple[str | Expression, Expression]], table: dict[str, str]
) -> Expression:
    def attributes(record: Record) -> dict[str, Any]:
        found: dict[str, Any] = dict(pattern(record) or {}) if pattern else {}
        for key, make in named:
            name = key if isinstance(key, str) else key(record)
            value = make(record)
            if name and value is not None and value != []:
                found[str(name)] = value
        return {
            name: value for name, value in found.items() if not isinstance(value, str) or table.get(value, value) != ""
        }

    return attributes


def _listed(error: ValidationError) -> str:
    """What is wrong, without the library's own words."""
    return "; ".join(
        f"{'.'.join(map(str, one['loc'])) or 'mapping'}: {one['msg'].removeprefix('Value error, ')}"
        for one in error.errors(include_url=False)[:5]
    )
