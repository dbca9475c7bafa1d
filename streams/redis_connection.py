"""One place that makes every Redis client, from one URL: a single server, a Redis Cluster, or a master of Sentinels.

Knows redis-py and the forms of URLs (``docs/redis.md``); nothing of what is asked. redis-py's own clients find the
nodes, follow redirections and a change of the master. All three take the same commands, so they are typed as the client
of a single server.
"""

import inspect
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal, cast
from urllib.parse import unquote, urlsplit

import redis
from redis import asyncio as aio
from redis import connection as connections
from redis import exceptions
from redis.asyncio.sentinel import Sentinel as AsyncSentinel

from streams.config import RedisConfig

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
"""What a URL's scheme leads to; ``rediss`` is TLS."""

ERRORS = (exceptions.RedisError, exceptions.RedisClusterException)
"""What redis-py raises: the errors of its cluster client are not among its others."""

SENTINEL_PORT = 26_379
SENTINEL_OPTIONS = {"sentinel_username": "username", "sentinel_password": "password"}


@dataclass(frozen=True, slots=True)
class Address:
    """What a URL says.

    Attributes
    ----------
    nodes
        Hosts and ports: of the server, of nodes of the cluster, or of Sentinels. Empty for a Unix socket.
    options
        For each connection to Redis, as redis-py names them: user, password, database, TLS files, timeouts.
    service
        What the Sentinels call the master.
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
    """Read a URL; nothing is connected.

    Raises
    ------
    ValueError
        With a sentence that says what is wrong, and repeats no password.

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
        options = _told(url)
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
            options = _told(f"{base}://{credentials}{at}{host}/{database}{mark}{query}")
            port = SENTINEL_PORT if kind == "sentinel" else 6379
            nodes.append((options.pop("host"), options.pop("port", port)))
    sentinel = {own: options.pop(name) for name, own in SENTINEL_OPTIONS.items() if name in options}
    if sentinel and kind != "sentinel":
        raise ValueError("only a Sentinel URL has sentinel_username and sentinel_password")
    _refuse_unknown(options, kind)
    return Address(kind, base == "rediss", tuple(nodes), options, unquote(service), sentinel)


def _told(url: str) -> dict[str, Any]:
    """A single server's URL as redis-py reads it; what is wrong is never repeated, for it may be part of a password."""
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
    """redis-py would find an option that it does not know only on connecting."""
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


class _AsyncOfSentinels(aio.Redis):
    """The master's client, which owns the connections to its Sentinels too."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close all connections."""
        await super().aclose(close_connection_pool)
        await cast(Any, self.connection_pool).sentinel_manager.aclose()


class _OfSentinels(redis.Redis):
    """The same for threads."""

    def close(self) -> None:
        """Close all connections."""
        super().close()
        if self.connection_pool is not None:
            cast(Any, self.connection_pool).sentinel_manager.close()


def connect(config: RedisConfig, *, timeout_s: float = 10.0) -> "aio.Redis":
    """A client for asyncio; nothing is sent yet. What the URL says of timeouts wins.

    Parameters
    ----------
    timeout_s
        Longest wait for an answer; for a connection half of it.
    """
    url, address, options = _planned(config, timeout_s)
    library: Any = aio
    if address.kind == "single":
        client = library.Redis.from_url(url, **options)
    elif address.kind == "cluster":
        nodes = [library.cluster.ClusterNode(host, port) for host, port in address.nodes]
        client = library.RedisCluster(startup_nodes=nodes, ssl=address.tls, **options)
    else:
        sentinels = cast(Any, AsyncSentinel)(
            address.nodes, sentinel_kwargs=_guards(address, options), ssl=address.tls, **options
        )
        client = sentinels.master_for(address.service, redis_class=_AsyncOfSentinels)
    return cast("aio.Redis", client)


def connect_now(config: RedisConfig, *, timeout_s: float = 10.0) -> "redis.Redis":
    """A client for threads. A cluster is asked for its nodes at once; of the others nothing is asked yet.

    Raises
    ------
    redis.exceptions.ConnectionError
        When no node of a cluster answers.
    """
    url, address, options = _planned(config, timeout_s)
    library: Any = redis
    if address.kind == "single":
        client = library.Redis.from_url(url, **options)
    elif address.kind == "cluster":
        nodes = [library.cluster.ClusterNode(host, port) for host, port in address.nodes]
        try:
            client = library.RedisCluster(startup_nodes=nodes, ssl=address.tls, **options)
        except exceptions.RedisClusterException as error:
            raise exceptions.ConnectionError(str(error)) from error
    else:
        sentinel = library.sentinel.Sentinel
        sentinels = sentinel(address.nodes, sentinel_kwargs=_guards(address, options), ssl=address.tls, **options)
        client = sentinels.master_for(address.service, redis_class=_OfSentinels)
    return cast("redis.Redis", client)


def _planned(config: RedisConfig, timeout_s: float) -> tuple[str, Address, dict[str, Any]]:
    url = config.url.get_secret_value()
    address = parse(url)
    return url, address, {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s / 2} | address.options


def _guards(address: Address, options: dict[str, Any]) -> dict[str, Any]:
    """What a connection to a Sentinel is told: all that one to Redis is, but user, password and database."""
    shared = {name: value for name, value in options.items() if name not in ("username", "password", "db")}
    return shared | address.sentinel | {"ssl": address.tls}
