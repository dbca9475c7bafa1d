"""Sends records to one topic and counts what was delivered and what failed, in bounded memory.

Knows Kafka's producer; nothing of the records' content.
"""

import time
from collections import Counter
from contextlib import suppress
from threading import Condition
from typing import Any

from streams.config import KafkaConfig
from streams.kafka.admin import producer
from streams.kafka.errors import KAFKA_ERRORS

IN_FLIGHT = 20_000
"""The most records that wait for an acknowledgement."""

DELIVERY_S = 30.0
"""The most seconds until the broker has a record, with all retries; a third of it for one request."""

FAILURES = 100
"""The most records that the broker may refuse before sending stops."""


class BrokerError(Exception):
    """The broker no longer takes records, or refuses too many."""


class BatchProducer:
    """A producer that waits while the broker is slow, and raises when it is away for too long.

    Attributes
    ----------
    delivered : int
        Records that all replicas of the broker have acknowledged.
    failed : Counter
        Records that were not delivered, by the error's name; complete after `close`.

    Raises
    ------
    kafka.errors.KafkaError
        When created, if the broker is out of reach.
    """

    def __init__(self, kafka: KafkaConfig, topic: str, max_bytes: int) -> None:
        self.topic = topic
        self.delivered = 0
        self.failed: Counter[str] = Counter()
        self._on_the_way = 0
        self._changed = Condition()
        self._moved_at = time.monotonic()
        self._producer = producer(
            kafka,
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

    def send(
        self, key: bytes, value: bytes | None, partition: int | None = None, timestamp_ms: int | None = None
    ) -> None:
        """Send a record; waits while too many are not acknowledged yet.

        Parameters
        ----------
        value
            None for a tombstone.
        partition, timestamp_ms
            The record's partition and timestamp (epoch ms); by default the key's hash chooses, and now.

        Raises
        ------
        BrokerError
            When nothing was acknowledged within `DELIVERY_S`, or more than `FAILURES` were refused.
        kafka.errors.KafkaError
            When the producer itself refuses the record.
        """
        with self._changed:
            if not self._on_the_way:
                self._moved_at = time.monotonic()
            self._changed.wait_for(lambda: self._on_the_way < IN_FLIGHT, DELIVERY_S)
            if self._stuck():
                raise BrokerError(f"no acknowledgement in {DELIVERY_S:g} s")
            if self.failed.total() > FAILURES:
                raise BrokerError(f"{self.failed.total()} records were not delivered")
            self._on_the_way += 1
        try:
            future = self._producer.send(
                self.topic, key=key, value=value, partition=partition, timestamp_ms=timestamp_ms
            )
        except BaseException:
            with self._changed:
                self._on_the_way -= 1
            raise
        future.add_callback(self._settled, None)
        future.add_errback(self._settled)

    def close(self) -> None:
        """Wait for outstanding acknowledgements, at most `DELIVERY_S`; the other records count as failed."""
        with self._changed:
            self._changed.wait_for(lambda: not self._on_the_way or self._stuck(), DELIVERY_S)
            done = not self._on_the_way
        if not done:
            # The producer's own close waits for each batch in turn, and then raises without closing.
            self._producer._sender.force_close()
            self._producer._sender.join(5)
        with suppress(*KAFKA_ERRORS):
            self._producer.close(timeout=5)
        with self._changed:
            if self._on_the_way:
                self.failed["NotAcknowledged"] += self._on_the_way

    def _stuck(self) -> bool:
        return self._on_the_way > 0 and time.monotonic() - self._moved_at >= DELIVERY_S

    def _settled(self, error: BaseException | None, _: Any = None) -> None:
        with self._changed:
            self._on_the_way -= 1
            if error is None:
                self.delivered += 1
                self._moved_at = time.monotonic()
            else:
                self.failed[type(error).__name__] += 1
            self._changed.notify_all()
