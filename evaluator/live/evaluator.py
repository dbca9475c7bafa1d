"""The evaluator process: Faust agents on ``shop.events`` and ``liveshelf.shelves``, and what runs beside them.

Here, and only here, the join meets Faust. More evaluators share the partitions; what one leaves, another takes up where
it was committed.
"""

import asyncio
import logging
import os
import tempfile
import uuid
from contextlib import AsyncExitStack
from typing import Any

from evaluator.alerts import alert
from evaluator.config import EvaluatorConfig
from evaluator.live.join import RATE_HOURS, Join
from evaluator.live.store import Store
from evaluator.online.rates import WINDOWS
from evaluator.online.watches import Watches
from streams import meter as metering
from streams.clock import wall_ms
from streams.config import StreamsConfig
from streams.faust_app import Taking, lag, leave_when_stalled, make_app, or_leave, run
from streams.meter import Meter
from streams.producer import Producer
from streams.record import Send
from streams.store import connect
from streams.topics import Topics
from streams.watchdog import Watchdog

log = logging.getLogger(__name__)

SHELF_SLACK_S = 3_600
"""How much longer than window and grace a shelf is known: it may be seen some time after it was made."""


class Evaluator:
    """One evaluator process.

    Parameters
    ----------
    streams, config
        Settings of the streaming side, and the evaluator's own.
    """

    def __init__(self, streams: StreamsConfig, config: EvaluatorConfig) -> None:
        self.streams, self.config = streams, config
        self.topics = Topics(streams.topics.prefix)
        self.meter = Meter("evaluator", f"{os.uname().nodename}-{os.getpid()}-{uuid.uuid4().hex[:4]}", wall_ms())
        self._instance = config.instance or "unnamed"
        self.watchdog = Watchdog(config.stall_s)
        # Faust makes a folder, though we keep no tables.
        self._folder = tempfile.TemporaryDirectory(prefix="liveshelf-")
        self.app = make_app(streams, config.group, config.instance, config.session_timeout_s, self._folder.name)
        self._agents()

    def run(self) -> int:
        """Work until SIGTERM or SIGINT; returns the exit code."""
        try:
            return run(self.app)
        finally:
            self._folder.cleanup()

    def _agents(self) -> None:
        app, config = self.app, self.config
        self._ready = asyncio.Event()
        taking = Taking(config.batch_wait_s, self.watchdog.progress)

        async def on_impressions(stream: Any) -> None:
            await self._ready.wait()
            await taking.run(stream, config.batch_events, self.join.process)

        async def on_shelves(stream: Any) -> None:
            await self._ready.wait()
            await taking.run(stream, config.batch_events, self.join.remember)

        for agent, topic in ((on_impressions, self.topics.events), (on_shelves, self.topics.shelves)):
            app.agent(app.topic(topic, key_type=bytes, value_type=bytes), name=agent.__name__)(agent)
        app.task(self._serve)

    async def _serve(self) -> None:
        config = self.config
        async with AsyncExitStack() as closing:
            send = await closing.enter_async_context(Producer(self.streams))
            redis = connect(self.streams.redis)
            closing.push_async_callback(redis.aclose)
            store = Store(
                redis,
                self.topics.prefix + config.group,
                state_ttl_s=config.state_ttl_s,
                rates_ttl_s=(RATE_HOURS + 1) * 3_600,
                shelf_ttl_s=int(config.window_s + config.grace_s) + SHELF_SLACK_S,
            )
            join = self.join = Join(store, send, self.meter, self.topics, config, self.streams.events)
            saved = await join.patience.until_done(lambda: store.load_watches(self._instance))
            join.watches = Watches.load(join.watches.rules, saved)
            self._ready.set()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._let_time_go_on())
                group.create_task(self._report(send))
                group.create_task(leave_when_stalled(self.app, self.watchdog, lambda: self.join.patience.paused))

    async def _let_time_go_on(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            mine = [one for one in self.app.consumer.assignment() if one.topic == self.topics.events]
            self.join.keep(one.partition for one in mine)
            with or_leave():
                for awaited in await self.join.close_idle(one.partition for one in mine if self._caught_up(one)):
                    await awaited

    def _caught_up(self, partition: Any) -> bool:
        consumer = self.app.consumer
        end, done = consumer.highwater(partition), consumer._committed_offset.get(partition)
        return end is not None and done is not None and done >= end

    async def _report(self, send: Send) -> None:
        join = self.join
        while True:
            await asyncio.sleep(self.config.metrics_every_s)
            for told in join.watches.tell(wall_ms()):
                log.warning("alert %s %s", told.state, told.key)
                await send(self.topics.alerts, told.key.encode("utf-8", "replace"), alert.encoder.encode(told))
            watches = join.watches.save()
            await join.patience.until_done(lambda: join.store.save_watches(self._instance, watches))  # noqa: B023
            self.meter.gauges = {"lag": float(lag(self.app)), "redis_paused": float(self.join.patience.paused)}
            self.meter.gauges |= self._gauges()
            await send(self.topics.metrics, b"evaluator", metering.encoder.encode(self.meter.snapshot(wall_ms())))

    def _gauges(self) -> dict[str, float]:
        """Counts of the partitions, and impressions and clicks of each window by surface, arm and model."""
        found: dict[str, float] = {}
        counts = [partition.counts() for partition in self.join.partitions.values()]
        found["alerts"] = float(len(self.join.watches.book.get()))
        found["waiting"] = float(sum(one.waiting for one in counts))
        for part in ("closed", "orphans", "late"):
            found[part] = float(sum(getattr(one, part).total() for one in counts))
        until = max((partition.horizon for partition in self.join.partitions.values()), default=0)
        for window in WINDOWS:
            for cut, sums in self.join.rates.by(window, until, ("surface", "arm", "model")).items():
                name = "|".join((window, *cut))
                found[f"impressions|{name}"] = float(sums.impressions)
                found[f"clicks|{name}"] = float(sums.clicks)
        return found
