"""The Redis keys of shelves: how ids, queries and filters stand in them, and which to ask for in which order.

Pure, and without dependencies. The rules are those of Liveshelf's Redis contract; ``docs/shelf-keys.json`` and
``docs/filter-keys.json`` have cases that every implementation is tested with.
"""

import hashlib
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import quote

_SPACES = re.compile(r"[\s\ufeff]+")
_OWN = frozenset(("category", "brand", "price", "in_stock"))
_MOST_MEMBERS, _MOST_VALUES, _LONGEST = 64, 256, 256


def escape(part: str) -> str:
    """One part of a key, percent-encoded as JavaScript's ``encodeURIComponent`` does.

    Examples
    --------
    >>> escape("user {1}:é")
    'user%20%7B1%7D%3A%C3%A9'
    """
    return quote(part, safe="!~*'()", errors="replace")


def normalise(query: str) -> str:
    """A query as it stands in keys: NFKC, lower case, single spaces.

    Examples
    --------
    >>> normalise("  HDMI\\tCable ")
    'hdmi cable'
    """
    return _SPACES.sub(" ", unicodedata.normalize("NFKC", query).lower()).strip()


def feed(shopper: str, segment: str = "all", filtered: str = "") -> list[str]:
    """The shopper's feed, else what is popular; under a filter its pages alone.

    Examples
    --------
    >>> feed("u1", "Mice")
    ['shelf:feed:u1', 'shelf:popular:Mice', 'shelf:popular:all']
    >>> feed("u1", filtered=filter_key({"brand": "Acme"}))
    ['shelf:feed:u1:brand=acme', 'shelf:popular:brand=acme']
    """
    return [f"shelf:feed:{escape(shopper)}{_part(filtered)}", *popular(segment, filtered)]


def search(query: str, shopper: str | None = None, filtered: str = "") -> list[str]:
    """The shopper's own ranking of the query, else the query's shelf, else, without a filter, what is popular.

    Examples
    --------
    >>> search("Hose", "u1")
    ['shelf:search:hose:u1', 'shelf:search:hose', 'shelf:popular:all']
    """
    key = f"shelf:search:{escape(normalise(query))}{_part(filtered)}"
    personal = [] if shopper is None else [f"{key}:{escape(shopper)}"]
    return [*personal, key, *([] if filtered else popular())]


def similar(item_id: str, segment: str = "all") -> list[str]:
    """Items like this one, else what is popular."""
    return [f"shelf:similar:{escape(item_id)}", *popular(segment)]


def popular(segment: str = "all", filtered: str = "") -> list[str]:
    """The segment's popular shelf, else that of all items; under a filter its page for all alone.

    Examples
    --------
    >>> popular("Mice"), popular(), popular(filtered="brand=acme")
    (['shelf:popular:Mice', 'shelf:popular:all'], ['shelf:popular:all'], ['shelf:popular:brand=acme'])
    """
    if filtered:
        return [f"shelf:popular:{filtered}"]
    return list(dict.fromkeys((f"shelf:popular:{escape(segment)}", "shelf:popular:all")))


def _part(filtered: str) -> str:
    return f":{filtered}" if filtered else ""


def filter_key(filters: Mapping[str, Any] | None) -> str:
    """The part of a key that names filters: their canonical form, or ``#`` and its SHA-256 if that is long; empty where
    nothing is asked. A member that no filter can be made of is left out, as Liveshelf leaves it out.

    Examples
    --------
    >>> filter_key({"Brand": [" ACME", "acme"], "price": {"max": 50.0}, "colour": "dark red"})
    'brand=acme&colour=dark%20red&price<=50'
    >>> filter_key({"price": "cheap", "in_stock": False}), filter_key(None)
    ('', '')
    """
    values: dict[str, set[str]] = {}
    terms: set[str] = set()
    for given, asked in (filters or {}).items() if len(filters or {}) <= _MOST_MEMBERS else ():
        name = _folded(given)
        try:
            if isinstance(asked, Mapping):
                terms |= _range(name, asked)
            elif found := _wanted(name, asked):
                values.setdefault(name, set()).update(found)
        except _LeftOutError:
            continue
    terms |= {f"{escape(name)}={','.join(sorted(_escaped(name, some)))}" for name, some in values.items()}
    text = "&".join(sorted(terms))
    return text if len(text) <= _LONGEST else f"#{hashlib.sha256(text.encode()).hexdigest()}"


class _LeftOutError(ValueError):
    """A member of filters that the rule does not cover."""


def _folded(text: str) -> str:
    return normalise(normalise(text))


def _wanted(name: str, asked: Any) -> set[str]:
    given = asked if isinstance(asked, list) else [asked]
    members = [one for one in given if one is not None]
    if not name or len(given) > _MOST_VALUES or (name == "price" and members):
        raise _LeftOutError
    if name == "in_stock":
        if not all(isinstance(one, bool) for one in members):
            raise _LeftOutError
        return {"true"} if given and all(given) else set()
    return {text for one in members if (text := _path(one) if name == "category" else _scalar(one))}


def _path(asked: Any) -> str:
    if isinstance(asked, list) and all(isinstance(one, str) for one in asked):
        asked = ">".join(asked)
    if not isinstance(asked, str):
        raise _LeftOutError
    return ">".join(name for part in _folded(asked).split(">") if (name := part.strip()))


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return _folded(value)
    return str(value).lower() if isinstance(value, bool) else _number(value)


def _range(name: str, asked: Mapping[str, Any]) -> set[str]:
    if not name or name in _OWN - {"price"} or not asked.keys() <= {"min", "max"}:
        raise _LeftOutError
    bounds = ((">=", asked.get("min")), ("<=", asked.get("max")))
    return {f"{escape(name)}{sign}{escape(_number(bound))}" for sign, bound in bounds if bound is not None}


def _number(value: Any) -> str:
    """A number as JavaScript's ``String(value)`` writes it."""
    try:
        finite = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(float(value))
    except OverflowError:
        finite = False
    if not finite:
        raise _LeftOutError
    sign, digits, exponent = Decimal(repr(float(value))).normalize().as_tuple()
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


def _escaped(name: str, values: Iterable[str]) -> Iterable[str]:
    """Values as they stand in the canonical form; only the ``>`` of a path stays as it is."""
    for value in map(escape, values):
        yield value.replace("%3E", ">") if name == "category" else value
