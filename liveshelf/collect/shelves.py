"""Which shelf a request asks for, and reads it: the first of a chain of keys that Redis has, as it stands there.

Knows Redis, the chains, and filters in their canonical form (``docs/filters.md``); nothing of HTTP.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal
from urllib.parse import unquote

import msgspec
from msgspec import Meta
from redis.asyncio import Redis

from streams.events.filters import CATEGORY, IN_STOCK, Filter
from streams.redis import chains

Surface = Literal["feed", "search", "similar", "popular"]

_HASH = re.compile("#[0-9a-f]{64}")
_RANGE = re.compile("([^=<>]*)(<=|>=)([^=<>]*)")
FILTER_LETTERS = 16_384
"""The longest canonical form that is taken apart; a longer one is sent as its hash."""

Part = Annotated[str, Meta(min_length=1, max_length=512)]


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A shelf that is asked for.

    ``id`` is a shopper for a feed, a query for a search, an item for similar ones, a segment or ``all`` for what is
    popular. ``user`` has a search ranked for a shopper, ``segment`` names the popular shelf to fall back to, and
    ``filter`` is a filter in its canonical form.
    """

    surface: Surface
    id: Part
    user: Part | None = None
    segment: Part = "all"
    filter: Annotated[str, Meta(max_length=FILTER_LETTERS)] = ""

    @property
    def personal(self) -> bool:
        """Whether the answer is one shopper's own."""
        return self.surface == "feed" or self.user is not None


def chain(question: Question) -> list[str]:
    """The keys to ask for, the best first.

    Raises
    ------
    ValueError
        When the parameters do not go together, or the filter is none.

    Examples
    --------
    >>> chain(Question("search", "HDMI  cable", user="u1", filter="brand=Acme&price<=50.0"))
    ['shelf:search:hdmi%20cable:brand=acme&price<=50:u1', 'shelf:search:hdmi%20cable:brand=acme&price<=50']
    >>> chain(Question("popular", "Mice"))
    ['shelf:popular:Mice', 'shelf:popular:all']
    """
    filtered = filter_key(question.filter)
    surface = question.surface
    if question.user is not None and surface != "search":
        raise ValueError("user is for a search alone; a feed's shopper is in the path")
    if question.segment != "all" and (surface in ("search", "popular") or filtered):
        raise ValueError("segment is for feed and similar without a filter; a popular segment is in the path")
    if filtered and (surface == "similar" or (surface == "popular" and question.id != "all")):
        raise ValueError("filter is for feed, search and popular/all")
    if surface == "feed":
        return chains.feed(question.id, question.segment, filtered)
    if surface == "search":
        return chains.search(question.id, question.user, filtered)
    if surface == "similar":
        return chains.similar(question.id, question.segment)
    return chains.popular(question.id, filtered)


def filter_key(text: str) -> str:
    """The part of a key that names a filter, of its canonical form or anything near it; empty for no filter.

    Raises
    ------
    ValueError
        When a term is malformed: it would be left out, and the shelf would show what is not wanted.

    Examples
    --------
    >>> filter_key("price<=50&brand=Acme,bolt%20%26%20co&category=garden>hoses&in_stock=true")
    'brand=acme,bolt%20%26%20co&category=garden>hoses&in_stock=true&price<=50'
    >>> filter_key("brand")
    Traceback (most recent call last):
    ...
    ValueError: 'brand' is no term of a filter: write name=value,value or name>=number or name<=number
    """
    if not text or _HASH.fullmatch(text):
        return text
    asked: dict[str, Any] = {}
    for term in text.split("&"):
        name, value = _term(term)
        known = asked.get(name)
        if isinstance(value, dict) and isinstance(known, dict) and known.keys().isdisjoint(value):
            known |= value
        elif name in asked:
            raise ValueError(f"{name!r} is there twice: join its values with a comma, or its bounds as >= and <=")
        else:
            asked[name] = value
    found = Filter.of(asked)
    if found.malformed:
        raise ValueError(f"{found.malformed} of its terms ask for what no filter can ask (docs/filters.md)")
    return found.key


def _term(term: str) -> tuple[str, Any]:
    if bound := _RANGE.fullmatch(term):
        try:
            return _plain(bound[1]), {"min" if bound[2] == ">=" else "max": float(_plain(bound[3]))}
        except ValueError:
            raise ValueError(f"{term[:80]!r} has no number for its bound") from None
    name, sign, values = term.partition("=")
    if not (sign and name and values):
        raise ValueError(
            f"{term[:80]!r} is no term of a filter: write name=value,value or name>=number or name<=number"
        )
    plain: list[Any] = [_plain(value) for value in values.split(",")]
    if (folded := _plain(name)) == IN_STOCK:
        plain = [{"true": True, "false": False}.get(value, value) for value in plain]
    if folded == CATEGORY:
        plain = [[_plain(part) for part in value.split(">")] for value in values.split(",")]
    return folded, plain


def _plain(part: str) -> str:
    try:
        return unquote(part, errors="strict")
    except UnicodeDecodeError:
        raise ValueError(f"{part[:80]!r} is no UTF-8 once it is unescaped") from None


async def first(redis: "Redis", keys: Sequence[str]) -> bytes | None:
    """The value of the first key that is there, in one round trip; None if none is.

    Raises
    ------
    redis.exceptions.RedisError
        When Redis does not answer.
    """
    if len(keys) == 1:
        return _bytes(await redis.get(keys[0]))
    async with redis.pipeline(transaction=False) as pipe:  # single GETs, so that a cluster may hold them anywhere
        for key in keys:
            pipe.get(key)
        return next((value for found in await pipe.execute() if (value := _bytes(found)) is not None), None)


def _bytes(value: Any) -> bytes | None:
    return value if isinstance(value, bytes) else None


def etag(value: bytes) -> str:
    """What names a shelf's state: items may be taken out of a shelf that keeps its id.

    Examples
    --------
    >>> etag(b"{}")
    '"01e7b720ff566d53"'
    """
    return f'"{hashlib.blake2b(value, digest_size=8).hexdigest()}"'
