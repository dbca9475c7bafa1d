"""Maps a shop's columns to our fields, by a small declaration from a preset, a TOML file or the command line.

The expression of a field is a column's name (``upc``); a template of columns (``{InvoiceNo}-{StockCode}``), with
conversions (``{CustomerID|int}``); a constant (``=purchase``); or for ``attributes``, all columns that match
(``attr_*``). Knows nothing of files or of what is valid.
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import msgspec
from pydantic import Field, ValidationError

from streams.config import Config
from streams.events.adapters.moment import MomentConfig
from streams.events.schema import EVENT_TYPES, Item

Record = Mapping[str, Any]
Expression = Callable[[Record], Any]

_PIECE = re.compile(r"\{([^{}|]+)((?:\|[^{}|]+)*)\}")
_PAD = re.compile(r"pad([1-9]\d?)")
_NOT_TEXT = {"ts", "price", "quantity", "position", "rating", "in_stock", "attributes", "filters", "items", "sponsored"}
_STRUCTS: tuple[type[msgspec.Struct], ...] = (*EVENT_TYPES, Item)
_NAMES = {field.name for kind in _STRUCTS for field in msgspec.structs.fields(kind)} | {"type"}


class MappingError(ValueError):
    """A mapping cannot be read or does not fit the file; the message says what to change."""


class Refuse(Config):
    """A rule that refuses a row: its column matches the pattern, or is a number of at most ``at_most``."""

    reason: str = Field(pattern="^[a-z_]+$")
    column: str
    matches: str | None = None
    at_most: float | None = None

    def holds(self, record: Record) -> bool:
        """Whether this record is to be refused.

        Examples
        --------
        >>> Refuse(reason="cancelled", column="InvoiceNo", matches="^C").holds({"InvoiceNo": "C536379"})
        True
        >>> Refuse(reason="no_price", column="UnitPrice", at_most=0).holds({"UnitPrice": "0.85"})
        False
        """
        value = str(record.get(self.column, "") or "").strip()
        if self.matches is not None and re.search(self.matches, value):
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


class MappingConfig(Config):
    """A whole mapping, as in a preset's TOML file."""

    about: str = ""
    kind: Literal["items", "events"] | None = None
    format: Literal["auto", "jsonl", "csv", "ubi"] = "auto"
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    distinct: bool = False
    fields: dict[str, str] = Field(default_factory=dict)
    ts: MomentConfig = MomentConfig()
    refuse: tuple[Refuse, ...] = ()
    rankings: RankingsConfig | None = None
    actions: dict[str, str] = Field(default_factory=dict)

    def compiled(self) -> Callable[[Record], dict[str, Any]]:
        """The function from a record to our fields.

        It raises `ValueError` for a value that a conversion cannot take.

        Raises
        ------
        MappingError
            For an unknown field or an invalid expression.

        Examples
        --------
        >>> to_fields = MappingConfig(fields={"item_id": "{no|pad4}", "title": "name", "brand": "=Acme"}).compiled()
        >>> to_fields({"no": "17", "name": " Lamp "})
        {'item_id': '0017', 'title': 'Lamp', 'brand': 'Acme'}
        """
        if unknown := sorted(set(self.fields) - _NAMES):
            raise MappingError(f"no such field: {', '.join(unknown)}; there are {', '.join(sorted(_NAMES))}")
        compiled = {name: expression(name, text) for name, text in self.fields.items()}
        if "ts" in compiled:
            read, column = self.ts.reader(), compiled["ts"]
            compiled["ts"] = lambda record: None if (value := column(record)) is None else read(value)
        return partial(_fields, compiled)

    def columns(self) -> set[str]:
        """The columns that the file must have."""
        named = {name for text in self.fields.values() for name in _columns(text)} | {r.column for r in self.refuse}
        return named | ({*self.rankings.by, self.rankings.clicked} if self.rankings else set())

    def reads(self, column: str) -> bool:
        """Whether the mapping reads the column.

        Examples
        --------
        >>> mapping = MappingConfig(fields={"title": "{brand} {name}", "attributes": "attr_*"})
        >>> [mapping.reads(column) for column in ("name", "attr_colour", "price")]
        [True, True, False]
        """
        pattern = self.fields.get("attributes", "")
        return column in self.columns() or (bool(column) and fnmatchcase(column, pattern))

    def with_fields(self, assignments: Iterable[str]) -> "MappingConfig":
        """This mapping with its fields overridden by those of the command line, each ``field=expression``.

        Examples
        --------
        >>> MappingConfig().with_fields(["title=name", "type==purchase"]).fields
        {'title': 'name', 'type': '=purchase'}
        """
        added = {}
        for assignment in assignments:
            name, equals, text = assignment.partition("=")
            if not equals or not name.strip() or not text.strip():
                raise MappingError(f"{assignment!r} is not field=expression, e.g. item_id=sku")
            added[name.strip()] = text.strip()
        return self.model_copy(update={"fields": self.fields | added})


def expression(name: str, text: str) -> Expression:
    """The function for an expression; it returns None if the record has no value."""
    if text.startswith("="):
        return lambda _: text[1:]
    if name == "attributes":
        return partial(_attributes, text)
    if "{" in text:
        return partial(_template, _pieces(text), text)
    return partial(_column, text, name not in _NOT_TEXT)


def presets() -> list[str]:
    """Names of the mappings that come with Liveshelf.

    Examples
    --------
    >>> "icecat" in presets()
    True
    """
    folder = resources.files("streams.events.adapters") / "presets"
    return sorted(Path(file.name).stem for file in folder.iterdir() if file.name.endswith(".toml"))


def load(preset: str | None = None, path: Path | None = None, fields: Iterable[str] = ()) -> MappingConfig:
    """The mapping of a preset or a TOML file, with its fields overridden by those of the command line.

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
        return MappingConfig.model_validate(tomllib.loads(text)).with_fields(fields)
    except RecursionError as error:
        raise MappingError(f"the mapping {preset or path} cannot be used: it is nested too deep") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise MappingError(f"the mapping {preset or path} cannot be used: {error}") from error


def _fields(compiled: Mapping[str, Expression], record: Record) -> dict[str, Any]:
    return {name: value for name, make in compiled.items() if (value := make(record)) is not None}


def _columns(text: str) -> list[str]:
    if text.startswith("=") or "*" in text:
        return []
    return [match[1] for match in _PIECE.finditer(text)] if "{" in text else [text]


def _column(name: str, as_text: bool, record: Record) -> Any:
    value = record.get(name)
    if isinstance(value, str):
        return value.strip() or None
    return str(value) if as_text and isinstance(value, int | float) else value


def _attributes(pattern: str, record: Record) -> dict[str, str | float | bool]:
    prefix = pattern.partition("*")[0] if pattern.endswith("*") else ""
    return {
        name.removeprefix(prefix) or name: value
        for name, value in record.items()
        if isinstance(name, str) and fnmatchcase(name, pattern) and isinstance(value, str | float | int) and value != ""
    }


def _pieces(text: str) -> list[tuple[str, list[str]]]:
    pieces = [(match[1], match[2].split("|")[1:]) for match in _PIECE.finditer(text)]
    if not pieces or "{" in _PIECE.sub("", text) or "}" in _PIECE.sub("", text):
        raise MappingError(f"{text!r} is no template: write columns as {{name}} or {{name|int}}")
    for _, conversions in pieces:
        for conversion in conversions:
            if conversion not in {"int", "lower"} and not _PAD.fullmatch(conversion):
                raise MappingError(f"{conversion!r} in {text!r} is no conversion; there are int, lower and padN")
    return pieces


def _template(pieces: list[tuple[str, list[str]]], text: str, record: Record) -> str | None:
    values = [_converted(str(value).strip(), how) if (value := record.get(name)) else "" for name, how in pieces]
    if not any(values):
        return None
    filled = iter(values)
    return _PIECE.sub(lambda _: next(filled), text).strip()


def _converted(value: str, conversions: Iterable[str]) -> str:
    for conversion in conversions:
        if conversion == "lower":
            value = value.lower()
        elif conversion == "int":
            value = _whole(value)
        else:
            value = value.zfill(int(conversion[3:]))
    return value


def _whole(value: str) -> str:
    if value.isdigit() or not value:
        return value
    whole, _, rest = value.partition(".")
    if not whole.lstrip("-").isdigit() or rest.strip("0"):
        raise ValueError(f"{value[:50]!r} is no whole number")
    return whole
