"""Checks step by step whether a server can be reached, and if not, says why in one sentence. For Kafka and Redis.

Knows names, sockets and TLS; nothing of the protocols above them.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Iterable
from pathlib import Path

STEP_S = 2.0
"""The longest wait for one step."""

_WANTS_CERTIFICATE = ("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "HANDSHAKE_FAILURE")
_REFUSES_CERTIFICATE = ("UNKNOWN_CA", "CERTIFICATE_UNKNOWN", "CERTIFICATE_EXPIRED", "CERTIFICATE_REVOKED")


class UnreachableError(Exception):
    """A server cannot be reached; the message says in one sentence what to do.

    Attributes
    ----------
    passing
        Whether the error may end by itself, as when nothing listens yet. All other errors are wrong settings.
    """

    def __init__(self, message: str, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


async def first(attempts: Iterable[Awaitable[None]]) -> None:
    """Return as soon as one attempt succeeds; else raise an error that is not passing, or the first one."""
    failed: list[UnreachableError] = []
    tasks = [asyncio.ensure_future(attempt) for attempt in attempts]
    try:
        for done in asyncio.as_completed(tasks):
            try:
                return await done
            except UnreachableError as error:
                failed.append(error)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    raise min(failed, key=lambda error: error.passing)


def readable(file: str | None, name: str) -> None:
    """Raise if a file does not exist or may not be read."""
    if file is None:
        return
    try:
        with Path(file).open("rb"):
            pass
    except OSError as error:
        raise UnreachableError(f"The file {file} that {name} names cannot be read: {error.strerror}.") from error


def unusable(error: Exception, ca_file: str | None, pair: str) -> str:
    """A sentence that says which TLS file could not be used."""
    if "KEY_VALUES_MISMATCH" in str(error):
        return f"The key and the certificate that {pair} name do not belong together."
    if ca_file is not None:
        try:
            ssl.create_default_context(cafile=ca_file)
        except ssl.SSLError:
            return f"The file {ca_file} holds no certificates in PEM."
    return f"The files that {pair} name hold no certificate and its key in PEM, not encrypted."


async def listens(host: str, port: int, where: str, setting: str) -> None:
    """Resolve the name and connect."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(STEP_S):
            await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError, TimeoutError) as error:
        raise UnreachableError(f"The name {host} in {setting} does not resolve: check its spelling.") from error
    try:
        async with asyncio.timeout(STEP_S):
            _, writer = await asyncio.open_connection(host, port)
        writer.close()
    except ConnectionRefusedError as error:
        raise UnreachableError(
            f"{where}: nothing listens there. Start it (liveshelf up starts one here, within a minute), "
            f"or correct {setting}.",
            True,
        ) from error
    except (OSError, TimeoutError) as error:
        why = "no answer" if isinstance(error, TimeoutError) else error.strerror
        raise UnreachableError(f"{where} cannot be reached ({why}): check {setting} and the firewall.", True) from error


def unverified() -> ssl.SSLContext:
    """A TLS context without verification, to test whether a server speaks TLS at all; nothing is sent through it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def refused(error: ssl.SSLError, ca: str, cert: str) -> str:
    """What went wrong in the handshake, as the predicate of a sentence whose subject is the server."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message
        if ("name" in why.lower() and "mismatch" in why.lower()) or "not valid for" in why:
            return f"shows a certificate that is not for this name ({why}): use a name that stands in it."
        if "expired" in why:
            return "shows a certificate that has expired."
        return f"shows a certificate that nobody vouches for whom we trust ({why}): set {ca} to its authority's file."
    said = f"{error.reason or ''} {error}"
    if any(word in said for word in _WANTS_CERTIFICATE):
        return f"wants a client's certificate that it trusts: set {cert} and its key."
    if any(word in said for word in _REFUSES_CERTIFICATE):
        return f"does not trust our certificate: set {cert} to one that its authority has signed."
    return f"and we find no common TLS ({error.reason or error})."
