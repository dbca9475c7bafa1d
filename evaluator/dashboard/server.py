"""Serves the live page until SIGTERM or SIGINT, or until a task that it needs has ended.

Connections are limited in number and time: one whose client sends nothing, or does not read, is closed. Knows nothing
of the page's content.
"""

import asyncio
import faulthandler
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from evaluator.config import DashboardConfig
from evaluator.dashboard.app import Dashboard
from evaluator.dashboard.history import History
from streams.config import StreamsConfig
from streams.runtime.lifecycle import write_last_words
from streams.runtime.watchdog import STALLED_EXIT

MOST_CONNECTIONS = 300

SILENT_S = 10.0
"""Longest time for a client to send a request, after connecting or after the last answer."""

UNREAD_S = 30.0
"""Longest time for an answer to stay unread."""

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
        """Runs every second; the time counts while no request comes, or while an answer is not read."""
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


log = logging.getLogger(__name__)
ENDS_WITHIN_S = 3

STUCK_S = 60
"""A process that hangs for so long ends with a traceback; a supervisor starts another one."""

ASLEEP_S = 5


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, which would end the process by the signal instead of with 0."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(config: DashboardConfig) -> socket.socket:
    """The socket to serve on; port 0 takes any free port.

    Raises
    ------
    OSError
        When the address is not this machine's, or its port is taken.
    """
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    return socket.create_server((config.host, config.port), family=family)


def serve(
    streams: StreamsConfig,
    config: DashboardConfig,
    listening: socket.socket,
    *,
    quiet_s: float,
    closes_after_s: float,
    ready: Callable[[], None],
) -> None:
    """Serve until stopped; open pages are told to reconnect later, and the process ends within seconds.

    Parameters
    ----------
    quiet_s
        A process without a snapshot for so long does not count as alive.
    closes_after_s
        How long after it was seen an impression counts.
    ready
        Called once requests are answered.

    Raises
    ------
    SystemExit
        With :data:`streams.runtime.watchdog.STALLED_EXIT`, when the page can no longer be up to date: a supervisor
        restarts it.
    """
    history = History(int(quiet_s * 1_000), closes_after_s)
    if failure := asyncio.run(_serve(streams, config, history, listening, ready)):
        log.critical("leaving for the supervisor to restart: %s", failure)
        write_last_words(failure)
        raise SystemExit(STALLED_EXIT)


async def _serve(
    streams: StreamsConfig,
    config: DashboardConfig,
    history: History,
    listening: socket.socket,
    ready: Callable[[], None],
) -> str | None:
    """Serve; returns the failure that ended it, None after a signal."""
    dashboard = Dashboard(streams, config, history)
    server = _Server(
        uvicorn.Config(
            dashboard.app,
            log_config=None,
            access_log=False,
            server_header=False,
            http=Bounded,
            timeout_graceful_shutdown=ENDS_WITHIN_S,
        )
    )

    def stop() -> None:
        dashboard.latest.close()
        server.should_exit = True

    dashboard.ended = stop
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
    return dashboard.failure


async def _stay_awake() -> None:
    """Keep postponing the watchdog's end of this process; the watchdog runs outside Python."""
    while True:
        faulthandler.dump_traceback_later(STUCK_S, exit=True, file=sys.__stderr__ or 2)
        await asyncio.sleep(ASLEEP_S)
