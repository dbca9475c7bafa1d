"""Connections of bounded number and patience: who sends nothing, or does not read what is sent, is let go.

Knows uvicorn's protocol; nothing of what is asked or answered. uvicorn itself bounds only the time between two requests
of a connection, not how long a request's headers may take, nor how long an answer may lie unread.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 300
SILENT_S = 10.0
"""So long a client may take to ask, from the connection or the last answer on."""
UNREAD_S = 30.0
"""So long an answer may lie unread."""
LOOK_S = 1.0


class Bounded(H11Protocol):
    """HTTP over one connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called by asyncio."""
        if len(self.connections) >= MOST_CONNECTIONS:
            self.transport = transport
            transport.abort()
            return
        super().connection_made(transport)
        self._waiting_since = self.loop.time()
        self._looking: asyncio.TimerHandle | None = self.loop.call_later(LOOK_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        if self not in self.connections:
            return
        if self._looking is not None:
            self._looking.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        """Every second: time runs while nothing is asked, or an answer is not read."""
        now = self.loop.time()
        cycle: Any = self.cycle
        answering = cycle is not None and not cycle.response_complete
        stuck = self.transport.get_write_buffer_size() > 0
        if answering and not stuck:
            self._waiting_since = now
        if now - self._waiting_since > (UNREAD_S if stuck else SILENT_S):
            self.transport.abort()
            return
        self._looking = self.loop.call_later(LOOK_S, self._look)
