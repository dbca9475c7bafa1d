"""Serves the live page until SIGTERM or SIGINT, or until a task that it needs has ended.

Knows nothing of the page's content.
"""

import asyncio
import logging
import socket
from collections.abc import Callable

import uvicorn

from evaluator.config import DashboardConfig
from evaluator.dashboard.app import Dashboard
from evaluator.dashboard.history import History
from streams.config import StreamsConfig
from streams.runtime import http_server
from streams.runtime.lifecycle import write_last_words
from streams.runtime.watchdog import STALLED_EXIT

log = logging.getLogger(__name__)
ENDS_WITHIN_S = 3


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
    server = http_server.Server(
        uvicorn.Config(
            dashboard.app,
            log_config=None,
            access_log=False,
            server_header=False,
            http=http_server.Bounded,
            timeout_graceful_shutdown=ENDS_WITHIN_S,
        )
    )

    def stop() -> None:
        dashboard.latest.close()
        server.should_exit = True

    dashboard.ended = stop
    await http_server.serve(server, listening, stop, ready)
    return dashboard.failure
