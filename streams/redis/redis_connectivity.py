"""Checks whether Redis can be reached with these settings, and if not, says why in one sentence, within seconds.

Each step is tried once: the name, the connection, TLS, user and password, and whether the server is what the URL says:
one server, a node of a cluster, or a Sentinel. Knows nothing of keys.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from redis import asyncio as aio
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from streams.config import RedisConfig
from streams.connectivity import STEP_S, UnreachableError, first, listens, readable, refused, unusable, unverified
from streams.redis_url import Address, parse

log = logging.getLogger(__name__)

OLDEST = (6, 2)

URL_FORMS = {
    "standalone": "redis://host/0",
    "cluster": "redis+cluster://host",
    "sentinel": "redis+sentinel://host/the-master's-name",
}
"""The form of the URL, by the mode that a server reports."""
_FILES = ("?ssl_ca_certs= in redis.url", "?ssl_certfile= in redis.url")
MODES = {"single": "standalone", "cluster": "cluster", "sentinel": "sentinel"}


def reach(config: RedisConfig) -> None:
    """Connect to one of the servers that the URL names and wait for its answer; log settings that will cause problems.

    Raises
    ------
    UnreachableError
        When no server can be reached.
    """
    address = parse(config.url.get_secret_value())
    for option in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
        readable(address.options.get(option), f"{option} in redis.url")
    if address.kind == "sentinel":
        asyncio.run(first(_sentinel(host, port, address) for host, port in address.nodes))
    elif address.nodes:
        asyncio.run(first(_server(host, port, address) for host, port in address.nodes))
    else:
        asyncio.run(_server(None, 0, address))


async def _sentinel(host: str, port: int, address: Address) -> None:
    where = f"The Sentinel at {host}:{port}"
    guard = {name: value for name, value in address.options.items() if name not in ("username", "password", "db")}
    async with _talking(host, port, where, address, guard | address.sentinel) as client:
        masters: Any = await client.sentinel_masters()
    if address.service not in masters:
        known = f"it watches over {', '.join(sorted(masters))}" if masters else "it watches over none"
        raise UnreachableError(f"{where} knows no master '{address.service}' ({known}): correct redis.url.")
    master = masters[address.service]
    await _server(str(master["ip"]), int(master["port"]), address)


async def _server(host: str | None, port: int, address: Address) -> None:
    where = f"Redis at {host}:{port}" if host else f"Redis at {address.options.get('path')}"
    async with _talking(host, port, where, address, address.options) as client:
        try:
            memory: dict[str, Any] = await client.info("memory")
        except exceptions.NoPermissionError:
            return
    policy = memory.get("maxmemory_policy", "noeviction")
    if memory.get("maxmemory") and policy != "noeviction":
        log.warning(
            "%s has maxmemory-policy %s: when its memory is full it throws shoppers' histories away; set noeviction",
            where,
            policy,
        )


@asynccontextmanager
async def _talking(
    host: str | None, port: int, where: str, address: Address, options: dict[str, Any]
) -> AsyncIterator["aio.Redis"]:
    """A client that has had an answer, from a server of the kind that the URL says; closed whatever happens, also when
    another server answers first."""
    if host is not None:
        await listens(host, port, where, "redis.url (REDIS_URL)")
    client = _client(host, port, address.tls, options)
    try:
        try:
            await _answered(client, where, address)
        except UnreachableError:
            raise
        except (exceptions.RedisError, OSError, ssl.SSLError) as error:
            failed = error
        else:
            yield client
            return
    finally:
        await _close(client)
    raise await _explained(failed, host, port, where, address, options) from failed


async def _close(client: "aio.Redis") -> None:
    """Close all connections, also of who is cancelled meanwhile: a task of redis-py that is cancelled before it begins
    leaves its connection open."""
    closing = asyncio.ensure_future(client.aclose())
    try:
        await asyncio.shield(closing)
    except asyncio.CancelledError:
        await closing
        raise


def _client(host: str | None, port: int, tls: bool, options: dict[str, Any]) -> "aio.Redis":
    """A client with one connection that does not retry."""
    library: Any = aio
    kwargs = options | {"socket_timeout": STEP_S, "socket_connect_timeout": STEP_S, "retry": Retry(NoBackoff(), 0)}
    if host is None:
        kwargs["unix_socket_path"] = kwargs.pop("path")
        client: aio.Redis = library.Redis(**kwargs)
    else:
        client = library.Redis(host=host, port=port, ssl=tls, **kwargs)
    return client


async def _answered(client: "aio.Redis", where: str, address: Address) -> None:
    try:
        info: dict[str, Any] = await client.info("server")
    except exceptions.NoPermissionError:  # a user who may read shelves and nothing else
        return
    wanted = MODES[address.kind] if where.startswith("The Sentinel") or address.kind != "sentinel" else "standalone"
    mode = info.get("redis_mode", wanted)
    if mode != wanted:
        named = {"standalone": "a single server", "cluster": "a node of a cluster", "sentinel": "a Sentinel"}[mode]
        raise UnreachableError(f"{where} is {named}: write redis.url as {URL_FORMS[mode]}.")
    version = str(info.get("redis_version", "6.2"))
    if tuple(map(int, version.split(".")[:2])) < OLDEST:
        raise UnreachableError(f"{where} is version {version}, and 6.2 or newer is needed.")


async def _explained(
    error: Exception, host: str | None, port: int, where: str, address: Address, options: dict[str, Any]
) -> UnreachableError:
    """An error of redis-py as a sentence for a person."""
    user = options.get("username")
    said = str(error)
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError) and "WRONG_VERSION" not in str(cause) and "RECORD_LAYER" not in str(cause):
            if "KEY_VALUES_MISMATCH" in str(cause) or "PEM" in str(cause) or "NO_CERTIFICATE" in str(cause):
                return UnreachableError(
                    unusable(cause, options.get("ssl_ca_certs"), "ssl_certfile and ssl_keyfile in redis.url")
                )
            return UnreachableError(f"{where} {refused(cause, *_FILES)}")
    if isinstance(error, exceptions.BusyLoadingError):
        return UnreachableError(f"{where} is still loading its data: wait a moment.", True)
    if isinstance(error, exceptions.AuthenticationError) or "WRONGPASS" in said:
        if "password" not in options:
            return UnreachableError(f"{where} wants a password: write user:password@ before the host in redis.url.")
        name = f"user '{user}'" if user else "the password of the default user"
        return UnreachableError(f"{where} refuses {name}: check user and password in redis.url.")
    if "DB index" in said:
        return UnreachableError(f"{where} has no database {options.get('db')}: correct redis.url.")
    if host is not None:
        if address.tls and (alert := await _alert(host, port, options)) is not None:
            return UnreachableError(f"{where} {refused(alert, *_FILES)}")
        if address.tls and await _plain(host, port, options):
            return UnreachableError(f"{where} speaks no TLS: write redis.url with redis:// instead of rediss://.")
        if not address.tls and await _handshakes(host, port):
            return UnreachableError(f"{where} speaks TLS: write redis.url with rediss:// instead of redis://.")
    return UnreachableError(f"{where} does not answer as Redis does ({said}): check redis.url.", True)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and its causes."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


async def _alert(host: str, port: int, options: dict[str, Any]) -> ssl.SSLError | None:
    """The TLS alert that a server sends after our side of the handshake; redis-py sees only a closed connection."""
    context = unverified()
    if options.get("ssl_certfile"):
        context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    try:
        async with asyncio.timeout(STEP_S):
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
            try:
                await reader.read(1)  # nothing is sent: sending after the server closed would discard the alert
            finally:
                writer.transport.abort()
    except ssl.SSLError as error:
        return None if "WRONG_VERSION" in str(error) or "RECORD_LAYER" in str(error) else error
    except (OSError, TimeoutError):
        pass
    return None


async def _plain(host: str, port: int, options: dict[str, Any]) -> bool:
    shared = {name: value for name, value in options.items() if not name.startswith("ssl_")}
    client = _client(host, port, False, shared)
    try:
        return bool(await client.ping())
    except (exceptions.AuthenticationError, exceptions.ResponseError):
        return True
    except (exceptions.RedisError, OSError):
        return False
    finally:
        await client.aclose()


async def _handshakes(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port, ssl=unverified(), ssl_handshake_timeout=STEP_S)
    except ssl.SSLError as error:
        return "WRONG_VERSION" not in str(error) and "RECORD_LAYER" not in str(error)
    except OSError:
        return False
    writer.transport.abort()
    return True
