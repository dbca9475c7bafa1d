"""The worker: Faust agents on ``shop.events`` and ``shop.items``, and what runs beside them.

Here, and only here, the pure parts meet Faust. Faust reads, groups and commits; every event is acknowledged by the
agent that took it, once its batch is all the way through. What is known to go wrong in Faust, and how each is designed
around, stands in ``docs/worker.md``.

Models compute in the event loop's own thread: a second one takes the interpreter away from the first at every small
operation, which cost twice the latency (``docs/log.md``). Faust reads Kafka and keeps its group alive in a thread of
its own, so neither waits for a model; a worker is one core, and more cores are more workers.
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

from models.cpu import limit_threads
from streams.clock import wall_ms
from streams.config import StreamsConfig
from streams.features.trending import Trending
from streams.kafka.app import BatchTaker, lag, leave_when_stalled, make_app, run
from streams.kafka.consumer import Consumer
from streams.kafka.producer import Producer
from streams.kafka.record import Send
from streams.kafka.topics import Topics
from streams.pipeline import Pipeline
from streams.ranking.arms import Arms
from streams.ranking.popular import PopularShelves
from streams.ranking.recommender import Recommender
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
    """One worker process: models loaded, catalogue followed, events answered.

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
        edition, self.charge = first(model)
        self.trending = Trending(config.state.trend_bucket_s, config.state.trend_buckets)
        champion = Recommender(edition.catalogue, edition.scorer, self.trending, config, queries=edition.queries)
        self.edition, self.arms = edition, Arms(champion, self.meter)
        self.watchdog = Watchdog(config.worker.stall_s)
        self._taking = BatchTaker(config.worker.batch_wait_s, self.watchdog.progress)
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
        """Faust would go on without what runs beside the batches."""
        with or_leave("what runs beside the batches has ended"):
            await run_forever(self._serve(), "what runs beside the batches")

    async def _serve(self) -> None:
        """Start what the agents need, then watch over it; a Faust task that lives as long as the app."""
        config = self.config
        async with AsyncExitStack() as closing:
            send = await closing.enter_async_context(Producer(config, self.meter))
            redis = connect(config.redis)
            closing.push_async_callback(redis.aclose)
            self.store = StateStore(redis, config.state, config.bots.marked_s)
            self.pipeline = Pipeline(self.arms, self.store, send, self.meter, config)
            self.switcher = Switcher(
                self.edition,
                self.charge,
                self.arms,
                send,
                self.meter,
                partial(Consumer, config),
                self._owned,
                self._left,
                config,
            )
            self.withdrawals = Withdrawals(self.store, self.switcher.serving, self._owned, self.meter, config)
            del self.edition
            demand = PopularShelves(self.store, self.trending, self.arms, self.pipeline.write, config)
            async with asyncio.TaskGroup() as group:
                group.create_task(vital(self.switcher.run(), "following the models"))
                await self.switcher.ready.wait()
                self.switcher.edition.encoder.warm_up(config.worker.batch_events)
                await demand.refresh(wall_ms())
                gc.freeze()  # models and catalogue stay: collecting garbage need not look through them each time
                self._ready.set()
                edition = self.switcher.edition
                log.warning("worker %s is ready: %d items, model %s", self.id, len(edition.catalogue), edition.name)
                del edition
                group.create_task(vital(demand.run(), "reading demand"))
                group.create_task(vital(self.withdrawals.run(), "taking items out of shelves"))
                group.create_task(vital(self._report(send), "reporting"))
                watching = leave_when_stalled(self.app, self.watchdog, lambda: self.store.patience.paused)
                group.create_task(vital(watching, "the watchdog"))

    async def _report(self, send: Send) -> None:
        while True:
            await asyncio.sleep(self.config.worker.metrics_every_s)
            self.switcher.report()
            patience = self.store.patience
            self.meter.gauges |= {"lag": float(lag(self.app)), "redis_paused": float(patience.paused)}
            self.meter.labels |= {"redis_pause": patience.reason}
            await self.reporter.report(send)

    def _left(self, items: Sequence[tuple[str, int]]) -> None:
        self.withdrawals.left(items)

    def _owned(self) -> set[int]:
        """The partitions of the items that are this worker's now."""
        assigned = self.app.consumer.assignment()
        return {partition.partition for partition in assigned if partition.topic == self.topics.items}
