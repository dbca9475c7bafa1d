"""How a role reports: each snapshot goes to ``liveshelf.metrics``, and to Prometheus where the settings name a port."""

import logging
from contextlib import ExitStack
from typing import Self

from msgspec import structs

from streams.clock import wall_ms
from streams.config import StreamsConfig
from streams.exposition import Exposition
from streams.meter import Meter, fitted
from streams.metrics_server import MetricsServer
from streams.record import Send
from streams.topics import OVERHEAD_BYTES, Topics
from streams.unreadable import book

log = logging.getLogger(__name__)


class Reporter:
    """Reports what a meter has taken; as a context, serves it meanwhile.

    Parameters
    ----------
    meter
        The role's.
    config
        For the topic, and where to serve.

    Raises
    ------
    MetricsError
        On entering, when the port cannot be had.
    """

    def __init__(self, meter: Meter, config: StreamsConfig) -> None:
        self._meter, self._topic = meter, Topics(config.topics.prefix).metrics
        self._config, self._max_bytes = config.metrics, config.topics.max_message_bytes - OVERHEAD_BYTES
        self._exposition = None if config.metrics.port is None else Exposition()
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        if self._exposition is not None:
            server = self._closing.enter_context(MetricsServer(self._exposition, self._config))
            log.warning("%s %s shows its metrics at %s", self._meter.role, self._meter.id, server.address)
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    async def report(self, send: Send) -> None:
        """Take a snapshot and pass it on; returns once the broker has it."""
        snapshot = self._meter.snapshot(wall_ms())
        snapshot = structs.replace(snapshot, series=[*snapshot.series, *book.series()])
        if self._exposition is not None:
            self._exposition.update(snapshot)
        await send(self._topic, self._meter.role.encode(), fitted(snapshot, self._max_bytes))
