"""What is wrong with the processes, in sentences: one role for ``liveshelf health``, all for ``liveshelf status``.

The checks are pure: they take snapshots, a stack's record and a clock. Only `recent` reads Kafka, in bounded time.
"""

import queue
import threading
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime

import psutil
from rich.table import Table
from rich.text import Text

from evaluator.monitoring.alerts.system import SystemMonitor
from liveshelf.stack_record import StackRecord
from streams import reporting
from streams.clock import wall_ms
from streams.config import StreamsConfig
from streams.connectivity import UnreachableError
from streams.kafka.unreadable import words
from streams.reporting import STARTED
from streams.telemetry.meter import Snapshot, total

BACK_S = 120.0
"""How far back to read."""
STILL_MS = 30_000
"""A worker is stuck when events wait this long and none is answered."""
LIMIT_S = 10.0
ROLES = ("worker", "evaluator", "trainer")


def recent(config: StreamsConfig, roles: Collection[str] = ROLES, limit_s: float = LIMIT_S) -> list[Snapshot]:
    """The snapshots of these roles in the last :data:`BACK_S` seconds, and the starts of processes, oldest first.

    Raises
    ------
    UnreachableError
        When Kafka delivers them too slowly.
    kafka.errors.KafkaError
        When Kafka refuses.
    """
    found: queue.SimpleQueue[list[Snapshot] | Exception] = queue.SimpleQueue()

    def read() -> None:
        try:
            found.put(reporting.snapshots(config, wall_ms() - int(BACK_S * 1000), *roles, STARTED))
        except Exception as error:
            found.put(error)

    threading.Thread(target=read, name="snapshots", daemon=True).start()  # reading may hang, the command must not
    try:
        got = found.get(timeout=limit_s)
    except queue.Empty:
        at = config.kafka.bootstrap_servers
        raise UnreachableError(f"Kafka at {at} has not given out the snapshots within {limit_s:g} s.") from None
    if isinstance(got, Exception):
        raise got
    return got


def unwell(
    taken: Sequence[Snapshot], host: str, role: str, now: int, fresh_s: float, record: StackRecord | None = None
) -> list[str]:
    """What is wrong with a role on a host, in sentences; empty if nothing is.

    Parameters
    ----------
    taken
        What `recent` returns.
    now
        Epoch milliseconds.
    fresh_s
        How old the last snapshot may be.
    record
        The record of a stack that runs here.

    Examples
    --------
    >>> last = Snapshot(role="worker", id="h-1", from_ms=0, to_ms=1_000, counts={}, gauges={}, sketches={})
    >>> unwell([last], "h", "worker", 2_000, 15.0), unwell([], "h", "worker", 2_000, 15.0)
    ([], ['No worker of this host has reported within the last 2 minutes.'])
    >>> unwell([last], "h", "worker", 41_000, 15.0)
    ['No worker of this host has reported for 40 s, since 00:00:01 UTC.']
    """
    mine = [one for one in taken if one.role == role and one.id.startswith(f"{host}-")]
    begun = [
        one for one in taken if one.role == STARTED and (one.labels.get("role"), one.labels.get("host")) == (role, host)
    ]
    found = [*_reported(mine, role, now, fresh_s), *_loops(begun, role, now, record)]
    live = [one for one in {one.id: one for one in mine}.values() if one.to_ms > now - fresh_s * 1000]
    found += words(series for one in live for series in one.series)
    for one in live:
        if one.gauges.get("model_failing"):
            failing = one.labels.get("model_failing", "")
            found.append(f"Model {failing} yields nothing that can be ranked; the version before serves.")
    found += _waiting(live)
    if not found:
        found += [sentence for one in live if (sentence := _still([same for same in mine if same.id == one.id]))]
    return list(dict.fromkeys(found))


def _reported(mine: Sequence[Snapshot], role: str, now: int, fresh_s: float) -> Iterator[str]:
    if not mine:
        yield f"No {role} of this host has reported within the last {BACK_S / 60:g} minutes."
    elif (at := mine[-1].to_ms) < now - fresh_s * 1000:
        since = f"{datetime.fromtimestamp(at / 1000, UTC):%H:%M:%S} UTC"
        yield f"No {role} of this host has reported for {(now - at) / 1000:.0f} s, since {since}."


def _waiting(live: Sequence[Snapshot]) -> Iterator[str]:
    for one in live:
        if one.gauges.get("redis_paused"):
            why = one.labels.get("redis_pause", "")
            yield f"The {one.role} waits for Redis{f': {why}' if why else ''}."
        if one.gauges.get("registry_paused"):
            yield f"The {one.role} waits for the schema registry: {one.labels.get('registry_pause', '')}."


def _loops(begun: Sequence[Snapshot], role: str, now: int, record: StackRecord | None) -> Iterator[str]:
    """Crash loops, as the supervisor of this machine counts them; else by the starts that processes reported."""
    kept = {} if record is None else record.restarts
    sentences = [
        one.sentence for name, one in kept.items() if one.looping and (name.rpartition("-")[0] or name) == role
    ]
    if not sentences:
        monitor = SystemMonitor()
        for snapshot in begun:
            monitor.update(snapshot, now)
        sentences = [alert.summary for alert in monitor.get(now) if alert.name == "crash_loop"]
    yield from (f"{sentence.rstrip('.')}." for sentence in sentences)


def _still(mine: Sequence[Snapshot]) -> str:
    """A sentence if events wait and none is answered, by the snapshots of one process; else empty."""
    last = mine[-1]
    moved = max((at for at, one in enumerate(mine) if not one.gauges.get("lag") or total([one], "events")), default=-1)
    waited = mine[moved + 1 :]
    if not waited or (stood := last.to_ms - waited[0].from_ms) < STILL_MS:
        return ""
    return f"{last.gauges['lag']:,.0f} events wait and none was answered for {stood / 1000:.0f} s."


def wrong(taken: Sequence[Snapshot], now: int, record: StackRecord | None = None) -> list[str]:
    """What is wrong with any process, for ``liveshelf status``."""
    monitor = SystemMonitor()
    for snapshot in taken:
        monitor.update(snapshot, now)
    found = [f"{alert.summary[:1].upper()}{alert.summary[1:]}" for alert in monitor.get(now)]
    newest = {role: max(one.to_ms for one in taken if one.role == role) for role in {one.role for one in taken}}
    for role in ROLES:
        if role in newest and now - newest[role] > 15_000:
            found.append(f"No {role} has reported for {(now - newest[role]) / 1000:.0f} s")
    live = {(one.role, one.id): one for one in taken if now - one.to_ms <= 15_000}
    found += _waiting(list(live.values()))
    loops = [one.sentence for one in (record.restarts if record else {}).values() if one.looping]
    return list(dict.fromkeys([*loops, *found]))


def processes(record: StackRecord) -> Table:
    """The processes of a stack that runs here: state, number of restarts, and the reason of the last one."""
    table = Table("process", "pid", "state", "restarts", "last reason", title="Processes")
    for name in sorted({*record.processes, *record.restarts}):
        known, restarts = record.processes.get(name), record.restarts.get(name)
        process = known.find() if known else None
        state = "ended" if process is None else _state(process)
        table.add_row(
            name,
            str(known.pid) if known and process else "",
            Text(state, style="" if state == "up" else "red"),
            str(restarts.total) if restarts else "0",
            Text(f"{datetime.fromtimestamp(restarts.at, UTC):%H:%M:%S} UTC: {restarts.reason}" if restarts else ""),
        )
    return table


def _state(process: psutil.Process) -> str:
    """Whether it runs; a process stopped by SIGSTOP is neither up nor ended."""
    try:
        return "stopped by a signal" if process.status() == psutil.STATUS_STOPPED else "up"
    except psutil.Error:
        return "ended"
