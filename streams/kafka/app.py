"""Faust as Liveshelf uses it: an app without tables, batches from a stream, and an exit when processing stalls.

Knows Faust and the settings; nothing of how a batch is processed. ``docs/worker.md`` lists Faust's known faults and the
workaround for each.
"""

import asyncio
import logging
import math
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import faust

from streams.config import RoleConfig, StreamsConfig
from streams.kafka.connection import faust_credentials
from streams.kafka.faust_consumer import FaustConsumer, Transport
from streams.kafka.record import Record, Sent, place
from streams.kafka.registry import SchemaDecoder
from streams.kafka.unreadable import SILENT_S
from streams.runtime.lifecycle import or_leave, sentence, write_last_words
from streams.runtime.watchdog import STALLED_EXIT, Watchdog

log = logging.getLogger(__name__)

SILENT_SHARE = 0.75
"""Share of the watchdog's time after which a silent partition is reported, so that the report comes before the exit."""
HANDOVER_S = 0.001
"""How long records that one answer of the broker brought need to come through Faust, one after the other."""
LAST_S = 1.0
"""Time that cancelled tasks have to end when the process ends."""


class _App(faust.App):  # type: ignore[misc]
    def _create_directories(self) -> None:
        """Nothing: Faust's folders are for tables, and this app has none; so a killed process leaves no folder."""


def make_app(config: StreamsConfig, role: RoleConfig) -> Any:
    """A Faust app of a role's consumer group, which only reads and commits."""
    app = _App(
        role.group,
        broker=[f"kafka://{server}" for server in config.kafka.bootstrap_servers.split(",")],
        broker_credentials=faust_credentials(config.kafka),
        store="memory://",
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        stream_wait_empty=False,
        stream_buffer_maxsize=4096,
        consumer_auto_offset_reset="earliest",
        broker_commit_interval=1.0,
        broker_session_timeout=role.session_timeout_s,
        broker_heartbeat_interval=role.session_timeout_s / 4,
        consumer_group_instance_id=role.instance,
        broker_max_poll_records=500,
        consumer_max_fetch_size=4 * 1024 * 1024,
        value_serializer="raw",
        key_serializer="raw",
        autodiscover=False,
    )
    app.transport = Transport(config, app, min(SILENT_S, SILENT_SHARE * role.stall_s))
    return app


class _Worker(faust.Worker):  # type: ignore[misc]
    async def _sentinel_task(self) -> None:
        """Wait for cancelled tasks, as the loop's last task. The library always waits a second."""
        if others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others, timeout=LAST_S)


def run(app: Any) -> int:
    """Run an app until SIGTERM or SIGINT; returns the exit code."""
    worker = _Worker(app, loglevel=logging.getLevelName(logging.getLogger().level), override_logging=False)
    worker.spinner = None  # its signs of progress are control codes in a log
    try:
        worker.execute_from_commandline()
    except SystemExit as stop:
        if stop.__context__ is not None and stop.code:
            write_last_words(sentence(stop.__context__))
        return int(stop.code or 0)
    return 0


class BatchTaker:
    """Takes the events of a stream in batches; the next batch is begun while the last one's results are on their way.

    Parameters
    ----------
    wait_s
        A batch that is not full waits until so long after the last one was processed: what came meanwhile is on its way
        from the broker. Where nothing came meanwhile, it waits :data:`HANDOVER_S`.
    progress
        Called after each batch that is done.
    schemas
        Decodes what a schema registry describes; waits while that is away.
    """

    def __init__(self, wait_s: float, progress: Callable[[], None], schemas: SchemaDecoder) -> None:
        self.wait_s, self.progress, self.schemas = wait_s, progress, schemas

    async def run(self, stream: Any, size: int, process: Callable[[Sequence[Record]], Awaitable[Sent]]) -> None:
        """Process at most ``size`` events at a time, for as long as the stream lasts. Cancelled, it ends once the last
        batch is acknowledged, or after :data:`LAST_S` seconds."""
        with or_leave("batches are no longer taken"):  # Faust would go on with the next one, and lose this one
            acknowledging: list[asyncio.Task[None]] = []
            try:
                await self._run(stream, size, process, acknowledging)
            finally:
                if acknowledging:
                    await asyncio.wait(acknowledging, timeout=LAST_S)

    async def _run(
        self,
        stream: Any,
        size: int,
        process: Callable[[Sequence[Record]], Awaitable[Sent]],
        acknowledging: list[asyncio.Task[None]],
    ) -> None:
        loop, processed = asyncio.get_running_loop(), -math.inf
        async for event in stream.noack().events():
            batch = [event, *_waiting(stream, size - 1)]
            if len(batch) < size:
                await asyncio.sleep(max(HANDOVER_S, processed + self.wait_s - loop.time()))
                batch = [taken for taken in batch if _current(stream.app, taken)]
                batch += _waiting(stream, size - len(batch))
                if not batch:
                    continue
            records = [record(taken.message) for taken in batch]
            with or_leave(where=place(records)):
                sent = await process(await self.schemas.decoded(records))
            processed = loop.time()
            last = acknowledging[-1:]
            acknowledging.append(asyncio.create_task(self._acknowledge(batch, sent, place(records), last)))
            if last:
                await asyncio.wait(last)  # to await the task itself would cancel what it sends when this is cancelled
                del acknowledging[0]

    async def _acknowledge(
        self, events: Sequence[Any], sent: Sent, where: str, last: Sequence[asyncio.Task[None]]
    ) -> None:
        with or_leave(where=where):
            await asyncio.gather(*sent)
            if last:
                await asyncio.wait(last)
            for event in events:
                event.ack()
            self.progress()


def _waiting(stream: Any, most: int) -> list[Any]:
    """Events that wait in a stream's queue. The stream gives them too, but one by one and at several times the cost. As
    it does, leave out what a partition gave before it was assigned anew."""
    queue, found = stream.channel.queue, list[Any]()
    while len(found) < most and not queue.empty():
        event = queue.get_nowait()
        if _current(stream.app, event):
            found.append(event)
    return found


def _current(app: Any, event: Any) -> bool:
    """Whether an event was delivered since partitions were last assigned; others come again, here or elsewhere."""
    return bool(app.flow_control.is_active() and event.message.generation_id == app.consumer_generation_id)


async def leave_when_stalled(app: Any, watchdog: Watchdog, excused: Callable[[], bool]) -> None:
    """End the process when events wait and none is processed, unless that is excused, such as while Redis is away."""
    while True:
        await asyncio.sleep(1.0)
        waiting = lag(app, stopped=False)
        if watchdog.stalled(asyncio.get_running_loop().time(), waiting, excused()):
            log.critical(
                "no progress for %g s with %d events waiting: leaving for the supervisor to restart",
                watchdog.stall_s,
                waiting,
            )
            write_last_words(f"no progress for {watchdog.stall_s:g} s with {waiting} events waiting")
            os._exit(STALLED_EXIT)


def lag(app: Any, stopped: bool = True) -> int:
    """Records in the app's partitions that are not processed yet; those of an open transaction do not count.

    Parameters
    ----------
    stopped
        Whether partitions that an unreadable batch has stopped count.
    """
    consumer: FaustConsumer = app.consumer
    behind = 0
    for partition in consumer.assignment() - (set() if stopped else consumer.stopped):
        end, through = consumer.highwater(partition), consumer.through(partition)
        if end is not None and through is not None:
            behind += max(0, end - through)
    return behind


def caught_up(app: Any, partition: Any) -> bool:
    """Whether all of a partition is processed, also what is behind an open transaction or an unreadable batch."""
    consumer: FaustConsumer = app.consumer
    end, through = consumer.end(partition), consumer.through(partition)
    return end is not None and through is not None and through >= end


def record(message: Any) -> Record:
    """A Faust message as a record."""
    return Record(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        timestamp_ms=round(message.timestamp * 1000),  # Faust gives seconds
        timestamp_type=message.timestamp_type,
        key=message.key,
        value=message.value,
        headers=(),
    )
