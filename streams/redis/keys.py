"""The names of Redis keys: the shelf keys that a frontend reads, and Liveshelf's own keys.

Ids and queries are escaped exactly as JavaScript's ``encodeURIComponent`` does, so a frontend in any language can build
a key with an existing function. Knows nothing of what is stored under a key.
"""

import re
from urllib.parse import quote, unquote

from streams.events.schema import normalise

_PLAIN = re.compile(r"[A-Za-z0-9_.!~*'()-]*", re.ASCII).fullmatch
"""Whether escaping leaves a text as it is."""


def escape(part: str) -> str:
    """Percent-encode one part of a key, as ``encodeURIComponent`` does: no ``:``, ``{``, ``}`` or space survives.

    Examples
    --------
    >>> escape("user {1}:é")
    'user%20%7B1%7D%3A%C3%A9'
    """
    return part if _PLAIN(part) else quote(part, safe="!~*'()", errors="replace")


def unescape(part: str) -> str:
    """What :func:`escape` was given.

    Examples
    --------
    >>> unescape("user%20%7B1%7D%3A%C3%A9")
    'user {1}:é'
    """
    return unquote(part, errors="replace")


def feed(shopper: str, filtered: str = "") -> str:
    """Key of a shopper's personal feed; with a filter's key, of the shopper's page of what it keeps.

    Examples
    --------
    >>> feed("u1"), feed("u1", "category=garden>hoses")
    ('shelf:feed:u1', 'shelf:feed:u1:category=garden>hoses')
    """
    return f"shelf:feed:{escape(shopper)}{_part(filtered)}"


def search(query: str, shopper: str | None = None, filtered: str = "") -> str:
    """Key of a query's shelf; with a shopper, of that shopper's own ranking of it; with a filter's key, under it.

    Examples
    --------
    >>> search("HDMI cable"), search("HDMI cable", "u1")
    ('shelf:search:hdmi%20cable', 'shelf:search:hdmi%20cable:u1')
    >>> search("HDMI cable", "u1", "brand=acme")
    'shelf:search:hdmi%20cable:brand=acme:u1'
    """
    base = f"shelf:search:{escape(normalise(query))}{_part(filtered)}"
    return base if shopper is None else f"{base}:{escape(shopper)}"


def _part(filtered: str) -> str:
    """A filter's key as it stands in a shelf's: it holds ``=``, ``<`` or ``#``, which no escaped part does."""
    return f":{filtered}" if filtered else ""


def similar(item_id: str) -> str:
    """Key of the items most like this one."""
    return f"shelf:similar:{escape(item_id)}"


def popular(segment: str = "all", filtered: str = "") -> str:
    """Key of a popular shelf: of a segment, ``all`` or a category of the catalogue; or of what a filter keeps.

    Examples
    --------
    >>> popular(), popular(filtered="brand=acme")
    ('shelf:popular:all', 'shelf:popular:brand=acme')
    """
    return f"shelf:popular:{filtered or escape(segment)}"


def own(shard_number: int, *parts: str) -> str:
    """A key of Liveshelf's own state; the hash tag keeps one shard's keys in one Redis Cluster slot.

    Examples
    --------
    >>> own(3, "items", "u:1")
    'ls:{3}:items:u%3A1'
    """
    return f"ls:{{{shard_number}}}:" + ":".join(map(escape, parts))
