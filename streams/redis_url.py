"""Parses the URL of Redis: a single server, a Redis Cluster, or a master of Sentinels.

Knows the forms of URLs (``docs/redis.md``) and redis-py's options; connects to nothing.
"""

import inspect
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal, cast
from urllib.parse import unquote, urlsplit

import redis
from redis import asyncio as aio
from redis import connection as connections

Kind = Literal["single", "cluster", "sentinel"]

KINDS: dict[str, Kind] = {
    "redis": "single",
    "rediss": "single",
    "unix": "single",
    "redis+cluster": "cluster",
    "rediss+cluster": "cluster",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
}
"""The kind of Redis for each URL scheme; ``rediss`` is TLS."""

SENTINEL_PORT = 26_379
SENTINEL_OPTIONS = {"sentinel_username": "username", "sentinel_password": "password"}


@dataclass(frozen=True, slots=True)
class Address:
    """The parts of a URL.

    Attributes
    ----------
    nodes
        Hosts and ports: of the server, of nodes of the cluster, or of Sentinels. Empty for a Unix socket.
    options
        Options of each connection to Redis, with redis-py's names: user, password, database, TLS files, timeouts.
    service
        The Sentinels' name of the master.
    sentinel
        User and password of the Sentinels themselves.
    """

    kind: Kind
    tls: bool
    nodes: tuple[tuple[str, int], ...]
    options: dict[str, Any]
    service: str = ""
    sentinel: dict[str, Any] = field(default_factory=dict)


def parse(url: str) -> Address:
    """Parse a URL; connects to nothing.

    Raises
    ------
    ValueError
        When the URL is invalid. The message says what is wrong, and never repeats a password.

    Examples
    --------
    >>> one = parse("redis+sentinel://me:secret@a,b:5000/shop/1?sentinel_password=guard")
    >>> one.kind, one.nodes, one.service, one.options["db"], one.sentinel
    ('sentinel', (('a', 26379), ('b', 5000)), 'shop', 1, {'password': 'guard'})
    >>> parse("redis+clutser://cache")
    Traceback (most recent call last):
    ...
    ValueError: a Redis URL cannot begin with 'redis+clutser://'; perhaps 'redis+cluster://' is meant
    """
    scheme, there, rest = url.partition("://")
    if scheme not in KINDS:
        near = get_close_matches(scheme, KINDS, n=1) if there else []
        begun = f"begin with '{scheme}://'" if there else "be without a scheme"
        instead = f"perhaps '{near[0]}://' is meant" if near else f"it begins with one of {'://, '.join(KINDS)}://"
        raise ValueError(f"a Redis URL cannot {begun}; {instead}")
    kind, base = KINDS[scheme], scheme.partition("+")[0]
    nodes, service, options = list[tuple[str, int]](), "", dict[str, Any]()
    if kind == "single":
        options = _redis_py_options(url)
        if base != "unix":
            nodes = [(options.pop("host", "localhost"), options.pop("port", 6379))]
    else:
        before, mark, query = rest.partition("?")
        place, _, path = before.partition("/")
        credentials, at, hosts = place.rpartition("@")
        service, _, database = path.partition("/") if kind == "sentinel" else ("", "", path)
        if kind == "sentinel" and not service:
            raise ValueError(f"a Sentinel URL names the service: {scheme}://host:{SENTINEL_PORT}/mymaster")
        if kind == "cluster" and database.strip("0"):
            raise ValueError("a Redis Cluster has database 0 only")
        for host in hosts.split(","):
            if not host:
                raise ValueError("a Redis URL names a host, or several with a comma between each two")
            options = _redis_py_options(f"{base}://{credentials}{at}{host}/{database}{mark}{query}")
            port = SENTINEL_PORT if kind == "sentinel" else 6379
            nodes.append((options.pop("host"), options.pop("port", port)))
    sentinel = {own: options.pop(name) for name, own in SENTINEL_OPTIONS.items() if name in options}
    if sentinel and kind != "sentinel":
        raise ValueError("only a Sentinel URL has sentinel_username and sentinel_password")
    _refuse_unknown(options, kind)
    return Address(kind, base == "rediss", tuple(nodes), options, unquote(service), sentinel)


def _redis_py_options(url: str) -> dict[str, Any]:
    """A single server's URL as redis-py parses it. Errors never repeat the URL: a part of it may be a password."""
    database = urlsplit(url).path.strip("/")
    if database and not database.isdigit() and not url.startswith("unix:"):
        raise ValueError("a Redis URL ends in the number of a database, or in nothing")
    try:
        options: dict[str, Any] = dict(cast(Any, connections).parse_url(url))
    except ValueError as error:
        if "Invalid value for" in str(error):
            raise ValueError(f"the Redis URL cannot be read: {error}") from None
        raise ValueError(
            "the Redis URL cannot be read: a port is a number from 0 to 65535, and in a password the characters "
            "/ ? # @ : % are written as %2F %3F %23 %40 %3A %25"
        ) from None
    options.pop("connection_class", None)
    return options


def _refuse_unknown(options: dict[str, Any], kind: Kind) -> None:
    """Raise for an option that redis-py does not know; redis-py itself would raise only on connecting."""
    makers = (
        (redis.RedisCluster, aio.RedisCluster)
        if kind == "cluster"
        else (connections.ConnectionPool, connections.UnixDomainSocketConnection, *connections.SSLConnection.__mro__)
    )
    known = {name for maker in makers for name in inspect.signature(maker.__init__).parameters}  # type: ignore[misc]
    for name in options:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; perhaps '{near[0]}' is meant" if near else ""
            raise ValueError(f"a Redis URL has no option '{name}'{hint}")
