"""The filters of a search: what they ask of an item, and the canonical form that names them in Redis keys.

Pure: turns ``search.filters``, or an item, into folded names and values. The rule of the canonical form is in
``docs/filters.md``, for frontends in any language. Knows nothing of catalogues, of Redis, or of how items are found.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import accumulate
from math import inf, isfinite
from typing import Any
from urllib.parse import quote

from streams.events.schema import Item, normalise

CATEGORY, BRAND, PRICE, IN_STOCK = "category", "brand", "price", "in_stock"
CATEGORIES = "categories"
"""The attribute with all categories of an item that has several."""
OWN = frozenset((CATEGORY, BRAND, PRICE, IN_STOCK))
"""The names that mean an item's fields; any other name is an attribute's."""

MOST_MEMBERS = 64
"""Filters of more members than this are left out, all of them."""

MOST_VALUES = 256
"""A member with a longer list is left out."""

LONGEST = 256
"""A canonical form of more bytes is replaced by its hash."""

MOST_LEVELS = 32
"""Levels of an item's category that a path can name."""


class _MalformedError(ValueError):
    """A member of the filters that the rule does not cover."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What an item must have: of every name one of the values, and numbers within every range.

    Attributes
    ----------
    values
        By folded name, the folded values of which an item needs one; a category's are paths.
    ranges
        By folded name, the lowest and the highest number allowed.
    text
        The canonical form; empty if nothing is asked.
    malformed
        How many members were left out, of the filter and of its canonical form alike.

    Examples
    --------
    >>> Filter.of({"Brand": [" ACME", "acme"], "price": {"max": 50.0}, "colour": "dark red"}).text
    'brand=acme&colour=dark%20red&price<=50'
    >>> Filter.of({"category": ["Garden >  Hoses", ["Garden", "Pots & pans"]]}).text
    'category=garden>hoses,garden>pots%20%26%20pans'
    >>> Filter.of({"price": "cheap", "in_stock": True})
    Filter(values={'in_stock': ('true',)}, ranges={}, text='in_stock=true', malformed=1)
    >>> bool(Filter.of({"brand": "", "in_stock": False, "price": None})), bool(Filter.of(None))
    (False, False)
    """

    values: Mapping[str, tuple[str, ...]] = field(compare=False)
    ranges: Mapping[str, tuple[float, float]] = field(compare=False)
    text: str
    malformed: int = field(default=0, compare=False)

    @classmethod
    def of(cls, raw: Mapping[str, Any] | None) -> "Filter":
        """The filter that decoded JSON asks for. Total: what is malformed is left out and counted."""
        if raw is None or len(raw) > MOST_MEMBERS:
            return cls({}, {}, "", int(raw is not None))
        values: dict[str, set[str]] = {}
        terms: set[str] = set()
        ranges: dict[str, tuple[float, float]] = {}
        malformed = 0
        for given, asked in raw.items():
            name = folded(given)
            try:
                if isinstance(asked, Mapping):
                    low, high = _bounds(name, asked)
                    least, most = ranges.get(name, (-inf, inf))
                    ranges[name] = (max(least, low), min(most, high))
                    terms |= _range_terms(name, low, high)
                elif found := _wanted(name, asked):
                    values.setdefault(name, set()).update(found)
            except _MalformedError:
                malformed += 1
        terms |= {f"{_escape(name)}={','.join(sorted(_escaped(name, some)))}" for name, some in values.items()}
        ranges = {name: bounds for name, bounds in ranges.items() if bounds != (-inf, inf)}
        return cls(
            {name: tuple(sorted(some)) for name, some in values.items()}, ranges, "&".join(sorted(terms)), malformed
        )

    def __bool__(self) -> bool:
        return bool(self.text)

    @property
    def key(self) -> str:
        """The filter's part of a Redis key: the canonical form, or ``#`` and its SHA-256 if it is too long; empty if
        nothing is asked. At most 256 ASCII characters.

        Examples
        --------
        >>> Filter.of({"brand": "Acme"}).key, Filter.of({"brand": "x" * 300}).key[:9]
        ('brand=acme', '#650253a5')
        """
        if len(self.text) <= LONGEST:
            return self.text
        return f"#{hashlib.sha256(self.text.encode()).hexdigest()}"


NO_FILTER = Filter.of(None)


def folded(text: str) -> str:
    """A name or value as it is compared: normalised as queries are, twice. Once is not enough: a small letter may
    combine with a mark with which its capital does not.

    Examples
    --------
    >>> folded("  CRÈME\\tBrûlée "), normalise("H\\u0331") == folded("H\\u0331") == "\\u1e96"
    ('crème brûlée', False)
    """
    return normalise(normalise(text))


def path(text: str) -> str:
    """A category's path as it is compared: its names folded, without blank ones, joined by ``>``.

    Examples
    --------
    >>> path(" Home \uff1e Garden >> Hoses "), path(">")
    ('home>garden>hoses', '')
    """
    return ">".join(name for part in folded(text).split(">") if (name := part.strip()))


def number(value: float) -> str:
    """A number as ECMAScript's ``String(value)`` and RFC 8785 write it.

    Examples
    --------
    >>> [number(value) for value in (2.0, -0.0, 9.99, 1e20, 1e21, 1.5e-7, 0.000001)]
    ['2', '0', '9.99', '100000000000000000000', '1e+21', '1.5e-7', '0.000001']
    """
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    text, point = "".join(map(str, digits)), len(digits) + int(exponent)
    if not any(digits):
        return "0"
    if len(text) <= point <= 21:
        text = text.ljust(point, "0")
    elif 0 < point <= 21:
        text = f"{text[:point]}.{text[point:]}"
    elif -6 < point <= 0:
        text = f"0.{text.rjust(len(text) - point, '0')}"
    else:
        text = f"{text[0]}{'.' if text[1:] else ''}{text[1:]}e{point - 1:+d}"
    return f"-{text}" if sign else text


def item_values(item: Item) -> Iterator[tuple[str, str]]:
    """The folded names and values by which an item is found: its category and all above it, its brand, its attributes.
    The texts of the attribute ``categories`` are further categories.

    Examples
    --------
    >>> list(item_values(Item(item_id="1", title="Hose", category="Garden > Hoses", attributes={"Length": 2.0})))
    [('category', 'garden'), ('category', 'garden>hoses'), ('length', '2')]
    """
    further = item.attributes.get(CATEGORIES) or []
    found: dict[str, None] = {}
    for one in (item.category, *(further if isinstance(further, list) else [further])):
        if isinstance(one, str) and (category := path(one)):
            levels = category.split(">")[:MOST_LEVELS]
            found |= dict.fromkeys(accumulate(levels, lambda above, name: f"{above}>{name}"))
    yield from ((CATEGORY, level) for level in found)
    if brand := folded(item.brand):
        yield BRAND, brand
    for name, value in _attributes(item):
        if (isinstance(value, str | bool) or isfinite(value)) and (text := _scalar(value)):
            yield name, text


def item_numbers(item: Item) -> Iterator[tuple[str, float]]:
    """The folded names and numbers by which ranges find an item: its price, and attributes that are numbers.

    Examples
    --------
    >>> list(item_numbers(Item(item_id="1", title="Hose", price=5.0, attributes={"length": 2.0, "braided": True})))
    [('price', 5.0), ('length', 2.0)]
    """
    if item.price is not None:
        yield PRICE, item.price
    for name, value in _attributes(item):
        if not isinstance(value, str | bool):
            yield name, value


def _attributes(item: Item) -> Iterator[tuple[str, str | float | bool]]:
    for given, held in item.attributes.items():
        if (name := folded(given)) and name not in OWN:
            yield from ((name, value) for value in (held if isinstance(held, list) else [held]) if value is not None)


def _wanted(name: str, asked: Any) -> set[str]:
    """The values that a member asks for; none if it asks for nothing."""
    members = asked if isinstance(asked, list) else [asked]
    if not name or len(members) > MOST_VALUES or (name == PRICE and any(one is not None for one in members)):
        raise _MalformedError
    if name == IN_STOCK:
        if not all(one is None or isinstance(one, bool) for one in members):
            raise _MalformedError
        return {"true"} if members and all(members) else set()
    if name == CATEGORY:
        return {text for one in members if one is not None and (text := _path(one))}
    return {text for one in members if one is not None and (text := _scalar(one))}


def _path(asked: Any) -> str:
    if isinstance(asked, list) and all(isinstance(one, str) for one in asked):
        return path(">".join(asked))
    if isinstance(asked, str):
        return path(asked)
    raise _MalformedError


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return folded(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return number(_finite(value))


def _bounds(name: str, asked: Mapping[str, Any]) -> tuple[float, float]:
    if not name or name in OWN - {PRICE} or not asked.keys() <= {"min", "max"}:
        raise _MalformedError
    low, high = asked.get("min"), asked.get("max")
    return -inf if low is None else _finite(low), inf if high is None else _finite(high)


def _finite(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            if isfinite(found := float(value)):
                return found
        except OverflowError:
            pass
    raise _MalformedError


def _range_terms(name: str, low: float, high: float) -> set[str]:
    return {
        f"{_escape(name)}{sign}{_escape(number(bound))}"
        for sign, bound in ((">=", low), ("<=", high))
        if isfinite(bound)
    }


def _escaped(name: str, values: Iterable[str]) -> Iterator[str]:
    """Values as they stand in the canonical form; only the ``>`` between the names of a path stays as it is."""
    for value in map(_escape, values):
        yield value.replace("%3E", ">") if name == CATEGORY else value


def _escape(part: str) -> str:
    """Percent-encoded as ``encodeURIComponent`` does, and as `streams.redis.keys.escape`, which lies above this."""
    return quote(part, safe="!~*'()", errors="replace")
