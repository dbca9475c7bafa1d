"""Faults of the system itself, from its processes' snapshots, and their alerts.

| alert | when |
|---|---|
| ``crash_loop`` | one named instance was restarted three times within five minutes |
| ``unreadable_partition`` | a process cannot go on reading a partition |
| ``model_failing`` | the champion gives no scores that can be ranked, and the version before serves |
| ``redis_paused`` | a role has waited for Redis for 30 s |
| ``role_silent`` | no process of a role has reported for a minute, while other roles report |

Pure: takes snapshots and a clock. Crash loops are counted only for named instances: without a name, several processes
that start on one host look like one that restarts.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from evaluator.monitoring.alerts.alert import ActiveAlerts, Alert
from evaluator.monitoring.alerts.restarts import WINDOW_S, Restarts
from streams.kafka.unreadable import NAME as UNREADABLE
from streams.kafka.unreadable import words
from streams.reporting import STARTED
from streams.telemetry.meter import Series, Snapshot

QUIET_MS = 15_000
"""A process that has not reported for so long does not count as live."""

PAUSED_MS = 30_000
SILENT_MS = 60_000

FORGOTTEN_MS = 3_600_000
"""A role that has been silent for so long counts as ended on purpose."""

MOST = 1_000
"""Most processes, and most instances, that are kept."""

GRAVE = frozenset({"crash_loop", "unreadable_partition", "model_failing"})
"""Alerts that make the page red. The page itself detects that Redis is away or that a role is silent."""


class SystemMonitor:
    """Keeps the processes' last snapshots, and derives faults and the alerts to publish.

    Parameters
    ----------
    window_s
        How long a restart counts.

    Examples
    --------
    >>> monitor = SystemMonitor()
    >>> labels = {"role": "worker", "instance": "worker-1", "host": "h", "last_words": "OSError: full"}
    >>> for now in (0, 5_000, 15_000, 35_000):
    ...     monitor.update(Snapshot(role="started", id=f"h-{now}", from_ms=now, to_ms=now, counts={}, gauges={},
    ...         sketches={}, labels=labels), now)
    >>> [(alert.name, alert.state, alert.summary) for alert in monitor.alerts(36_000)], monitor.alerts(37_000)
    ([('crash_loop', 'firing', 'worker-1 restarted 3 times in 31 s: OSError: full')], [])
    >>> monitor.update(Snapshot(role="worker", id="h-35000-1a2b", from_ms=335_000, to_ms=336_000, counts={}, gauges={},
    ...     sketches={}), 336_000)
    >>> [alert.state for alert in monitor.alerts(336_000)]
    ['resolved']
    """

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self.active = ActiveAlerts()
        self._window_s = window_s
        self._last: dict[tuple[str, str], Snapshot] = {}
        self._restarts: dict[tuple[str, str], tuple[Restarts, Snapshot]] = {}
        self._looping: dict[tuple[str, str], Alert] = {}
        self._paused: dict[str, int] = {}
        self._missing: dict[str, int] = {}

    def update(self, snapshot: Snapshot, now: int) -> None:
        """Take a snapshot in; one from the future counts as from now."""
        snapshot = msgspec.structs.replace(snapshot, to_ms=min(snapshot.to_ms, now))
        if snapshot.role == STARTED:
            self._started(snapshot)
        else:
            _keep(self._last, (snapshot.role, snapshot.id), snapshot)

    def get(self, now: int) -> list[Alert]:
        """All present faults, each as an alert that begins now."""
        for key in [key for key, last in self._last.items() if last.to_ms < now - FORGOTTEN_MS]:
            del self._last[key]
        live = [last for last in self._last.values() if last.to_ms > now - QUIET_MS]
        return [
            *self._loops(live, now),
            *_unreadable(live, now),
            *_failing(live, now),
            *self._pauses(live, now),
            *self._silent(live, now),
        ]

    def alerts(self, now: int) -> list[Alert]:
        """Alerts that began or ended since the last call, and those to be repeated."""
        wrong = self.get(now)
        alerts = [news for alert in wrong for news in self.active.fire(alert, now)]
        over = {alert.key for alert in self.active.get()} - {alert.key for alert in wrong}
        return alerts + [news for key in sorted(over) for news in self.active.resolve(key, now)]

    def _started(self, snapshot: Snapshot) -> None:
        labels = snapshot.labels
        if not (name := labels.get("instance")):
            return
        key = labels.get("role", ""), name
        restarts = Restarts(name, self._window_s)
        if known := self._restarts.get(key):
            restarts = known[0]
            restarts.update(snapshot.to_ms / 1000, labels.get("last_words", ""), snapshot.to_ms / 1000)
        _keep(self._restarts, key, (restarts, snapshot))

    def _loops(self, live: Sequence[Snapshot], now: int) -> Iterator[Alert]:
        """A process that waits long for its restart, as in Kubernetes, is in its loop until a run has lasted."""
        for (role, name), (restarts, last) in self._restarts.items():
            if restarts.looping(now / 1000):
                self._looping[role, name] = crash_loop(role, name, restarts, now / 1000, now)
            elif (role, name) in self._looping:
                lasted = last.to_ms < now - self._window_s * 1000
                if (
                    lasted and any(one.id.startswith(f"{last.id}-") for one in live)
                ) or last.to_ms < now - FORGOTTEN_MS:
                    del self._looping[role, name]
        yield from (alert for key, alert in self._looping.items() if key in self._restarts)

    def _pauses(self, live: Sequence[Snapshot], now: int) -> Iterator[Alert]:
        waiting = {one.role: one.labels.get("redis_pause", "") for one in live if one.gauges.get("redis_paused")}
        self._paused = {role: self._paused.get(role, now) for role in waiting}
        for role, why in sorted(waiting.items()):
            if (since := now - self._paused[role]) >= PAUSED_MS:
                summary = f"{role}: waits for Redis{f': {why}' if why else ''}"
                yield _alert("redis_paused", {"role": role}, summary, {"seconds": since // 1000, "why": why}, now)

    def _silent(self, live: Sequence[Snapshot], now: int) -> Iterator[Alert]:
        """Only while others report: if nobody does, Kafka is away."""
        missing = {role for role, _ in self._last} - {one.role for one in live} if live else set()
        self._missing = {role: self._missing.get(role, now) for role in missing}
        for role in sorted(missing):
            if now - self._missing[role] >= SILENT_MS:
                last = max(one.to_ms for one in self._last.values() if one.role == role)
                yield _alert("role_silent", {"role": role}, f"no {role} reports any more", {"last": last}, now)


def crash_loop(role: str, name: str, restarts: Restarts, clock_s: float, now: int) -> Alert:
    """The alert of a process in a loop, the same from a supervisor and from the metrics."""
    known = restarts.get(clock_s)
    evidence = {"restarts": known.lately, "seconds": round(known.span_s), "reason": known.reason}
    return _alert("crash_loop", {"role": role, "instance": name}, known.sentence, evidence, now)


def _unreadable(live: Sequence[Snapshot], now: int) -> Iterator[Alert]:
    stopped: dict[tuple[str, str], Series] = {}
    for snapshot in live:
        for one in snapshot.series:
            if one.name == UNREADABLE and words([one]):
                stopped.setdefault((one.labels["topic"], one.labels["partition"]), one)
    for (topic, partition), one in sorted(stopped.items())[:MOST]:
        summary = f"partition {words([one])[0]}"
        evidence = {"offset": one.labels["offset"], "error": one.labels["error"]}
        yield _alert("unreadable_partition", {"topic": topic, "partition": partition}, summary, evidence, now)


def _failing(live: Sequence[Snapshot], now: int) -> Iterator[Alert]:
    versions = {one.labels.get("model_failing", "") for one in live if one.gauges.get("model_failing")}
    for version in sorted(versions):
        count = sum(bool(one.gauges.get("model_failing")) for one in live)
        summary = f"the champion {version} yields nothing that can be ranked; the version before serves"
        yield _alert("model_failing", {"model": version}, summary, {"processes": count}, now)


def _alert(name: str, labels: dict[str, str], summary: str, evidence: dict[str, Any], now: int) -> Alert:
    return Alert(name=name, labels=labels, state="firing", summary=summary, evidence=evidence, since=now)


def _keep(held: dict[tuple[str, str], Any], key: tuple[str, str], value: Any) -> None:
    """Keep a value as the newest; drop the oldest of too many."""
    held.pop(key, None)
    held[key] = value
    if len(held) > MOST:
        del held[next(iter(held))]


READ_MS, CHUNK = 500, 200
