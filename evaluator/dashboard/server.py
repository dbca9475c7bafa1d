"""Serves the live page until SIGTERM or SIGINT."""

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from evaluator.config import DashboardConfig
from evaluator.dashboard.app import Dashboard
from evaluator.dashboard.history import History
from streams.config import StreamsConfig

ENDS_WITHIN_S = 3


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, which would end the process by the signal instead of with 0."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(config: DashboardConfig) -> socket.socket:
    """The socket to serve on; port 0 takes any that is free.

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
    """Serve until told to stop; open pages are told to come back later, and the process ends within seconds.

    Parameters
    ----------
    quiet_s
        After so long without a snapshot a process does not count as alive.
    closes_after_s
        How long after it was seen an impression counts.
    ready
        Called once requests are answered.
    """
    history = History(int(quiet_s * 1_000), closes_after_s)
    asyncio.run(_serve(Dashboard(streams, config, history), listening, ready))


async def _serve(dashboard: Dashboard, listening: socket.socket, ready: Callable[[], None]) -> None:
    server = _Server(
        uvicorn.Config(
            dashboard.app,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=ENDS_WITHIN_S,
        )
    )

    def stop() -> None:
        dashboard.latest.close()
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    ready()
    await server.serve(sockets=[listening])
