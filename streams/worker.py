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
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import faust
from aiokafka import AIOKafkaConsumer

from models.cpu import limit_threads
from streams import meter as metering
from streams.clock import wall_ms
from streams.config import StreamsConfig
from streams.connections import aiokafka_client, faust_credentials
from streams.demand import Demand
from streams.meter import Meter
from streams.pipeline import Pipeline
from streams.producer import Producer, largest_record
from streams.recommender import Recommender
from streams.record import Record, Send, Sent
from streams.store import Store, connect
from streams.switcher import Switcher, first
from streams.topics import Topics
from streams.trending import Trending
from streams.watchdog import Watchdog

log = logging.getLogger(__name__)

STALLED_EXIT = 70


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
        # Faust makes a folder, though we keep no tables.
        self._folder = tempfile.TemporaryDirectory(prefix="liveshelf-")
        self.app = self._app()
        model = config.model
        limit_threads(model.threads)
        self.edition, self.charge = first(model)
        self.trending = Trending(config.state.trend_bucket_s, config.state.trend_buckets)
        self.recommender = Recommender(self.edition.catalogue, self.edition.scorer, self.trending, config)
        self.watchdog = Watchdog(config.worker.stall_s)
        self._agents()

    def run(self) -> int:
        """Work until SIGTERM or SIGINT; returns the exit code."""
        worker = faust.Worker(
            self.app, loglevel=logging.getLevelName(logging.getLogger().level), override_logging=False
        )
        try:
            worker.execute_from_commandline()
        except SystemExit as stop:
            return int(stop.code or 0)
        finally:
            gc.unfreeze()
            self._folder.cleanup()
        return 0

    def _app(self) -> Any:
        config = self.config
        kafka = config.kafka
        return faust.App(
            config.worker.group,
            broker=[f"kafka://{server}" for server in kafka.bootstrap_servers.split(",")],
            broker_credentials=faust_credentials(kafka),
            store="memory://",
            datadir=self._folder.name,
            topic_allow_declare=False,
            topic_disable_leader=True,
            web_enabled=False,
            stream_wait_empty=False,
            stream_buffer_maxsize=4096,
            consumer_auto_offset_reset="earliest",
            broker_commit_interval=1.0,
            broker_session_timeout=config.worker.session_timeout_s,
            broker_heartbeat_interval=config.worker.session_timeout_s / 4,
            consumer_group_instance_id=config.worker.instance,
            broker_max_poll_records=500,
            consumer_max_fetch_size=4 * 1024 * 1024,
            value_serializer="raw",
            key_serializer="raw",
            autodiscover=False,
        )

    def _agents(self) -> None:
        app, worker = self.app, self.config.worker
        self._ready = asyncio.Event()

        async def on_events(stream: Any) -> None:
            await self._ready.wait()
            await self._take(stream, worker.batch_events, self.pipeline.process)

        async def on_items(stream: Any) -> None:
            await self._ready.wait()
            await self._take(stream, worker.item_batch, self.switcher.item_encoder.process)

        for agent, topic in ((on_events, self.topics.events), (on_items, self.topics.items)):
            app.agent(app.topic(topic, key_type=bytes, value_type=bytes), name=agent.__name__)(agent)
        app.task(self._serve)

    async def _take(self, stream: Any, size: int, process: Callable[[Sequence[Record]], Awaitable[Sent]]) -> None:
        """Take what waits, at most ``size`` events at a time; while Kafka acknowledges what they led to, go on."""
        acknowledging: asyncio.Task[None] | None = None
        batch: list[Any] = []
        waited = False
        async for event in stream.noack().events():
            batch.append(event)
            if len(batch) < size:
                arriving = stream.channel.queue
                if arriving.empty() and not waited:
                    # What Faust's thread has read while a model computed comes a moment later.
                    await asyncio.sleep(self.config.worker.batch_wait_s)
                    waited = True
                if not arriving.empty():
                    continue
            with _or_leave():
                sent = await process([_record(taken.message) for taken in batch])
                if acknowledging is not None:
                    await acknowledging
            acknowledging = asyncio.create_task(self._acknowledge(batch, sent))
            batch, waited = [], False

    async def _acknowledge(self, events: Sequence[Any], sent: Sent) -> None:
        with _or_leave():
            await asyncio.gather(*sent)
        for event in events:
            event.ack()
        self.watchdog.progress()

    async def _serve(self) -> None:
        """Start what the agents need, then watch over it; a Faust task that lives as long as the app."""
        config = self.config
        async with AsyncExitStack() as closing:
            send = await closing.enter_async_context(Producer(config))
            redis = connect(config.redis)
            closing.push_async_callback(redis.aclose)
            self.store = Store(redis, config.state)
            self.pipeline = Pipeline(self.recommender, self.store, send, self.meter, config)
            self.switcher = Switcher(
                self.edition,
                self.charge,
                self.recommender,
                send,
                self.meter,
                self._embeddings,
                self._owned,
                config,
            )
            del self.edition
            demand = Demand(self.store, self.trending, self.recommender, self.pipeline.write, config)
            async with asyncio.TaskGroup() as group:
                group.create_task(self.switcher.run())
                await self.switcher.ready.wait()
                self.switcher.edition.encoder.warm_up(config.worker.batch_events)
                await demand.refresh(wall_ms())
                gc.freeze()  # models and catalogue stay: collecting garbage need not look through them each time
                self._ready.set()
                edition = self.switcher.edition
                log.warning("worker %s is ready: %d items, model %s", self.id, len(edition.catalogue), edition.name)
                del edition
                group.create_task(demand.run())
                group.create_task(self._report(send))
                group.create_task(self._watch())

    async def _report(self, send: Send) -> None:
        while True:
            await asyncio.sleep(self.config.worker.metrics_every_s)
            self.switcher.report()
            self.meter.gauges |= {"lag": float(self._lag()), "redis_paused": float(self.store.paused)}
            snapshot = self.meter.snapshot(wall_ms())
            await send(self.topics.metrics, b"worker", metering.encoder.encode(snapshot))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            if self.watchdog.stalled(asyncio.get_running_loop().time(), self._lag(), self.store.paused):
                log.critical(
                    "no progress for %g s with %d events waiting: leaving for the supervisor to restart",
                    self.config.worker.stall_s,
                    self._lag(),
                )
                os._exit(STALLED_EXIT)

    def _embeddings(self) -> AIOKafkaConsumer:
        """Another consumer of the embeddings topic, of all partitions, from the beginning."""
        return AIOKafkaConsumer(
            self.topics.embeddings,
            **aiokafka_client(self.config.kafka),
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            max_partition_fetch_bytes=largest_record(self.config),
        )

    def _owned(self) -> set[int]:
        """The partitions of the items that are this worker's now."""
        assigned = self.app.consumer.assignment()
        return {partition.partition for partition in assigned if partition.topic == self.topics.items}

    def _lag(self) -> int:
        """Events and items in this worker's partitions that are not yet through."""
        consumer = self.app.consumer
        behind = 0
        for partition in consumer.assignment():
            end = consumer.highwater(partition)
            done = consumer._committed_offset.get(partition)
            if end is not None and done is not None:
                behind += max(0, end - done)
        return behind


@contextmanager
def _or_leave() -> Iterator[None]:
    """End the process when a batch fails: nothing of it is committed, and the supervisor starts another."""
    try:
        yield
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        log.critical("a batch cannot be processed; leaving for the supervisor to restart", exc_info=error)
        os._exit(STALLED_EXIT)


def _record(message: Any) -> Record:
    return Record(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        timestamp_ms=int(message.timestamp * 1000),
        key=message.key,
        value=message.value,
        headers=(),
    )
