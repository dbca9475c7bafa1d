"""The newest message, for any number of readers: one that is slow misses some, and nothing is kept for it.

Knows bytes; nothing of what they say or how they are sent.
"""

import asyncio
from collections.abc import AsyncIterator

PING_S = 15.0


class Latest:
    """Holds one message and its number.

    Examples
    --------
    >>> async def example():
    ...     latest = Latest()
    ...     reading = asyncio.create_task(anext(latest.follow()))
    ...     await asyncio.sleep(0)
    ...     latest.update(b"one")
    ...     latest.update(b"two")
    ...     return await reading
    >>> asyncio.run(example())
    (2, b'two')
    """

    def __init__(self) -> None:
        self.readers = 0
        self.closed = False
        self._number = 0
        self._message = b""
        self._changed = asyncio.Event()

    def admit(self, most: int) -> bool:
        """Count a reader in, unless there are so many already; who was counted in is to :meth:`leave`."""
        if self.readers >= most:
            return False
        self.readers += 1
        return True

    def leave(self) -> None:
        """Count a reader out."""
        self.readers -= 1

    def update(self, message: bytes) -> None:
        """Put a message in place of the one before."""
        self._number += 1
        self._message = message
        self._wake()

    def close(self) -> None:
        """End all readers."""
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def follow(self) -> AsyncIterator[tuple[int, bytes | None]]:
        """From now on, the newest message whenever this reader has not had it; None when there is none for long."""
        seen = self._number
        while not self.closed:
            if seen < self._number:
                seen = self._number
                yield seen, self._message
                continue
            try:
                async with asyncio.timeout(PING_S):
                    await self._changed.wait()
            except TimeoutError:
                yield seen, None
