"""Reads a request's body: as it comes, decompressed, and never more of it than is allowed.

Knows ASGI's messages and gzip; nothing of what a body says.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator

from liveshelf.collect.limits import Share

GZIP = 31
"""zlib's number for the format of gzip, with the largest window."""

DISCARDED_BYTES = 1_048_576
DISCARDED_S = 1.0


class BodyError(Exception):
    """A body that is not taken: the HTTP status, and a sentence for a person."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


class Inflater:
    """Decompresses gzip step by step, in steps of bounded size.

    Examples
    --------
    >>> import gzip
    >>> inflater = Inflater(most=100)
    >>> inflater.add(gzip.compress(b"a" * 50) + gzip.compress(b"b" * 50)) == b"a" * 50 + b"b" * 50
    True
    >>> inflater.close()
    >>> Inflater(most=9).add(gzip.compress(b"a" * 10_000_000))
    Traceback (most recent call last):
    ...
    liveshelf.collect.body.BodyError: the body has more than 9 bytes once it is decompressed
    """

    def __init__(self, most: int) -> None:
        self._most, self._size = most, 0
        self._member = zlib.decompressobj(GZIP)
        self._begun = False

    def add(self, chunk: bytes) -> bytes:
        """What more bytes decompress to.

        Raises
        ------
        BodyError
            When they are no gzip, or decompress to more than is allowed.
        """
        found = bytearray()
        while chunk:
            if self._member.eof:  # gzip files may follow each other
                self._member, self._begun = zlib.decompressobj(GZIP), False
            self._begun = True
            try:
                part = self._member.decompress(chunk, self._most - self._size + 1)
            except zlib.error as error:
                raise BodyError(400, f"the body is no gzip: {error}") from None
            self._size += len(part)
            if self._size > self._most:
                raise BodyError(413, f"the body has more than {self._most} bytes once it is decompressed")
            found += part
            chunk = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
        return bytes(found)

    def close(self) -> None:
        """Check that nothing is missing; BodyError if the end is."""
        if self._begun and not self._member.eof:
            raise BodyError(400, "the body is no gzip: its end is missing")


async def read(
    chunks: AsyncIterator[bytes], *, most: int, gzip: bool, within_s: float, share: Share, length: int | None
) -> bytes:
    """The whole body.

    Parameters
    ----------
    most
        The most bytes, of what comes and of what it decompresses to.
    gzip
        Whether it is compressed.
    within_s
        The longest time that it may take.
    share
        Where its bytes are counted.
    length
        What the header ``Content-Length`` says.

    Raises
    ------
    BodyError
        When the body is too large, too slow, or no gzip.
    FullError
        When memory has no room for it.
    """
    if length is not None and length > most:
        raise BodyError(413, f"the body has {length} bytes; the limit is {most}")
    inflater = Inflater(most) if gzip else None
    body, came = bytearray(), 0
    try:
        async with asyncio.timeout(within_s):
            async for chunk in chunks:
                came += len(chunk)
                if came > most:
                    raise BodyError(413, f"the body has more than {most} bytes")
                part = inflater.add(chunk) if inflater else chunk
                share.add(len(part))
                body += part
    except TimeoutError:
        raise BodyError(408, f"the body has not come within {within_s:g} s") from None
    if inflater:
        inflater.close()
    return bytes(body)


async def discard(chunks: AsyncIterator[bytes]) -> bool:
    """Read on for a moment, so that a client that still sends sees the refusal before its connection is closed.

    Returns
    -------
    bool
        Whether that was all.
    """
    came = 0
    try:
        async with asyncio.timeout(DISCARDED_S):
            async for chunk in chunks:
                came += len(chunk)
                if came > DISCARDED_BYTES:
                    return False
    except TimeoutError:
        return False
    return True
