"""Sends the supervisor's alerts to ``liveshelf.alerts`` from a thread, so that a slow broker does not block the stack.

While Kafka is away, the newest state of each alert waits. The supervisor decides what is an alert.
"""

import logging
import threading
from types import TracebackType
from typing import Self

from evaluator.monitoring.alerts.alert import Alert
from evaluator.monitoring.alerts.topic import publish
from streams.config import StreamsConfig
from streams.kafka.errors import KAFKA_ERRORS
from streams.kafka.producer import send_now
from streams.kafka.record import Send
from streams.kafka.topics import Topics

log = logging.getLogger(__name__)

AGAIN_S = 5.0
LAST_S = 3.0
"""How long the stack, when it ends, waits for alerts that are not sent yet."""


class AlertSender:
    """Sends alerts, as a context.

    Parameters
    ----------
    config
        Where Kafka is.
    source
        The name of the sender, the same after a restart.
    """

    def __init__(self, config: StreamsConfig, source: str) -> None:
        self._config, self._topic, self._source = config, Topics(config.topics.prefix).alerts, source
        self._waiting: dict[str, Alert] = {}
        self._changed = threading.Condition()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join(timeout=LAST_S)

    def send(self, alert: Alert) -> None:
        """Queue an alert; returns at once."""
        with self._changed:
            self._waiting.pop(alert.key, None)
            self._waiting[alert.key] = alert
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ending)
                if not self._waiting:
                    return
                waiting = list(self._waiting.values())
            try:
                self._deliver(waiting)
            except Exception as error:  # any error: without this the thread would end, and all later alerts be lost
                expected = isinstance(error, (*KAFKA_ERRORS, OSError))
                log.warning("%d alerts wait for Kafka: %s", len(waiting), error, exc_info=not expected)
                with self._changed:
                    if self._ending or self._changed.wait_for(lambda: self._ending, AGAIN_S):
                        return

    def _deliver(self, alerts: list[Alert]) -> None:
        """Send these in order, over a connection made for them: alerts are rare."""

        async def each(send: Send) -> None:
            for alert in alerts:
                await publish(send, self._topic, alert, self._source)

        send_now(self._config, each)
        with self._changed:
            for alert in alerts:
                if self._waiting.get(alert.key) is alert:
                    del self._waiting[alert.key]
