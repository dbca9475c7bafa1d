"""Which processes report, which versions are in which slots, and the system's health in one sentence.

Pure: takes the processes' last snapshots, and the slots of the topic ``liveshelf.models``.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from models.store.slots import Promotion, Slot
from streams.kafka.unreadable import words
from streams.serving.announcement import Announcement
from streams.telemetry.meter import Snapshot, latest

MOST_SLOTS = 50


class Held(msgspec.Struct, frozen=True):
    """A version that is or was in a slot, since when (epoch ms), why, and for which share of the shoppers."""

    version: str
    since: int
    reason: str
    share: float


class SlotRow(msgspec.Struct, frozen=True):
    """A slot: its current version, if any; its earlier versions, newest first; and why it was emptied, if it was."""

    slot: str
    current: Held | None
    before: list[Held]
    emptied: str = ""


class Slots:
    """The last record of each slot.

    Examples
    --------
    >>> slots = Slots()
    >>> from datetime import UTC, datetime
    >>> slots.update(("champion", Slot(Promotion("v2", datetime(2026, 11, 24, tzinfo=UTC), "better nDCG"))))
    >>> [(row.slot, row.current.version, row.current.reason) for row in slots.get()]
    [('champion', 'v2', 'better nDCG')]
    >>> slots.update(("champion", None))
    >>> slots.get()
    []
    """

    def __init__(self) -> None:
        self._slots: dict[str, Slot] = {}

    def update(self, announced: Announcement) -> None:
        """Take in an announcement; a slot whose record was removed is dropped."""
        name, slot = announced
        if slot is None:
            self._slots.pop(name, None)
        elif name in self._slots or len(self._slots) < MOST_SLOTS:
            self._slots[name] = slot

    def get(self) -> list[SlotRow]:
        """All slots by name."""
        return [
            SlotRow(
                name,
                _held(slot.current) if slot.current else None,
                [_held(one) for one in reversed(slot.history)],
                slot.emptied,
            )
            for name, slot in sorted(self._slots.items())
        ]


def _held(one: Promotion) -> Held:
    return Held(one.version, int(one.at.timestamp() * 1_000), one.reason, one.share)


FORGOTTEN_MS = 3_600_000
PROCESSES_KEPT = 500


class ProcessRow(msgspec.Struct, frozen=True):
    """One process; ``silent_s`` is the age of its last snapshot, ``next`` the model that it is switching to,
    ``trouble`` what it cannot do, as a sentence."""

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
        A process without a snapshot for so long does not count as alive.

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
        """Take a snapshot in; processes silent for an hour are dropped."""
        self._last[snapshot.role, snapshot.id] = snapshot
        if len(self._last) > PROCESSES_KEPT:
            del self._last[min(self._last, key=lambda key: self._last[key].to_ms)]

    def live(self, role: str, at: int) -> list[Snapshot]:
        """Last snapshots of a role's processes that were alive at a moment, one for each partition."""
        return latest(
            snapshot
            for (whose, _), snapshot in self._last.items()
            if whose == role and snapshot.to_ms > at - self.quiet_ms
        )

    def newest(self) -> int | None:
        """When the newest snapshot was taken."""
        return max((snapshot.to_ms for snapshot in self._last.values()), default=None)

    def get(self, now: int) -> list[ProcessRow]:
        """All processes that reported within the last hour, by role and id."""
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
    troubles = words(snapshot.series)[:1]
    if snapshot.gauges.get("model_failing"):
        troubles.append(f"model {snapshot.labels.get('model_failing', '')} yields nothing that can be ranked")
    if snapshot.gauges.get("redis_paused"):
        why = snapshot.labels.get("redis_pause", "")
        troubles.append(f"waits for Redis{f': {why}' if why else ''}")
    if snapshot.gauges.get("registry_paused"):
        troubles.append(f"waits for the schema registry: {snapshot.labels.get('registry_pause', '')}")
    return "; ".join(troubles)


BEHIND_S = 10.0
"""A backlog that takes longer than this at the present rate is a warning."""

RECENTLY_S = 300.0
"""A process that fell silent within this time is reported."""

SENTENCES = 3
"""Grave faults that are reported in full."""

Level = Literal["ok", "warn", "bad", "none"]


class Health(msgspec.Struct, frozen=True):
    """``level`` is ``none`` while nothing has ever reported; ``silent_s`` is the age of the newest snapshot."""

    level: Level
    sentence: str
    workers: int
    evaluators: int
    lag: float
    silent_s: float | None


def health(
    rows: Sequence[ProcessRow], events_per_s: float, firing: int, problem: str | None, grave: Sequence[str] = ()
) -> Health:
    """The health of the whole system.

    Parameters
    ----------
    rows
        All processes that reported within the last hour.
    events_per_s
        The workers' present rate.
    firing
        Number of firing alerts.
    problem
        Why the topics cannot be read; None if they can.
    grave
        Other faults that need a person now, such as a crash loop.

    Examples
    --------
    >>> row = ProcessRow("worker", "w1", True, 0.4, 0.0, False, "m1", "", 1.0, 10, 0)
    >>> health([row], 5.0, 0, None).sentence
    'No evaluator reports: nothing is measured. 1 worker and 0 evaluators up, lag 0 events, last snapshot 0 s ago.'
    >>> health([], 0.0, 0, "Kafka cannot be reached").sentence
    'Kafka cannot be reached. Nothing has reported within the last hour.'
    """
    live = [row for row in rows if row.alive]
    roles = ("worker", "evaluator", "trainer", "collector")
    workers, evaluators, *others = ([row for row in live if row.role == role] for role in roles)
    lag = sum(row.lag for row in workers)
    silent = min((row.silent_s for row in rows), default=None)
    if silent is None:
        prefix = f"{problem}. " if problem else ""
        sentence = f"{'. '.join([*_first(grave), f'{prefix}Nothing has reported within the last hour'])}."
        return Health("bad" if problem or grave else "none", sentence, 0, 0, 0.0, None)
    bad = [*([problem] if problem else []), *_first(grave)]
    if not live:
        bad.append("Everything is silent: no worker and no evaluator reports")
    elif not workers:
        bad.append("No worker reports: no shelf is made")
    elif not evaluators:
        bad.append("No evaluator reports: nothing is measured")
    if any(row.paused for row in live):
        bad.append("Redis is away: work waits for it")
    warn = [f"{_count(firing, 'alert')} firing"] if firing else []
    if lag > BEHIND_S * max(events_per_s, 1.0):
        delay = f"about {lag / events_per_s:,.0f} s" if events_per_s else "and nothing moves"
        warn.append(f"Workers are behind by {lag:,.0f} events, {delay}")
    for role, there in zip(roles, (workers, evaluators, *others), strict=True):
        lost = [row.silent_s for row in rows if row.role == role and not row.alive and row.silent_s < RECENTLY_S]
        if lost and (there or role in {"trainer", "collector"}):
            warn.append(f"{_count(len(lost), role)} silent for {min(lost):,.0f} s")
    up = " and ".join(_count(len(there), role) for role, there in (("worker", workers), ("evaluator", evaluators)))
    now = f"{up} up, lag {lag:,.0f} events, last" if live else "Last"
    last = f"{now} snapshot {silent:,.0f} s ago"
    level: Level = "bad" if bad else "warn" if warn else "ok"
    return Health(
        level, f"{'. '.join([*bad, *warn] or ['Healthy'])}. {last}.", len(workers), len(evaluators), lag, silent
    )


def _first(sentences: Sequence[str]) -> list[str]:
    """The first sentences, without their full stops, and the number of the others."""
    first = [f"{one[:1].upper()}{one[1:]}".removesuffix(".") for one in sentences[:SENTENCES]]
    more = len(sentences) - SENTENCES
    return [*first, f"And {more} more like these"] if more > 0 else first


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
