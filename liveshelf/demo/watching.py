"""What the roles say of themselves while the story goes on: snapshots and alerts as they come, in a thread of its own.

Knows Kafka and the forms of both; nothing of what is made of them.
"""

import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

from kafka import KafkaConsumer

from evaluator.monitoring.alerts.topic import Told
from evaluator.monitoring.alerts.topic import guard as alerts_guard
from liveshelf.settings import Settings
from streams.kafka.guard import Guard
from streams.kafka.topics import Topics
from streams.telemetry.meter import Snapshot, parse

LAST = 5
"""Snapshots of a worker, one a second, that its live numbers are of."""


class Watching:
    """Follows ``liveshelf.metrics`` and ``liveshelf.alerts``; its attributes are read by other threads."""

    def __init__(self, settings: Settings) -> None:
        self._kafka = settings.kafka
        self._topics = Topics(settings.topics.prefix)
        self._alerts, self._snapshots = alerts_guard(), Guard("snapshots", parse)
        self._news: deque[Snapshot | Told] = deque()
        self.workers: deque[Snapshot] = deque(maxlen=3_600)

    @property
    def lately(self) -> list[Snapshot]:
        """What the workers said last."""
        return list(self.workers)[-LAST:]

    def news(self) -> Iterator[Snapshot | Told]:
        """What the trainer and the evaluators said, and alerts, since this was asked last; in their order."""
        while self._news:
            yield self._news.popleft()

    def run(self, closing: threading.Event) -> None:
        """Follow until told to close."""
        consumer = KafkaConsumer(
            self._topics.metrics,
            self._topics.alerts,
            **self._kafka.reader(),
        )
        try:
            while not closing.is_set():
                for messages in consumer.poll(timeout_ms=250).values():
                    for message in messages:
                        self._take(message)
        finally:
            consumer.close()

    def _take(self, message: Any) -> None:
        if message.topic == self._topics.alerts:
            self._alerts.hand(message, self._news.append)
        else:
            self._snapshots.hand(message, self._snapshot)

    def _snapshot(self, taken: Snapshot) -> None:
        if taken.role == "worker":
            self.workers.append(taken)
        elif taken.role in ("trainer", "evaluator"):
            self._news.append(taken)
