"""Which processes report, and what each last said of itself.

Pure: takes snapshots and a clock.
"""

import msgspec

from streams.kafka.unreadable import words
from streams.telemetry.meter import Snapshot, standing

FORGOTTEN_MS = 3_600_000
MOST = 500


class ProcessRow(msgspec.Struct, frozen=True):
    """One process; ``silent_s`` is the age of its last snapshot, ``next`` the model that it is changing to, ``trouble``
    what it cannot do, for people."""

    role: str
    id: str
    alive: bool
    silent_s: float
    lag: float
    paused: bool
    model: str
    next: str
    progress: float
    items: float | None
    behind: float
    trouble: str = ""


class Processes:
    """The last snapshot of each process.

    Parameters
    ----------
    quiet_ms
        After so long without a snapshot a process does not count as alive.

    Examples
    --------
    >>> processes = Processes(quiet_ms=15_000)
    >>> processes.update(Snapshot(role="worker", id="w1", from_ms=0, to_ms=1_000, counts={}, gauges={}, sketches={}))
    >>> [len(processes.live("worker", now)) for now in (2_000, 20_000)]
    [1, 0]
    >>> [(row.id, row.alive, row.silent_s) for row in processes.get(21_000)]
    [('w1', False, 20.0)]
    """

    def __init__(self, quiet_ms: int) -> None:
        self.quiet_ms = quiet_ms
        self._last: dict[tuple[str, str], Snapshot] = {}

    def update(self, snapshot: Snapshot) -> None:
        """Take a snapshot in; processes silent for an hour are forgotten."""
        self._last[snapshot.role, snapshot.id] = snapshot
        if len(self._last) > MOST:
            del self._last[min(self._last, key=lambda key: self._last[key].to_ms)]

    def live(self, role: str, at: int) -> list[Snapshot]:
        """Last snapshots of a role's processes that were alive at a moment, whose partitions no other has now."""
        return standing(
            snapshot
            for (whose, _), snapshot in self._last.items()
            if whose == role and snapshot.to_ms > at - self.quiet_ms
        )

    def newest(self) -> int | None:
        """When the last snapshot of all was taken."""
        return max((snapshot.to_ms for snapshot in self._last.values()), default=None)

    def get(self, now: int) -> list[ProcessRow]:
        """All that reported within the last hour, by role and id."""
        for key in [key for key, snapshot in self._last.items() if snapshot.to_ms < now - FORGOTTEN_MS]:
            del self._last[key]
        return [_row(self._last[key], now, self.quiet_ms) for key in sorted(self._last)]


def _row(snapshot: Snapshot, now: int, quiet_ms: int) -> ProcessRow:
    gauges, labels = snapshot.gauges, snapshot.labels
    return ProcessRow(
        snapshot.role,
        snapshot.id,
        snapshot.to_ms > now - quiet_ms,
        max(0.0, (now - snapshot.to_ms) / 1_000),
        gauges.get("lag", 0.0),
        bool(gauges.get("redis_paused")),
        labels.get("model", ""),
        labels.get("next", ""),
        gauges.get("switch_progress", 1.0),
        gauges.get("items"),
        gauges.get("items_behind", 0.0),
        _trouble(snapshot),
    )


def _trouble(snapshot: Snapshot) -> str:
    told = words(snapshot.series)[:1]
    if snapshot.gauges.get("model_failing"):
        told.append(f"model {snapshot.labels.get('model_failing', '')} yields nothing that can be ranked")
    if snapshot.gauges.get("redis_paused"):
        why = snapshot.labels.get("redis_pause", "")
        told.append(f"waits for Redis{f': {why}' if why else ''}")
    return "; ".join(told)
