"""Makes every Redis client, from one URL: a single server, a Redis Cluster, or a master of Sentinels.

Knows redis-py; nothing of the commands. redis-py's clients find the nodes, follow redirections and a change of the
master. All three take the same commands, so they are typed as the client of a single server.
"""

from typing import Any, cast

import redis
from redis import asyncio as aio
from redis import exceptions
from redis.asyncio.sentinel import Sentinel as AsyncSentinel

from streams.config import RedisConfig
from streams.redis_url import Address, parse

ERRORS = (exceptions.RedisError, exceptions.RedisClusterException)
"""What redis-py raises: the errors of its cluster client are not subclasses of its others."""


class _AsyncOfSentinels(aio.Redis):
    """The master's client, which owns the connections to its Sentinels too."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close all connections."""
        await super().aclose(close_connection_pool)
        await cast(Any, self.connection_pool).sentinel_manager.aclose()


class _OfSentinels(redis.Redis):
    """The master's client for threads, which owns the connections to its Sentinels too."""

    def close(self) -> None:
        """Close all connections."""
        super().close()
        if self.connection_pool is not None:
            cast(Any, self.connection_pool).sentinel_manager.close()


def connect(config: RedisConfig, *, timeout_s: float = 10.0) -> "aio.Redis":
    """A client for asyncio; nothing is sent yet. Timeouts in the URL take precedence.

    Parameters
    ----------
    timeout_s
        The longest wait for an answer; half of it for a connection.
    """
    url, address, options = _options(config, timeout_s)
    library: Any = aio
    if address.kind == "single":
        client = library.Redis.from_url(url, **options)
    elif address.kind == "cluster":
        nodes = [library.cluster.ClusterNode(host, port) for host, port in address.nodes]
        client = library.RedisCluster(startup_nodes=nodes, ssl=address.tls, **options)
    else:
        sentinels = cast(Any, AsyncSentinel)(
            address.nodes, sentinel_kwargs=_sentinel_options(address, options), ssl=address.tls, **options
        )
        client = sentinels.master_for(address.service, redis_class=_AsyncOfSentinels)
    return cast("aio.Redis", client)


def connect_now(config: RedisConfig, *, timeout_s: float = 10.0) -> "redis.Redis":
    """A client for threads. It asks a cluster for its nodes at once; to others it sends nothing yet.

    Raises
    ------
    redis.exceptions.ConnectionError
        When no node of a cluster answers.
    """
    url, address, options = _options(config, timeout_s)
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
        sentinels = sentinel(
            address.nodes, sentinel_kwargs=_sentinel_options(address, options), ssl=address.tls, **options
        )
        client = sentinels.master_for(address.service, redis_class=_OfSentinels)
    return cast("redis.Redis", client)


def _options(config: RedisConfig, timeout_s: float) -> tuple[str, Address, dict[str, Any]]:
    url = config.url.get_secret_value()
    address = parse(url)
    return url, address, {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s / 2} | address.options


def _sentinel_options(address: Address, options: dict[str, Any]) -> dict[str, Any]:
    """Options of a connection to a Sentinel: those of one to Redis, except user, password and database."""
    shared = {name: value for name, value in options.items() if name not in ("username", "password", "db")}
    return shared | address.sentinel | {"ssl": address.tls}


def slot(client: "aio.Redis", key: str) -> int:
    """The slot of a key: a cluster's script takes keys of one slot alone. All keys of one server are in one.

    Examples
    --------
    >>> slot(connect(RedisConfig()), "shelf:feed:u1")
    0
    """
    maybe: Any = client
    return int(maybe.keyslot(key)) if isinstance(maybe, aio.RedisCluster) else 0
