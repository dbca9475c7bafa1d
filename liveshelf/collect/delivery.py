"""Sends records to Kafka and waits until it has them, within bounds of time and memory.

Connects by itself, again and again while Kafka is away. Knows Kafka; nothing of HTTP.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress

from liveshelf.collect.batch import Draft
from liveshelf.collect.limits import Budget
from streams.config import StreamsConfig
from streams.kafka import topics
from streams.kafka.errors import KAFKA_ERRORS
from streams.kafka.producer import Producer
from streams.kafka.record import Unsent
from streams.runtime.tasks import Backoff
from streams.telemetry.meter import Snapshot, fitted

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 10.0
RECORD_BYTES = 1_000
"""What a waiting record takes in memory besides its key and its value."""

CLOSES_WITHIN_S = 3.0


class AwayError(Exception):
    """Kafka has not acknowledged in time, or cannot; the message says why."""


class Delivery:
    """Sends records once :meth:`run` has connected.

    Parameters
    ----------
    config
        Settings of Kafka and its topics.
    budget
        Where the bytes of waiting records are counted.
    ack_s
        How long Kafka may take.
    """

    def __init__(self, config: StreamsConfig, budget: Budget, ack_s: float) -> None:
        self._config, self._budget, self._ack_s = config, budget, ack_s
        self._send: Producer | None = None
        self._why = "not connected to Kafka yet"
        self._waiting: dict[asyncio.Future[Unsent | None], float] = {}
        self._reported: asyncio.Future[Unsent | None] | None = None

    @property
    def waiting(self) -> int:
        """Records that Kafka has not acknowledged yet."""
        return len(self._waiting)

    @property
    def problem(self) -> str | None:
        """Why records are not taken now; None where they are."""
        if self._send is None:
            return self._why
        oldest = next(iter(self._waiting.values()), None)
        if oldest is not None and (waited := time.monotonic() - oldest) > self._ack_s:
            return f"Kafka has acknowledged nothing for {waited:.0f} s"
        return None

    @property
    def failure(self) -> str | None:
        """Why this process can send no more, if so."""
        return self._send.failure if self._send else None

    async def run(self) -> None:
        """Connect and create missing topics; returns once that is done."""
        backoff = Backoff(LONGEST_WAIT_S)
        while True:
            try:
                self._send = await self._connected()
                return
            except (*KAFKA_ERRORS, OSError) as error:
                self._why = f"Kafka is away: {type(error).__name__}"
                log.warning("not connected to Kafka: %s", error)
                await asyncio.sleep(backoff.next())

    async def _connected(self) -> Producer:
        async with AsyncExitStack() as undo:  # connecting comes first: it can be cancelled, a thread cannot
            producer = await undo.enter_async_context(Producer(self._config))
            await asyncio.to_thread(topics.create, self._config.kafka, self._config.topics)
            undo.pop_all()
            return producer

    async def close(self) -> None:
        """Send what waits, for a few seconds at most."""
        producer, self._send = self._send, None
        self._why = "the collector is ending"
        if producer is None:
            return
        try:
            async with asyncio.timeout(CLOSES_WITHIN_S):
                await producer.__aexit__()
        except TimeoutError:
            log.warning("%d records were not acknowledged before the end: their senders were told so", self.waiting)

    async def send(self, topic: str, drafts: Sequence[Draft]) -> list[Unsent | None]:
        """Send records and wait for all of them; of each, why Kafka never takes it, or None.

        Raises
        ------
        AwayError
            When Kafka is away: some of the records may still arrive.
        FullError
            When memory has no room for them.
        """
        if (problem := self.problem) or self._send is None:
            raise AwayError(problem or self._why)
        self._budget.add(sum(_size(draft) for draft in drafts))
        futures = [self._queue(self._send, topic, draft) for draft in drafts]
        done, pending = await asyncio.wait(futures, timeout=self._ack_s)
        if pending:
            raise AwayError(f"Kafka has not acknowledged {len(pending)} of {len(futures)} within {self._ack_s:g} s")
        errors = [error for future in done if (error := future.exception())]
        if errors:
            raise AwayError(f"Kafka has not taken {len(errors)} of {len(futures)}: {type(errors[0]).__name__}")
        return [future.result() for future in futures]

    def report(self, snapshot: Snapshot) -> None:
        """Send what the collector measures of itself, as other roles do; left out while the last one still waits."""
        if self._send is None or (self._reported is not None and not self._reported.done()):
            return
        config = self._config.topics
        value = fitted(snapshot, config.max_message_bytes - topics.OVERHEAD_BYTES)
        self._reported = self._send(topics.Topics(config.prefix).metrics, snapshot.role.encode(), value)
        self._reported.add_done_callback(_looked_at)

    def _queue(self, send: Producer, topic: str, draft: Draft) -> "asyncio.Future[Unsent | None]":
        future = send(topic, draft.key, draft.value)
        self._waiting[future] = time.monotonic()

        def settled(settled: "asyncio.Future[Unsent | None]") -> None:
            self._waiting.pop(settled, None)
            self._budget.release(_size(draft))
            _looked_at(settled)

        future.add_done_callback(settled)
        return future


def _looked_at(settled: "asyncio.Future[Unsent | None]") -> None:
    """Look at what became of a record, also where nobody waits for it."""
    with suppress(asyncio.CancelledError):
        settled.exception()


def _size(draft: Draft) -> int:
    return RECORD_BYTES + len(draft.key) + len(draft.value or b"")
