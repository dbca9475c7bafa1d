"""The evaluator process: a Faust agent on ``shop.events``, and the tasks that run beside it.

The only module that connects the join with Faust. Several evaluators share the partitions; each goes on from the last
commit of a partition that it gets. Knows nothing of how events are joined.
"""

import asyncio
import logging
import os
import uuid
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from aiokafka import TopicPartition

from evaluator.attribution.items import Items
from evaluator.attribution.monitor_state import MonitorState
from evaluator.attribution.shelves import Batch, ShelfConsumer
from evaluator.attribution.store import JoinStore
from evaluator.attribution.stream_join import RATE_HOURS, StreamJoin
from evaluator.config import EvaluatorConfig
from evaluator.monitoring.alerts.alert import Alert
from evaluator.monitoring.alerts.config import AlertsConfig
from evaluator.monitoring.alerts.outbound import Outbound
from evaluator.monitoring.alerts.restarts import WINDOW_S
from evaluator.monitoring.alerts.system import CHUNK, READ_MS, SystemMonitor
from evaluator.monitoring.alerts.topic import publish
from models.store.slots import CHALLENGER
from streams.catalog.embedding import parse
from streams.clock import BrokersClock, wall_ms
from streams.config import StreamsConfig
from streams.kafka.app import BatchTaker, caught_up, lag, leave_when_stalled, make_app, run
from streams.kafka.consumer import Consumer
from streams.kafka.dead_letters import DeadLetterWriter
from streams.kafka.guard import Guard
from streams.kafka.producer import Producer
from streams.kafka.record import Record, Send
from streams.kafka.registry import SchemaDecoder
from streams.kafka.topic_reader import follow
from streams.kafka.topics import Topics
from streams.redis.connection import connect
from streams.redis.store import StateStore
from streams.reporting import Reporter
from streams.runtime.lifecycle import or_leave, vital
from streams.runtime.tasks import restart_on_error, run_forever
from streams.runtime.watchdog import Watchdog
from streams.serving.announcement import follow as announced
from streams.serving.announcement import present
from streams.telemetry.meter import Meter
from streams.telemetry.meter import parse as parse_snapshot


class SnapshotReader:
    """Reads the processes' snapshots from Kafka for the monitor of the system; all evaluators get the same result.

    Attributes
    ----------
    clock
        The brokers' time, from the snapshots that each process sends every second.
    """

    def __init__(self, config: StreamsConfig) -> None:
        self.config = config
        self.clock = BrokersClock()
        self.monitor = SystemMonitor()
        self._guard = Guard("snapshots", parse_snapshot)
        self._known = False

    async def run(self) -> None:
        """Follow the snapshots until Kafka fails."""
        consumer = Consumer(self.config, Topics(self.config.topics.prefix).metrics)
        try:
            await consumer.start()
            partitions = list(consumer.assignment())
            ends = await consumer.end_offsets(partitions)
            since = wall_ms() - int(WINDOW_S * 1000)
            for partition, start in (await consumer.offsets_for_times(dict.fromkeys(partitions, since))).items():
                consumer.seek(partition, ends[partition] if start is None else start.offset)
            while True:
                self._known = self._known or consumer.passed(ends)
                for messages in (await consumer.getmany(timeout_ms=READ_MS, max_records=CHUNK)).values():
                    for message in messages:
                        self.clock.saw(message.timestamp, message.timestamp_type)
                    for _, snapshot in self._guard.values(messages):
                        self.monitor.update(snapshot, wall_ms())
                await asyncio.sleep(0)
        finally:
            await consumer.stop()

    def alerts(self) -> list[Alert]:
        """Alerts to publish now; none until the snapshots have been read to their end."""
        return self.monitor.alerts(wall_ms()) if self._known else []


log = logging.getLogger(__name__)
SETTLED_S = 0.2
AGAIN_MS = 500

SHELF_SLACK_S = 3_600
"""How much longer than window and grace a shelf is kept, because it may be seen some time after it was made."""


class Evaluator:
    """One evaluator process.

    Parameters
    ----------
    streams, config, alerts
        Settings of the streaming side, the evaluator's own, and those of alert receivers outside Kafka.
    """

    def __init__(self, streams: StreamsConfig, config: EvaluatorConfig, alerts: AlertsConfig) -> None:
        self.streams, self.config = streams, config
        self.topics = Topics(streams.topics.prefix)
        self.meter = Meter("evaluator", f"{os.uname().nodename}-{os.getpid()}-{uuid.uuid4().hex[:4]}", wall_ms())
        self.reporter = Reporter(self.meter, streams)
        self.outbound = Outbound(streams, alerts, f"{config.group}-webhook", self.meter)
        self.system = SnapshotReader(streams)
        if config.instance:
            self.meter.labels = {"instance": config.instance}
        self.watchdog = Watchdog(config.stall_s)
        self.schemas = SchemaDecoder(streams.kafka)
        self.app = make_app(streams, config)
        self._agents()

    def run(self) -> int:
        """Work until SIGTERM or SIGINT; returns the exit code."""
        with self.reporter:
            return run(self.app)

    def _agents(self) -> None:
        app, config = self.app, self.config
        self._ready = asyncio.Event()
        taking = BatchTaker(config.batch_wait_s, self.watchdog.progress, self.schemas)

        async def on_impressions(stream: Any) -> None:
            await self._ready.wait()
            await taking.run(stream, config.batch_events, self.join.process)

        app.agent(app.topic(self.topics.events, key_type=bytes, value_type=bytes))(on_impressions)
        app.task(self._serve_or_leave)
        app.on_partitions_revoked.connect(self._on_partitions_revoked)

    async def _serve_or_leave(self) -> None:
        """Run the other tasks, and end the process with them; Faust alone would keep running."""
        with or_leave("what runs beside the batches has ended"):
            await run_forever(self._serve(), "what runs beside the batches")

    async def _serve(self) -> None:
        config = self.config
        async with AsyncExitStack() as closing:
            send = await closing.enter_async_context(Producer(self.streams, self.meter))
            redis = connect(self.streams.redis)
            closing.push_async_callback(redis.aclose)
            store = JoinStore(
                redis,
                self.topics.prefix + config.group,
                state_ttl_s=config.state_ttl_s,
                rates_ttl_s=(RATE_HOURS + 1) * 3_600,
                shelf_ttl_s=int(config.window_s + config.grace_s) + SHELF_SLACK_S,
            )
            state = StateStore(redis, self.streams.state)
            items, entries = Items(), Guard("embeddings", parse, self.meter)
            partitions = await send.partitions(self.topics.shelves)
            join = self.join = StreamJoin(
                store,
                send,
                self.meter,
                self.topics,
                config,
                self.streams.events,
                items,
                partitions,
                DeadLetterWriter(send, self.streams.topics),
                self._gone,
                self._read_again,
                self.streams.bots,
                self.watchdog.progress,
                self.system.clock,
                state,
            )
            self.monitor_state = MonitorState(store, join.metrics, self.system.monitor.active, join.retry)
            if slot := (await present(self.streams, self.meter)).get(CHALLENGER):
                join.hold(slot)  # a backlog's views count for a canary that began before this process did
            self._ready.set()
            embeddings = partial(Consumer, self.streams, self.topics.embeddings)
            shelves = ShelfConsumer(
                self.streams, config, store.shelves, join.retry, self._on_shelves, self.meter, self.system.clock
            )
            async with asyncio.TaskGroup() as group:
                for what, work in {
                    "reading items": restart_on_error(partial(follow, embeddings, entries, items.update), "items"),
                    "reading announcements": restart_on_error(self._follow_challenger, "announcements"),
                    "letting time go on": self._let_time_go_on(),
                    "reading shelves": restart_on_error(shelves.run, "shelves"),
                    "reading snapshots": restart_on_error(self.system.run, "snapshots"),
                    "gathering the experiment": restart_on_error(partial(self._gather, send), "partitions"),
                    "reporting drift": self._save_and_report_drift(send),
                    "saving click effects": self._save_effects(state),
                    "reporting on the system": self._report_system(send),
                    "reporting": self._report(send),
                    "the watchdog": leave_when_stalled(self.app, self.watchdog, self._waits),
                }.items():
                    group.create_task(vital(work, what))
                group.create_task(self.outbound.run())

    async def _read_again(self, number: int, first: int, before: int | None) -> AsyncGenerator[Sequence[Record]]:
        """A partition's events from an offset up to before another; without the other up to the partition's end."""
        partition = TopicPartition(self.topics.events, number)
        consumer = Consumer(self.streams)
        try:
            await consumer.start()
            consumer.assign([partition])
            ends = {partition: before} if before is not None else await consumer.end_offsets([partition])
            consumer.seek(partition, first)
            while not consumer.passed(ends):
                fetched = await consumer.getmany(timeout_ms=AGAIN_MS, max_records=self.config.batch_events)
                records = [
                    Record(
                        one.topic, one.partition, one.offset, one.timestamp, one.key, one.value, (), one.timestamp_type
                    )
                    for messages in fetched.values()
                    for one in messages
                    if one.offset < ends[partition]
                ]
                if records:
                    yield await self.schemas.decoded(records)
        finally:
            await consumer.stop()

    async def _let_time_go_on(self) -> None:
        """Advance idle partitions every second: those read to their end both now and a second ago."""
        before: set[int] = set()
        while True:
            await asyncio.sleep(1.0)
            mine = self.app.consumer.assignment()
            now = {one.partition for one in mine if caught_up(self.app, one)}
            with or_leave():
                await self.join.keep(one.partition for one in mine)
                for awaited in await self.join.advance_idle(now & before):
                    await awaited
            before = now

    def _on_partitions_revoked(self, *_: Any, **__: Any) -> None:
        """Called by Faust, the first time before there is a join."""
        if self._ready.is_set():
            self.join.revoked()

    async def _gone(self, number: int, offset: int) -> bool:
        return bool(await self.app.consumer.gone(TopicPartition(self.topics.events, number), offset))

    async def _follow_challenger(self) -> None:
        """Take the slot's newest state, once no newer one has come for a moment: at the start all earlier ones come."""
        holding: asyncio.TimerHandle | None = None
        async for name, slot in announced(partial(Consumer, self.streams, self.topics.models), self.meter):
            if name == CHALLENGER:
                if holding is not None:
                    holding.cancel()
                holding = asyncio.get_running_loop().call_later(SETTLED_S, self.join.hold, slot)

    def _on_shelves(self, batch: Batch) -> None:
        self.join.shelf_partitions = batch.partitions or self.join.shelf_partitions
        self.join.update_shelves(batch.new)
        if batch.records:
            self.watchdog.progress()  # events may be waiting for these shelves

    async def _save_and_report_drift(self, send: Send) -> None:
        """Publish alerts after their state was saved, so that no other process publishes them too."""
        join, monitors = self.join, self.monitor_state
        while True:
            await asyncio.sleep(self.config.metrics_every_s)
            await monitors.settle(join.assigned)
            if monitors.beside is not None:
                await self._publish(send, join.metrics.monitors.alerts(self.system.clock()))

    async def _save_effects(self, state: StateStore) -> None:
        """Write what has changed of the click effects, for the workers."""
        while True:
            await asyncio.sleep(self.config.metrics_every_s)
            for number, one in list(self.join.metrics.effects.items()):
                dropped = one.trim()
                counts, one.changed = {key: one.get()[key] for key in one.changed}, set()
                await state.put_effects(number, counts, dropped)

    async def _gather(self, send: Producer) -> None:
        while True:
            await asyncio.sleep(self.config.metrics_every_s)
            await self.join.gather(partial(send.partitions, self.topics.events))

    async def _report_system(self, send: Send) -> None:
        while True:
            await asyncio.sleep(self.config.metrics_every_s)
            if self.monitor_state.beside is not None:
                await self._publish(send, self.system.alerts())

    async def _publish(self, send: Send, alerts: Iterable[Alert]) -> None:
        for alert in alerts:
            log.warning("alert %s %s", alert.state, alert.key)
            await publish(send, self.topics.alerts, alert, self.monitor_state.source)

    def _waits(self) -> bool:
        """Whether events wait for another server, and not for this process."""
        return self.join.retry.paused or bool(self.schemas.paused)

    async def _report(self, send: Send) -> None:
        join = self.join
        while True:
            await asyncio.sleep(self.config.metrics_every_s)
            self.meter.gauges = {"lag": float(lag(self.app)), "redis_paused": float(join.retry.paused)}
            self.meter.labels |= {"redis_pause": join.retry.reason, "registry_pause": self.schemas.paused}
            self.meter.gauges["registry_paused"] = float(bool(self.schemas.paused))
            self.meter.gauges |= join.gauges()
            self.meter.series, self.meter.partitions = join.series(), sorted(join.partitions)
            await self.reporter.report(send)
