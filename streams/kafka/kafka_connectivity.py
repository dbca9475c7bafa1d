"""Checks within seconds whether Kafka can be reached with these settings, and explains a failure in one sentence.

The libraries retry for half a minute, and their errors do not name the cause. Here each step is tried once by itself:
name resolution, the connection, TLS, the protocol, the login, and the advertised addresses. Knows nothing of topics.
"""

import asyncio
import ssl
import struct
from collections.abc import Sequence
from typing import Any

from aiokafka import errors
from aiokafka.conn import create_conn
from aiokafka.protocol.metadata import MetadataRequest

from streams.config import KafkaConfig
from streams.connectivity import STEP_S, UnreachableError, first, listens, readable, refused, unusable, unverified
from streams.kafka.connection import tls

_API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 1, -1)
"""The one request that every Kafka listener answers without a login."""


def reach(config: KafkaConfig) -> None:
    """Check that at least one of the brokers answers.

    Raises
    ------
    UnreachableError
        When none can be reached.
    """
    asyncio.run(first(_broker(host, port, config) for host, port in brokers(config)))


def brokers(config: KafkaConfig) -> list[tuple[str, int]]:
    """Hosts and ports of the bootstrap servers.

    Examples
    --------
    >>> brokers(KafkaConfig(bootstrap_servers="a:1, b,[::1]:2"))
    [('a', 1), ('b', 9092), ('::1', 2)]
    """
    found = []
    for server in config.bootstrap_servers.split(","):
        host, colon, port = server.strip().rpartition(":")
        if not colon or server.strip().endswith("]"):
            host, port = server.strip(), "9092"
        if not host or not port.isdigit() or int(port) > 65_535:
            raise UnreachableError(
                f"'{server}' in kafka.bootstrap_servers is no host and port: write them as broker-1:9092,broker-2:9092."
            )
        found.append((host.strip("[]"), int(port)))
    return found


async def _broker(host: str, port: int, config: KafkaConfig) -> None:
    where = f"Kafka at {host}:{port}"
    await listens(host, port, where, "kafka.bootstrap_servers (KAFKA_BOOTSTRAP_SERVERS)")
    context = _context(config)
    try:
        await _request_versions(host, port, context)
    except ssl.SSLError as error:
        raise UnreachableError(f"{where} {refused(error, 'kafka.ca_file', 'kafka.cert_file')}") from error
    except (OSError, EOFError, TimeoutError) as error:
        if context is None and await _speaks_kafka(host, port, unverified()):
            raise UnreachableError(
                f"{where} speaks TLS and kafka.security_protocol is {config.security_protocol}: set it to "
                f"{'SASL_SSL' if config.security_protocol.startswith('SASL') else 'SSL or SASL_SSL'}."
            ) from error
        if context is not None and await _speaks_kafka(host, port, None):
            raise UnreachableError(
                f"{where} speaks no TLS and kafka.security_protocol is {config.security_protocol}: set it to "
                f"{'SASL_PLAINTEXT' if config.security_protocol == 'SASL_SSL' else 'PLAINTEXT or SASL_PLAINTEXT'}."
            ) from error
        raise UnreachableError(
            f"What listens at {host}:{port} does not speak Kafka's protocol: check kafka.bootstrap_servers."
        ) from error
    await _log_in(host, port, where, config, context)


def _context(config: KafkaConfig) -> ssl.SSLContext | None:
    """Our TLS context; checks first that its files can be read."""
    for name in ("ca_file", "cert_file", "key_file"):
        readable(getattr(config, name), f"kafka.{name}")
    try:
        return tls(config)
    except (ssl.SSLError, OSError) as error:
        raise UnreachableError(unusable(error, config.ca_file, "kafka.cert_file and kafka.key_file")) from error


async def _request_versions(host: str, port: int, context: ssl.SSLContext | None) -> None:
    """Ask a listener for Kafka's API versions; raises the socket's own errors."""
    async with asyncio.timeout(STEP_S):
        reader, writer = await asyncio.open_connection(
            host, port, ssl=context, ssl_handshake_timeout=None if context is None else STEP_S
        )
        try:
            writer.write(_API_VERSIONS)
            length, number = struct.unpack(">ii", await reader.readexactly(8))
            if number != 1 or length < 4:
                raise EOFError("not Kafka")
        finally:
            writer.transport.abort()


async def _speaks_kafka(host: str, port: int, context: ssl.SSLContext | None) -> bool:
    try:
        await _request_versions(host, port, context)
    except ssl.SSLError as error:  # it is TLS, but for example wants a client certificate
        return "WRONG_VERSION" not in str(error) and "RECORD_LAYER" not in str(error)
    except (OSError, EOFError, TimeoutError):
        return False
    return True


async def _log_in(host: str, port: int, where: str, config: KafkaConfig, context: ssl.SSLContext | None) -> None:
    """Log in, and ask for the brokers."""
    try:
        connection = await create_conn(
            host,
            port,
            request_timeout_ms=int(STEP_S * 1_000),
            ssl_context=context,
            security_protocol=config.security_protocol,
            **config.sasl(),
        )
    except errors.UnsupportedSaslMechanismError as error:
        raise UnreachableError(
            f"{where} does not take kafka.sasl_mechanism {config.sasl_mechanism}: set it to another one "
            "(PLAIN, SCRAM-SHA-256, SCRAM-SHA-512)."
        ) from error
    except errors.IllegalSaslStateError as error:
        plain = config.security_protocol.removeprefix("SASL_")
        raise UnreachableError(f"{where} asks for no user: set kafka.security_protocol to {plain}.") from error
    except (errors.KafkaError, OSError, TimeoutError) as error:
        if config.security_protocol.startswith("SASL"):
            raise UnreachableError(
                f"{where} refuses user '{config.username}': check kafka.username and kafka.password, and that the "
                f"user is there for {config.sasl_mechanism}."
            ) from error
        raise UnreachableError(f"{where} does not answer as it should: {error}.", True) from error
    try:
        answer: Any = await connection.send(MetadataRequest([]))
    except (errors.KafkaError, OSError, TimeoutError) as error:
        raise UnreachableError(
            f"{where} closes the connection when asked: it probably wants a user. Set kafka.security_protocol to "
            f"SASL_{config.security_protocol.removeprefix('SASL_')}, kafka.username and kafka.password."
        ) from error
    finally:
        await asyncio.wait({connection.close()}, timeout=STEP_S)  # TLS sends its closing message first
    await _advertised(where, [(str(broker[1]), int(broker[2])) for broker in answer.brokers])


async def _advertised(where: str, addresses: Sequence[tuple[str, int]]) -> None:
    """Check the advertised addresses, to which clients connect next; a broker that has just started may have none."""
    if not addresses:
        return
    try:
        await first(
            listens(host, port, f"{host}:{port}", "the broker's advertised.listeners") for host, port in addresses
        )
    except UnreachableError as error:
        places = ", ".join(f"{host}:{port}" for host, port in addresses)
        raise UnreachableError(
            f"{where} answers, but sends its clients to {places} (advertised.listeners), which cannot be reached from "
            "here: correct the broker's setting, or make that name known."
        ) from error
