"""Sends the events of another topic on to ``shop.events``, each under its shopper's key, so that a shopper's events lie
in one partition whatever key they came with.

At least once: offsets are committed once Kafka has the records, and two events with one ``event_id`` are one. What is
no event is sent on as it is: a worker dead-letters it. Knows Kafka; nothing of shelves.
"""

import asyncio
import logging
import os
import uuid
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack
from typing import Any

from streams.clock import wall_ms
from streams.config import RoleConfig, StreamsConfig
from streams.events.decode import Refusal, decode_event, refuse
from streams.kafka.app import BatchTaker, lag, leave_when_stalled, make_app, run
from streams.kafka.dead_letters import DeadLetterWriter
from streams.kafka.producer import Producer
from streams.kafka.record import Record, Send, Sent, Unsent
from streams.kafka.registry import SchemaDecoder
from streams.kafka.topics import Topics
from streams.reporting import Reporter
from streams.runtime.lifecycle import or_leave, vital
from streams.runtime.tasks import run_forever
from streams.runtime.watchdog import Watchdog
from streams.telemetry.meter import Meter

log = logging.getLogger(__name__)

BATCH_EVENTS, BATCH_WAIT_S = 500, 0.005


class SourceTopicError(ValueError):
    """The source is a topic that events may not come from; the message says why."""


class Repartition:
    """One process; several with one group share the source's partitions.

    Parameters
    ----------
    source
        The topic whose events are sent on.
    role
        The consumer group, and its timeouts.

    Raises
    ------
    SourceTopicError
        When the source is one of Liveshelf's own topics: what is sent would be read again, for ever.
    """

    def __init__(self, config: StreamsConfig, source: str, role: RoleConfig) -> None:
        self.config, self.role, self.topics = config, role, Topics(config.topics.prefix)
        own = source == self.topics.events or source.startswith(f"{self.topics.prefix}liveshelf.")
        if own or source == self.topics.items:
            raise SourceTopicError(f"{source} is one of Liveshelf's own topics: name the topic that the shop sends to")
        self.meter = Meter("repartition", f"{os.uname().nodename}-{os.getpid()}-{uuid.uuid4().hex[:4]}", wall_ms())
        self.reporter, self.watchdog = Reporter(self.meter, config), Watchdog(role.stall_s)
        self.schemas = SchemaDecoder(config.kafka)
        self.app = make_app(config, role)
        self._ready = asyncio.Event()
        taking = BatchTaker(BATCH_WAIT_S, self.watchdog.progress, self.schemas)

        async def on_records(stream: Any) -> None:
            await self._ready.wait()
            await taking.run(stream, BATCH_EVENTS, self.process)

        self.app.agent(self.app.topic(source, key_type=bytes, value_type=bytes))(on_records)
        self.app.task(self._serve_or_leave)

    def run(self) -> int:
        """Send on until SIGTERM or SIGINT; returns the exit code."""
        with self.reporter:
            return run(self.app)

    async def process(self, records: Sequence[Record]) -> Sent:
        """Send a batch on, in its order; the awaitables are done once Kafka has it."""
        now, sent = wall_ms(), Sent()
        for record in records:
            event = record.refusal or decode_event(record.value, record.came_ms(now), self.config.events)
            self.meter.count("refused" if isinstance(event, Refusal) else "events")
            if isinstance(event, Refusal) and event.reason == "future":
                # Sent on, it would have a later record, by which a worker might take it, under this key.
                sent.append(asyncio.ensure_future(self._letters(record, event)))
                continue
            if isinstance(event, Refusal):
                queued = self._send(self.topics.events, record.key, record.value if record.raw is None else record.raw)
            else:
                queued = self._send(self.topics.events, event.shopper.encode(), record.value)
            sent.append(asyncio.ensure_future(self._settled(record, queued)))
        return sent

    async def _settled(self, record: Record, queued: Awaitable[Unsent | None]) -> None:
        if (why := await queued) is not None:
            await self._letters(record, refuse("oversized", f"{self.topics.events} does not take it: {why.detail}"))

    async def _serve_or_leave(self) -> None:
        with or_leave("a task beside the batches has ended"):
            await run_forever(self._serve(), "the tasks beside the batches")

    async def _serve(self) -> None:
        async with AsyncExitStack() as closing:
            self._send = await closing.enter_async_context(Producer(self.config, self.meter))
            self._letters = DeadLetterWriter(self._send, self.config.topics)
            self._ready.set()
            async with asyncio.TaskGroup() as group:
                group.create_task(vital(self._report(self._send), "reporting"))
                stalled = leave_when_stalled(self.app, self.watchdog, lambda: bool(self.schemas.paused))
                group.create_task(vital(stalled, "the watchdog"))

    async def _report(self, send: Send) -> None:
        while True:
            await asyncio.sleep(self.role.metrics_every_s)
            self.meter.gauges = {"lag": float(lag(self.app)), "registry_paused": float(bool(self.schemas.paused))}
            self.meter.labels = {"registry_pause": self.schemas.paused}
            await self.reporter.report(send)
