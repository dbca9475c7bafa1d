"""Sends records to one topic and keeps account of them: bounded in memory, every failure counted.

Knows Kafka's producer; nothing of what the records say.
"""

from collections import Counter
from contextlib import suppress
from threading import BoundedSemaphore, Lock
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaTimeoutError

from streams.config import KafkaConfig

IN_FLIGHT = 20_000
"""Records handed to the producer and not yet acknowledged, at most."""

DELIVERY_S = 30.0
"""Seconds a record may take until the broker has it, all retries included; a third of it for one request."""

FAILURES = 100
"""Records the broker may refuse before the run is given up."""


class BrokerError(Exception):
    """The broker takes nothing any more, or refuses too much."""


class Outbox:
    """A producer that waits when the broker is slow and gives up when it is gone.

    Attributes
    ----------
    delivered : int
        Records that the broker has acknowledged, from all replicas.
    failed : Counter
        Records that it has not, by the error's name; complete after `close`.

    Raises
    ------
    kafka.errors.KafkaError
        When made, if the broker is out of reach.
    """

    def __init__(self, kafka: KafkaConfig, topic: str, max_bytes: int) -> None:
        self.topic = topic
        self.delivered = 0
        self.failed: Counter[str] = Counter()
        self._handed = 0
        self._lock = Lock()
        self._room = BoundedSemaphore(IN_FLIGHT)
        self._producer = KafkaProducer(
            **kafka.client(),
            acks="all",
            compression_type="gzip",
            linger_ms=10,
            batch_size=131_072,
            max_request_size=max_bytes,
            bootstrap_timeout_ms=int(DELIVERY_S * 1000 / 3),
            request_timeout_ms=int(DELIVERY_S * 1000 / 3),
            delivery_timeout_ms=int(DELIVERY_S * 1000),
            max_block_ms=int(DELIVERY_S * 1000),
        )

    def send(self, key: bytes, value: bytes) -> None:
        """Hand a record over; waits while too many are on their way.

        Raises
        ------
        BrokerError
            When nothing was acknowledged for longer than a delivery may take, or more than `FAILURES` were refused.
        """
        if not self._room.acquire(timeout=DELIVERY_S + 10):
            raise BrokerError(f"no acknowledgement in {DELIVERY_S + 10:g} s")
        if self.failed.total() > FAILURES:
            raise BrokerError(f"{self.failed.total()} records were not delivered")
        try:
            future = self._producer.send(self.topic, key=key, value=value)
        except BaseException:
            self._room.release()
            raise
        self._handed += 1
        future.add_callback(self._delivered)
        future.add_errback(self._failed)

    def close(self) -> None:
        """Wait for what is on its way; at most as long as a delivery may take."""
        with suppress(KafkaTimeoutError):
            self._producer.flush(timeout=DELIVERY_S + 10)
        self._producer.close(timeout=5)
        with self._lock:
            if missing := self._handed - self.delivered - self.failed.total():
                self.failed["NotAcknowledged"] += missing

    def _delivered(self, _: Any) -> None:
        with self._lock:
            self.delivered += 1
        self._room.release()

    def _failed(self, error: BaseException) -> None:
        with self._lock:
            self.failed[type(error).__name__] += 1
        self._room.release()
