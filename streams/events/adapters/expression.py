"""Expressions of a mapping: where in a shop's record the value of a field is, and how it is converted.

``upc`` is a column, ``brand.name`` a path into objects, ``images[].url`` one of each element, ``event_params[query]``
the value of a pair in a list of keys and values, ``.price`` a name of the element that a rule takes one by one,
``..time`` one of what that is in, ``#`` its place from 0. ``{order}-{line|int}`` is a template with conversions,
``=purchase`` a constant. A ``?`` at the end of a name says that a file may lack it. Knows nothing of files or of what
is valid.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from streams.events.amounts import Mark, amount

Record = Mapping[str, Any]
Expression = Callable[[Record], Any]

_PIECE = re.compile(r"\{([^{}|]+)((?:\|[^{}|]+)*)\}")
_PAD = re.compile(r"pad([1-9]\d?)")
_STEP = re.compile(r"([^.\[\]]+)|\[([^\[\]]*)\]")
_PAIR_NAMES = ("key", "name", "attribute_code", "code", "property")
_PAIR_VALUES = ("value", "values", "string_value", "int_value", "double_value", "float_value")

CONVERSIONS = {
    "int": "17850.0 becomes 17850",
    "lower": "small letters",
    "commas": "a text becomes a list, parted at commas",
    "bars": "a text becomes a list, parted at |",
    "slashes": "a/b becomes a > b",
    "lines": "a written \\n becomes a space",
    "first": "the first of a list",
    "last": "the last of a list",
    "join": "a list becomes a text, parted by commas",
    "path": "a list becomes a text, parted by >",
    "words": "a list becomes a text, parted by spaces",
    "tail": "what stands after the last / or :",
    "amount": "a price becomes a number, where it can be read",
    "absent": "true where there is no value, and nothing where there is one",
}
"""Conversions of a template, and what they do; ``padN`` also, which puts zeros before up to N letters."""


class ExpressionError(ValueError):
    """An expression cannot be read; the message says how it is written."""


def compiled(text: str, *, flat: bool = False, decimal: Mark | None = None) -> Expression:
    """The function of an expression; it returns None if the record has no value, and raises `ValueError` for a value
    that a conversion cannot take.

    Parameters
    ----------
    flat
        Whether records have no objects in them, so that a name is a column whatever letters it has.
    decimal
        The decimal mark of amounts, where it is known.

    Raises
    ------
    ExpressionError
        When it cannot be read.

    Examples
    --------
    >>> compiled("{no|pad4}")({"no": 0}), compiled("brand.name")({"brand": {"name": " Acme "}}), compiled("=x")({})
    ('0000', 'Acme', 'x')
    >>> compiled("p[q]")({"p": [{"key": "q", "value": {"string_value": "tv", "int_value": None}}]})
    'tv'
    >>> compiled("{c}")({"c": ["A", "B"]})
    Traceback (most recent call last):
    ValueError: 'c' is a list: write {c|join}, {c|path} or {c|first}
    """
    if text.startswith("="):
        constant = text[1:]
        return lambda _: constant
    if "{" not in text and "}" not in text:
        return _getter(text, flat)
    pieces = _pieces(text, flat, decimal)
    if len(pieces) == 1 and _PIECE.fullmatch(text):
        return partial(_single, *pieces[0])
    return partial(_template, pieces, _PIECE.split(text)[0::3])


def first_of(expressions: Iterable[Expression]) -> Expression:
    """The first value that there is."""
    options = tuple(expressions)
    if len(options) == 1:
        return options[0]
    return lambda record: next((value for one in options if (value := one(record)) is not None), None)


def columns(text: str) -> list[tuple[str, bool]]:
    """The names that an expression reads, and whether a file must have them.

    Examples
    --------
    >>> columns("{a}-{b?|int}"), columns("=x"), columns(".price")
    ([('a', True), ('b', False)], [], [])
    """
    if text.startswith("="):
        return []
    names = [match[1] for match in _PIECE.finditer(text)] if "{" in text else [text]
    return [(name.removesuffix("?"), not name.endswith("?")) for name in names if name[0] not in ".#"]


def matching(pattern: str) -> Expression:
    """The attributes of all columns that match a pattern, without the part before its star.

    Examples
    --------
    >>> matching("attr_*")({"attr_colour": "red", "attr_size": "", "name": "Lamp"})
    {'colour': 'red'}
    """
    prefix = pattern.partition("*")[0] if pattern.endswith("*") else ""
    return lambda record: {
        name.removeprefix(prefix) or name: value
        for name, value in record.items()
        if isinstance(name, str) and fnmatchcase(name, pattern) and value is not None and value != ""
    }


def walk(value: Any, steps: tuple[str, ...]) -> Any:
    """What is at the end of a path; a list of it after ``[]``, None where there is nothing."""
    for number, step in enumerate(steps):
        if step == "[]":
            rest = steps[number + 1 :]
            found = [walk(one, rest) for one in value] if isinstance(value, list) else []
            return [one for one in found if one is not None] or None
        if step[0] == "[":
            value = _at(value, step[1:])
        elif isinstance(value, Mapping):
            value = value.get(step)
        else:
            return None
        if value is None:
            return None
    return value


def _at(value: Any, name: str) -> Any:
    """The element of a list by its place, or the value of the pair of this name."""
    if not isinstance(value, list):
        return None
    if name.isdecimal():
        return value[int(name)] if len(name) < 10 and int(name) < len(value) else None
    for pair in value:
        if isinstance(pair, Mapping) and any(pair.get(key) == name for key in _PAIR_NAMES):
            return _pair_value(pair)
    return None


def _pair_value(pair: Record) -> Any:
    for key in _PAIR_VALUES:
        value = pair.get(key)
        if isinstance(value, Mapping):
            value = _pair_value(value)
        if value is not None:
            return value
    return None


def _getter(text: str, flat: bool) -> Expression:
    name = text.removesuffix("?")
    if flat:
        return partial(_cell, name)
    steps = _steps(name)
    return partial(_member, name, steps)


def _steps(name: str) -> tuple[str, ...]:
    if name == "#":
        return ("#",)
    found = [match[1] or f"[{match[2]}" for match in _STEP.finditer(name)]
    steps = ["[]" if step == "[" else step for step in found]
    dots = re.match(r"\.{0,2}", name)
    return (dots[0], *steps) if dots and dots[0] else tuple(steps)


def _cell(name: str, record: Record) -> Any:
    value = record.get(name)
    return (value.strip() or None) if value.__class__ is str else value


def _member(name: str, steps: tuple[str, ...], record: Record) -> Any:
    value = record.get(name)
    if value is None and len(steps) > 1:
        value = walk(record, steps)
    return (value.strip() or None) if isinstance(value, str) else value


def _pieces(text: str, flat: bool, decimal: Mark | None) -> list[tuple[str, Expression, tuple[str, ...]]]:
    found = [(match[1].removesuffix("?"), match[1], tuple(match[2].split("|")[1:])) for match in _PIECE.finditer(text)]
    rest = _PIECE.sub("", text)
    if not found or "{" in rest or "}" in rest:
        raise ExpressionError(f"{text!r} is no template: write columns as {{name}} or {{name|int}}")
    for _, _, conversions in found:
        for one in conversions:
            if one not in CONVERSIONS and not _PAD.fullmatch(one):
                raise ExpressionError(
                    f"{one!r} in {text!r} is no conversion; there are {', '.join(CONVERSIONS)} and padN"
                )
    return [
        (
            name,
            _getter(written, flat),
            tuple(f"amount{decimal or ''}" if one == "amount" else one for one in conversions),
        )
        for name, written, conversions in found
    ]


def _single(name: str, get: Expression, conversions: tuple[str, ...], record: Record) -> Any:
    value = get(record)
    if "absent" in conversions:
        return "true" if value is None else None
    if value is None or value == []:
        return None
    for one in conversions:
        value = converted(name, value, one)
    if isinstance(value, list):
        if "commas" in conversions or "bars" in conversions or "slashes" in conversions:
            return value or None
        raise _list_error(name)
    return (
        value
        if isinstance(value, str | dict) or (conversions[-1:] != () and conversions[-1].startswith("amount"))
        else str(value)
    )


def _template(pieces: list[tuple[str, Expression, tuple[str, ...]]], texts: list[str], record: Record) -> str | None:
    values = []
    for name, get, conversions in pieces:
        value = get(record)
        if value is None:
            values.append("")
            continue
        for one in conversions:
            value = converted(name, value, one)
        if isinstance(value, list):
            raise _list_error(name)
        values.append(str(value).strip())
    if not any(values):
        return None
    return "".join(part for pair in zip(texts, [*values, ""], strict=True) for part in pair).strip()


def _list_error(name: str) -> ValueError:
    return ValueError(f"{name!r} is a list: write {{{name}|join}}, {{{name}|path}} or {{{name}|first}}")


def converted(name: str, value: Any, how: str) -> Any:
    """A value, converted.

    Raises
    ------
    ValueError
        When the conversion cannot take it.

    Examples
    --------
    >>> converted("c", "Clothing > Shirts, Sale", "commas"), converted("c", ["Men", "Shoes"], "path")
    (['Clothing > Shirts', 'Sale'], 'Men > Shoes')
    >>> converted("c", "a/b", "slashes"), converted("g", "gid://shop/Product/7", "tail"), converted("n", "17.0", "int")
    ('a > b', '7', '17')
    """
    if how in {"first", "last", "join", "path", "words"}:
        values = value if isinstance(value, list) else [value]
        texts = [one for one in values if one is not None and one != ""]
        if how in {"first", "last"}:
            return (texts[0 if how == "first" else -1]) if texts else ""
        return {"join": ", ", "path": " > ", "words": " "}[how].join(map(str, texts))
    if isinstance(value, list):
        if how in {"slashes", "tail", "lower"}:
            return [converted(name, one, how) for one in value]
        raise _list_error(name)
    text = str(value)
    if how.startswith("amount"):
        return _amount(text, how.removeprefix("amount"))
    if how == "lower":
        return text.lower()
    if how == "lines":
        return text.replace("\\r", "").replace("\\n", " ")
    if how == "int":
        return _whole(text.strip())
    if how in {"commas", "bars"}:
        parts = re.split(r"(?<!\\),", text) if how == "commas" else text.split("|")
        return [part.replace("\\,", ",").strip() for part in parts if part.strip()]
    if how == "slashes":
        return " > ".join(part.strip() for part in text.split("/") if part.strip())
    if how == "tail":
        return re.split(r"[/:]", text)[-1]
    return text.strip().zfill(int(how[3:]))


def _amount(text: str, decimal: str) -> float | str:
    try:
        return amount(text, "," if decimal == "," else "." if decimal == "." else None)[0]
    except ValueError:
        return text


def _whole(value: str) -> str:
    if value.isdigit() or not value:
        return value
    whole, _, rest = value.partition(".")
    if not whole.lstrip("-").isdigit() or rest.strip("0"):
        raise ValueError(f"{value[:50]!r} is no whole number")
    return whole
