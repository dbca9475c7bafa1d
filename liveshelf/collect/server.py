"""Serves the collector until SIGTERM or SIGINT, or until this process can send no more.

What was taken before the end is sent. Knows nothing of what is collected.
"""

import asyncio
import logging
import math
import socket
from collections.abc import Callable

import uvicorn

from liveshelf.collect.app import Collector
from liveshelf.collect.config import CollectConfig
from streams.config import StreamsConfig
from streams.runtime import http_server
from streams.runtime.lifecycle import write_last_words
from streams.runtime.watchdog import STALLED_EXIT

log = logging.getLogger(__name__)

BACKLOG = 1_024


class _Connection(http_server.Bounded):
    most_connections = 1_000


def serve(streams: StreamsConfig, config: CollectConfig, listening: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until stopped; requests that are under way are answered first.

    Parameters
    ----------
    ready
        Called once connections are accepted.

    Raises
    ------
    SystemExit
        With :data:`streams.runtime.watchdog.STALLED_EXIT`, when nothing can be sent any more: a supervisor restarts it.
    """
    if failure := asyncio.run(_serve(streams, config, listening, ready)):
        log.critical("leaving for the supervisor to restart: %s", failure)
        write_last_words(failure)
        raise SystemExit(STALLED_EXIT)


async def _serve(
    streams: StreamsConfig, config: CollectConfig, listening: socket.socket, ready: Callable[[], None]
) -> str | None:
    """Serve; returns the failure that ended it, None after a signal."""
    collector = Collector(streams, config)
    server = http_server.Server(
        uvicorn.Config(
            collector.app,
            log_config=None,
            access_log=False,
            server_header=False,
            http=_Connection,
            backlog=BACKLOG,
            proxy_headers=bool(config.proxies),
            forwarded_allow_ips=list(config.proxies),
            timeout_graceful_shutdown=math.ceil(config.ack_s) + 1,
        )
    )

    def stop() -> None:
        server.should_exit = True

    collector.ended = stop
    await http_server.serve(server, listening, stop, ready)
    return collector.failure
