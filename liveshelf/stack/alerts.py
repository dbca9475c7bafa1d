"""The supervisor's alerts on their way to ``liveshelf.alerts``: sent by a thread, so that no broker holds up the stack.

While Kafka is away they wait, each thing's newest state only. Whether something is worth an alert is the supervisor's
business.
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
"""How long the end of the stack waits for what is not yet sent."""


class AlertSender:
    """Sends alerts, as a context.

    Parameters
    ----------
    config
        Where to.
    source
        Who tells them, the same after a restart.
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
        """Hand an alert over; returns at once."""
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
            except Exception as error:  # whatever it is: else this thread, and with it every later alert, would end
                expected = isinstance(error, (*KAFKA_ERRORS, OSError))
                log.warning("%d alerts wait for Kafka: %s", len(waiting), error, exc_info=not expected)
                with self._changed:
                    if self._ending or self._changed.wait_for(lambda: self._ending, AGAIN_S):
                        return

    def _deliver(self, alerts: list[Alert]) -> None:
        """Send these, one after the other; a connection is made for it, for alerts are rare."""

        async def each(send: Send) -> None:
            for alert in alerts:
                await publish(send, self._topic, alert, self._source)

        send_now(self._config, each)
        with self._changed:
            for alert in alerts:
                if self._waiting.get(alert.key) is alert:
                    del self._waiting[alert.key]
