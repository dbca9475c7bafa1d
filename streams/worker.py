"""The worker: Faust agents on ``shop.events`` and ``shop.items``, and the tasks that run beside them.

This is the only module where the pure parts meet Faust. Faust reads, groups and commits. An agent acknowledges its
events once their batch is processed. ``docs/worker.md`` lists the known defects of Faust and the workarounds.

Models compute in the event loop's thread: a second thread would take the interpreter lock at every small operation,
which doubled the latency (``docs/log.md``). Faust reads Kafka and keeps its group membership in its own thread, so
neither waits for a model. A worker uses one core; run more workers for more cores.
"""

import asyncio
import gc
import logging
import os
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from models.cpu import limit_blas, limit_threads
from streams.clock import wall_ms
from streams.config import StreamsConfig
from streams.features.trending import Trending
from streams.kafka.app import BatchTaker, lag, leave_when_stalled, make_app, run
from streams.kafka.consumer import Consumer
from streams.kafka.producer import Producer
from streams.kafka.record import Send
from streams.kafka.registry import SchemaDecoder
from streams.kafka.topics import Topics
from streams.pipeline import Pipeline
from streams.ranking.arms import Arms
from streams.ranking.popular import PopularShelves
from streams.ranking.recommender import Recommender
from streams.ranking.renewals import Renewals
from streams.ranking.withdrawals import Withdrawals
from streams.redis.connection import connect
from streams.redis.store import StateStore
from streams.reporting import Reporter
from streams.runtime.lifecycle import or_leave, vital
from streams.runtime.tasks import run_forever
from streams.runtime.watchdog import Watchdog
from streams.serving.switcher import Switcher, first
from streams.telemetry.meter import Meter

log = logging.getLogger(__name__)


class Worker:
    """One worker process: loads models, follows the catalogue, processes events.

    Parameters
    ----------
    config
        All settings of the streaming side.
    """

    def __init__(self, config: StreamsConfig) -> None:
        self.config = config
        self.topics = Topics(config.topics.prefix)
        self.id = f"{os.uname().nodename}-{os.getpid()}-{uuid.uuid4().hex[:4]}"
        self.meter = Meter("worker", self.id, wall_ms())
        self.reporter = Reporter(self.meter, config)
        worker = config.worker
        self.app = make_app(config, worker)
        model = config.model
        limit_threads(model.threads)
        limit_blas(1)
        loaded, self.slots = first(model)
        self.trending = Trending(config.state.trend_bucket_s, config.state.trend_buckets)
        champion = Recommender(
            loaded.catalogue, loaded.scorer, self.trending, config, queries=loaded.queries, feeds=loaded.feeds
        )
        self.first, self.arms = loaded, Arms(champion, self.meter)
        self.watchdog = Watchdog(config.worker.stall_s)
        self.schemas = SchemaDecoder(config.kafka)
        self._taking = BatchTaker(config.worker.batch_wait_s, self.watchdog.progress, self.schemas)
        self._agents()

    def run(self) -> int:
        """Work until SIGTERM or SIGINT; returns the exit code."""
        try:
            with self.reporter:
                return run(self.app)
        finally:
            gc.unfreeze()

    def _agents(self) -> None:
        app, worker = self.app, self.config.worker
        self._ready = asyncio.Event()

        async def on_events(stream: Any) -> None:
            await self._ready.wait()
            await self._taking.run(stream, worker.batch_events, self.pipeline.process)

        async def on_items(stream: Any) -> None:
            await self._ready.wait()
            await self._taking.run(stream, worker.item_batch, self.switcher.item_encoder.process)

        for agent, topic in ((on_events, self.topics.events), (on_items, self.topics.items)):
            app.agent(app.topic(topic, key_type=bytes, value_type=bytes), name=agent.__name__)(agent)
        app.task(self._serve_or_leave)

    async def _serve_or_leave(self) -> None:
        """End the process if a task beside the batches ends: Faust would go on without it."""
        with or_leave("a task beside the batches has ended"):
            await run_forever(self._serve(), "the tasks beside the batches")

    async def _serve(self) -> None:
        """Start what the agents need and keep it running; a Faust task that lives as long as the app."""
        config = self.config
        async with AsyncExitStack() as closing:
            send = await closing.enter_async_context(Producer(config, self.meter))
            redis = connect(config.redis)
            closing.push_async_callback(redis.aclose)
            self.store = StateStore(redis, config.state, config.bots.marked_s)
            self.pipeline = Pipeline(self.arms, self.store, send, self.meter, config)
            self.switcher = Switcher(
                self.first,
                self.slots,
                self.arms,
                send,
                self.meter,
                partial(Consumer, config),
                self._owned,
                self._withdrawn,
                config,
            )
            self.withdrawals = Withdrawals(self.store, self.switcher.serving, self._owned, self.meter, config)
            del self.first
            demand = PopularShelves(
                self.store, self.trending, self.arms, self.pipeline.behaviour, self.pipeline.write, config
            )
            pipeline = self.pipeline
            renewals = Renewals(
                self.store,
                self.arms,
                pipeline.clock,
                pipeline.together,
                pipeline.write,
                pipeline.identity.drop_feed,
                self.meter,
                config,
            )
            async with asyncio.TaskGroup() as group:
                group.create_task(vital(self.switcher.run(), "following the models"))
                await self.switcher.ready.wait()
                self.switcher.current.encoder.warm_up(config.worker.batch_events)
                self.arms.champion.warm_up(wall_ms())
                await demand.refresh(wall_ms())
                gc.freeze()  # models and catalogue stay: the garbage collector need not scan them each time
                self._ready.set()
                loaded = self.switcher.current
                log.warning(
                    "worker %s is ready: %d items, model %s, queries by %s",
                    *(self.id, len(loaded.catalogue), loaded.name, loaded.encoder.query_engine),
                )
                del loaded
                group.create_task(vital(demand.run(), "reading demand"))
                group.create_task(vital(self.withdrawals.run(), "taking items out of shelves"))
                if config.shelf.renewed_s:
                    group.create_task(vital(renewals.run(), "making feeds again"))
                group.create_task(vital(self._report(send), "reporting"))
                stalled = leave_when_stalled(self.app, self.watchdog, self._waits)
                group.create_task(vital(stalled, "the watchdog"))

    async def _report(self, send: Send) -> None:
        while True:
            await asyncio.sleep(self.config.worker.metrics_every_s)
            self.switcher.report()
            retry = self.store.retry
            self.meter.gauges |= {"lag": float(lag(self.app)), "redis_paused": float(retry.paused)}
            self.meter.gauges["registry_paused"] = float(bool(self.schemas.paused))
            self.meter.labels |= {"redis_pause": retry.reason, "registry_pause": self.schemas.paused}
            await self.reporter.report(send)

    def _waits(self) -> bool:
        """Whether events wait for another server, and not for this process."""
        return self.store.retry.paused or bool(self.schemas.paused)

    def _withdrawn(self, items: Sequence[tuple[str, int]]) -> None:
        self.withdrawals.withdraw(items)

    def _owned(self) -> set[int]:
        """The partitions of ``shop.items`` that this worker owns now."""
        assigned = self.app.consumer.assignment()
        return {partition.partition for partition in assigned if partition.topic == self.topics.items}
