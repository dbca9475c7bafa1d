"""An HTTP server for asyncio that ends by a signal with exit code 0, and whose connections are limited.

A connection whose client sends nothing, or does not read, is closed. A process whose event loop hangs ends. Knows
uvicorn; nothing of what is served.
"""

import asyncio
import faulthandler
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 300

SILENT_S = 10.0
"""Longest time for a client to send a request, after connecting or after the last answer."""

UNREAD_S = 30.0
"""Longest time for an answer to stay unread."""

LOOK_S = 1.0

STUCK_S = 60
"""A process that hangs for so long ends with a traceback; a supervisor starts another one."""

ASLEEP_S = 5


class Bounded(H11Protocol):
    """HTTP over one connection."""

    most_connections = MOST_CONNECTIONS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called by asyncio."""
        if len(self.connections) >= self.most_connections:
            self.transport = transport
            transport.abort()
            return
        # asyncio does so only for sockets that name their protocol. Else an answer, two packets, waits 40 ms.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)
        self._waiting_since = self.loop.time()
        self._answered: Any = None
        self._looking: asyncio.TimerHandle | None = self.loop.call_later(LOOK_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        if self not in self.connections:
            return
        if self._looking is not None:
            self._looking.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        """Runs every second; the time counts while no request comes, or while an answer is not read. A request that was
        answered since the last look has left another cycle."""
        now = self.loop.time()
        cycle: Any = self.cycle
        answering = cycle is not None and not cycle.response_complete
        stuck = self.transport.get_write_buffer_size() > 0
        if not stuck and (answering or cycle is not self._answered):
            self._waiting_since, self._answered = now, cycle
        if now - self._waiting_since > (UNREAD_S if stuck else SILENT_S):
            self.transport.abort()
            return
        self._looking = self.loop.call_later(LOOK_S, self._look)


class Server(uvicorn.Server):
    """uvicorn without its signal handlers, which would end the process by the signal instead of with 0."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to :func:`serve`."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """The socket to serve on; port 0 takes any free port.

    Raises
    ------
    OSError
        When the address is not this machine's, or its port is taken.
    """
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


async def serve(server: Server, listening: socket.socket, stop: Callable[[], None], ready: Callable[[], None]) -> None:
    """Serve until ``stop`` has been called, by SIGINT, by SIGTERM or by the caller, and ``server.should_exit`` is set.

    Parameters
    ----------
    ready
        Called once connections are accepted.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    awake = asyncio.create_task(_stay_awake())
    ready()
    try:
        await server.serve(sockets=[listening])
    finally:
        awake.cancel()
        faulthandler.cancel_dump_traceback_later()


async def _stay_awake() -> None:
    """Keep postponing the watchdog's end of this process; the watchdog runs outside Python."""
    while True:
        faulthandler.dump_traceback_later(STUCK_S, exit=True, file=sys.__stderr__ or 2)
        await asyncio.sleep(ASLEEP_S)
