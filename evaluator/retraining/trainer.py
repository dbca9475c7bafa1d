"""The trainer process: writes examples to disk, follows alerts and snapshots, and runs the loop once a second.

Only this module connects the loop with Kafka and Redis. One trainer writes to a folder of examples. A second one on the
same folder is refused; one on another folder shares the partitions and the registry of runs.
"""

import asyncio
import logging
import os
import signal
import uuid
from collections import deque
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path

from evaluator.monitoring.alerts.alert import AlertsView
from evaluator.monitoring.alerts.topic import PublishedAlert
from evaluator.monitoring.alerts.topic import guard as alerts_guard
from evaluator.retraining.config import LoopConfig
from evaluator.retraining.controller import RetrainingController
from evaluator.retraining.example_consumer import ExampleConsumer
from evaluator.retraining.run_registry import RunRegistry
from evaluator.retraining.store import store as examples
from evaluator.retraining.store.archive import Archive
from evaluator.rollout.controller import Rollout
from models.store import ModelStore, StoreError
from models.training.examples import ExamplesError
from streams.clock import wall_ms
from streams.events import receipt
from streams.kafka.consumer import Consumer
from streams.kafka.guard import Guard
from streams.kafka.producer import Producer
from streams.kafka.record import Send
from streams.kafka.topic_reader import follow
from streams.kafka.topics import Topics
from streams.redis.connection import connect
from streams.redis.retry import RedisRetry
from streams.reporting import Reporter
from streams.runtime.lifecycle import vital
from streams.runtime.tasks import restart_on_error, run_forever
from streams.serving.announcement import announce
from streams.telemetry.meter import Meter, Snapshot
from streams.telemetry.meter import parse as parse_snapshot

log = logging.getLogger(__name__)

MOST_SNAPSHOTS = 10_000
"""Most snapshots kept between two steps of the loop."""


class Trainer:
    """One trainer process.

    Parameters
    ----------
    config
        All settings.
    command
        Starts a run's job in a process of its own, which reads the run's folder from its input.

    Raises
    ------
    models.training.examples.ExamplesError
        On running, when another process writes to the folder of examples.
    """

    def __init__(self, config: LoopConfig, command: Sequence[str]) -> None:
        self.config, self.command = config, command
        self.topics = Topics(config.streams.topics.prefix)
        name = os.uname().nodename
        self.by = config.learning.instance or name
        self.meter = Meter("trainer", f"{name}-{os.getpid()}-{uuid.uuid4().hex[:4]}", wall_ms())
        self.reporter = Reporter(self.meter, config.streams)
        self.alerts = AlertsView()
        self._snapshots = deque[Snapshot](maxlen=MOST_SNAPSHOTS)

    def run(self) -> int:
        """Work until SIGTERM or SIGINT; returns the exit code."""
        with self.reporter, examples.ExampleStore(self.config.examples) as store:
            asyncio.run(self._until_stopped(store))
        return 0

    async def _until_stopped(self, store: examples.ExampleStore) -> None:
        serving = asyncio.create_task(run_forever(self._serve(store), "what the trainer does"))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
        with suppress(asyncio.CancelledError):
            await serving

    async def _serve(self, store: examples.ExampleStore) -> None:
        streams, learning = self.config.streams, self.config.learning
        async with AsyncExitStack() as closing:
            send = await closing.enter_async_context(Producer(streams, self.meter))
            redis = connect(streams.redis)
            closing.push_async_callback(redis.aclose)
            archive = Archive(Path(self.config.examples.folder))
            consumer = ExampleConsumer(store, archive, self.config, self.meter)
            models = ModelStore(streams.model.store)
            controller = RetrainingController(
                self.config,
                self.by,
                self.command,
                store=models,
                archive=archive,
                registry=RunRegistry(redis, self.topics.prefix + learning.group, self.config.triggers),
                rollout=Rollout(models, self.config.rollout, partial(announce, send, self.topics)),
                meter=self.meter,
                alerts=self.alerts.get,
                count=consumer.count,
                flush=consumer.flush,
            )
            closing.push_async_callback(controller.stop)
            controller.restore_status()
            alerts = partial(Consumer, streams, self.topics.alerts)
            receipts = partial(Consumer, streams, self.topics.forgotten)
            snapshots = Guard("snapshots", parse_snapshot, self.meter)
            async with asyncio.TaskGroup() as group:
                for what, work in {
                    "reading examples": restart_on_error(consumer.run, "examples"),
                    "reading receipts": restart_on_error(
                        partial(follow, receipts, Guard("receipts", receipt.parse, self.meter), consumer.forget),
                        "receipts",
                    ),
                    "forgetting": consumer.forgetting(),
                    "reading alerts": restart_on_error(
                        partial(follow, alerts, alerts_guard(self.meter), self._alert), "alerts"
                    ),
                    "reading snapshots": restart_on_error(
                        partial(follow, self._latest, snapshots, self._snapshot), "metrics"
                    ),
                    "the loop": self._look(controller),
                    "reporting": self._report(send, controller.registry.retry),
                }.items():
                    group.create_task(vital(work, what))

    async def _look(self, controller: RetrainingController) -> None:
        failed = False
        while True:
            await asyncio.sleep(1.0)
            taken = list(self._snapshots)
            self._snapshots.clear()
            try:
                await controller.step(taken)
                failed = False
            except (StoreError, ExamplesError, OSError) as error:
                if not failed:  # logged once, not every second
                    log.error("the loop stands still: %s", error)
                failed = True

    async def _report(self, send: Send, retry: RedisRetry) -> None:
        while True:
            await asyncio.sleep(self.config.learning.metrics_every_s)
            self.meter.gauges["redis_paused"] = float(retry.paused)
            self.meter.labels["redis_pause"] = retry.reason
            await self.reporter.report(send)

    def _latest(self) -> Consumer:
        return Consumer(self.config.streams, self.topics.metrics, auto_offset_reset="latest")

    def _snapshot(self, taken: Snapshot) -> None:
        if taken.role in ("worker", "evaluator"):
            self._snapshots.append(taken)

    def _alert(self, published: PublishedAlert) -> None:
        self.alerts.update(published.alert, published.at, published.source)
