"""The names of Redis keys: the shelf keys that a frontend reads, and Liveshelf's own keys.

Ids and queries are escaped exactly as JavaScript's ``encodeURIComponent`` does, so a frontend in any language can build
a key with an existing function. Knows nothing of what is stored under a key.
"""

import zlib
from urllib.parse import quote, unquote

from streams.events.schema import normalise


def escape(part: str) -> str:
    """Percent-encode one part of a key, as ``encodeURIComponent`` does: no ``:``, ``{``, ``}`` or space survives.

    Examples
    --------
    >>> escape("user {1}:é")
    'user%20%7B1%7D%3A%C3%A9'
    """
    return quote(part, safe="!~*'()", errors="replace")


def unescape(part: str) -> str:
    """What :func:`escape` was given.

    Examples
    --------
    >>> unescape("user%20%7B1%7D%3A%C3%A9")
    'user {1}:é'
    """
    return unquote(part, errors="replace")


def feed(shopper: str) -> str:
    """Key of a shopper's personal feed.

    Examples
    --------
    >>> feed("u1")
    'shelf:feed:u1'
    """
    return f"shelf:feed:{escape(shopper)}"


def search(query: str, shopper: str | None = None) -> str:
    """Key of a query's shelf; with a shopper, of that shopper's own ranking of it.

    Examples
    --------
    >>> search("HDMI cable"), search("HDMI cable", "u1")
    ('shelf:search:hdmi%20cable', 'shelf:search:hdmi%20cable:u1')
    """
    base = f"shelf:search:{escape(normalise(query))}"
    return base if shopper is None else f"{base}:{escape(shopper)}"


def similar(item_id: str) -> str:
    """Key of the items most like this one."""
    return f"shelf:similar:{escape(item_id)}"


def popular(segment: str = "all") -> str:
    """Key of a popular shelf; segments are ``all`` and the catalogue's categories."""
    return f"shelf:popular:{escape(segment)}"


def shard(shopper: str, shards: int) -> int:
    """The shard of a shopper's state: the same in all processes, versions and partition counts.

    Examples
    --------
    >>> shard("u1", 8) == shard("u1", 8) < 8
    True
    """
    return zlib.crc32(shopper.encode("utf-8", "replace")) % shards


def own(shard_number: int, *parts: str) -> str:
    """A key of Liveshelf's own state; the hash tag keeps one shard's keys in one Redis Cluster slot.

    Examples
    --------
    >>> own(3, "items", "u:1")
    'ls:{3}:items:u%3A1'
    """
    return f"ls:{{{shard_number}}}:" + ":".join(map(escape, parts))
