"""The learning loop: monitors, firing alerts, the trainer's present state and its reason, and past promotions.

Pure: takes the evaluators' and trainers' last snapshots, alerts and slots.
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec
from cachetools import FIFOCache

from evaluator.dashboard.panels.system import Held, SlotRow
from evaluator.monitoring.alerts.alert import Alert
from models.store.slots import CHALLENGER, CHAMPION
from streams.telemetry.meter import Snapshot

RISING = {"click_rate", "holdback", "unseen_items"}
"""Monitors that alarm at or above their limit; the statistic of the others is a p-value and alarms below it."""

MOST_MONITORS = 60


class MonitorRow(msgspec.Struct, frozen=True):
    """One monitor; ``near`` is 1 at the limit and larger beyond it, in either direction."""

    watch: str
    surface: str
    arm: str
    statistic: float
    limit: float
    alarm: bool
    rising: bool
    near: float


def monitor_rows(snapshots: Iterable[Snapshot]) -> list[MonitorRow]:
    """All monitors: those that alarm first, then those nearest to their limits.

    Examples
    --------
    >>> from streams.telemetry.meter import Series
    >>> def said(watch, statistic, limit, alarm=0):
    ...     labels = {"watch": watch, "surface": "feed", "arm": ""}
    ...     return [Series("drift_statistic", labels, statistic), Series("drift_limit", labels, limit),
    ...         Series("drift_alarm", labels, alarm)]
    >>> one = Snapshot(role="evaluator", id="e", from_ms=0, to_ms=1, counts={}, gauges={}, sketches={},
    ...     series=said("click_rate", 50, 100_000) + said("queries", 0.0005, 0.001, 1) + said("items", 0.5, 0.001))
    >>> [(row.watch, row.alarm, round(row.near, 4)) for row in monitor_rows([one])]
    [('queries', True, 2.0), ('items', False, 0.002), ('click_rate', False, 0.0005)]
    """
    nearest: dict[tuple[str, str, str], MonitorRow] = {}
    for snapshot in snapshots:
        parts: dict[tuple[str, str, str], dict[str, float]] = {}
        for series in snapshot.series:
            if series.name.startswith("drift_"):
                watch, surface, arm = (series.labels.get(label, "") for label in ("watch", "surface", "arm"))
                parts.setdefault((watch, surface, arm), {})[series.name.removeprefix("drift_")] = series.value
        for key, part in parts.items():
            row = _row(key, part)
            if row is not None and (key not in nearest or _order(row) < _order(nearest[key])):
                nearest[key] = row
    return sorted(nearest.values(), key=_order)[:MOST_MONITORS]


def _row(key: tuple[str, str, str], part: dict[str, float]) -> MonitorRow | None:
    statistic, limit = part.get("statistic", math.nan), part.get("limit", math.nan)
    if math.isnan(statistic) or math.isnan(limit):
        return None
    rising = key[0] in RISING
    over, under = (statistic, limit) if rising else (limit, statistic)
    near = over / under if under > 0 else math.inf
    return MonitorRow(*key, statistic, limit, bool(part.get("alarm")), rising, min(near, 1e12))


def _order(row: MonitorRow) -> tuple[bool, float, str, str, str]:
    return not row.alarm, -row.near, row.watch, row.surface, row.arm


MOST_TURNS = 12
What = Literal["promoted", "rolled back", "shadow", "canary"]


class Turn(msgspec.Struct, frozen=True):
    """A version that was promoted or started as challenger; ``ended`` is why it was removed, where that is known."""

    at: int
    what: What
    version: str
    share: float
    reason: str
    ended: str = ""


class LearningPanel(msgspec.Struct, frozen=True):
    """The loop's state; ``stage`` is empty where it is unknown. Times are epoch ms, None where there is none."""

    reports: bool
    stage: str
    progress: float
    champion: str
    champion_at: int | None
    challenger: str
    share: float
    new_examples: float | None
    runs_today: float
    trigger: str
    trigger_reason: str
    trigger_at: int | None
    held_back: str
    verdict: str
    verdict_sentence: str
    decision: str
    lately: list[Turn]


def learning_panel(trainers: Sequence[Snapshot], slots: Sequence[SlotRow]) -> LearningPanel:
    """The loop's state, from the slots and the last report of a trainer.

    Examples
    --------
    >>> slots = [SlotRow("champion", Held("m2", 7, "rolled back from m3: clicks fell", 1.0), []),
    ...     SlotRow("challenger", Held("m4", 9, "passed the gate", 0.1), [])]
    >>> found = learning_panel([], slots)
    >>> found.stage, found.challenger, found.share, found.champion_at
    ('canary', 'm4', 0.1, 7)
    >>> [(turn.at, turn.what, turn.version) for turn in found.lately]
    [(9, 'canary', 'm4'), (7, 'rolled back', 'm2')]
    """
    by_name = {row.slot: row for row in slots}
    champion, challenger = (by_name.get(name, SlotRow(name, None, [])) for name in (CHAMPION, CHALLENGER))
    last = max(trainers, key=lambda one: one.to_ms, default=None)
    labels, gauges = (last.labels, last.gauges) if last else ({}, {})
    stage = "" if challenger.current is None else "canary" if challenger.current.share else "shadow"
    return LearningPanel(
        reports=last is not None,
        stage=labels.get("stage", stage),
        progress=gauges.get("progress", 0.0),
        champion=champion.current.version if champion.current else labels.get("champion", ""),
        champion_at=champion.current.since if champion.current else _moment(gauges.get("champion_at")),
        challenger=challenger.current.version if challenger.current else labels.get("challenger", ""),
        share=challenger.current.share if challenger.current else gauges.get("canary_share", 0.0),
        new_examples=gauges.get("new_examples"),
        runs_today=gauges.get("runs_today", 0.0),
        trigger=labels.get("trigger", ""),
        trigger_reason=labels.get("trigger_reason", ""),
        trigger_at=_moment(gauges.get("trigger_at")),
        held_back=labels.get("held_back", ""),
        verdict=labels.get("verdict", ""),
        verdict_sentence=labels.get("verdict_sentence", ""),
        decision=labels.get("decision", ""),
        lately=_lately(champion, challenger),
    )


def _lately(champion: SlotRow, challenger: SlotRow) -> list[Turn]:
    """The newest changes of both slots, newest first."""
    found = [_promoted(one) for one in _all(champion)]
    for number, one in enumerate(_all(challenger)):
        ended = challenger.emptied if challenger.current is None and number == 0 else ""
        found.append(Turn(one.since, "canary" if one.share else "shadow", one.version, one.share, one.reason, ended))
    return sorted(found, key=lambda turn: -turn.at)[:MOST_TURNS]


def _promoted(one: Held) -> Turn:
    what: What = "rolled back" if one.reason.startswith("rolled back") else "promoted"
    return Turn(one.since, what, one.version, one.share, one.reason)


def _all(row: SlotRow) -> list[Held]:
    return [row.current, *row.before] if row.current else row.before


def _moment(ms: float | None) -> int | None:
    return int(ms) if ms else None


MOST_ALERTS = 200


class AlertRow(msgspec.Struct, frozen=True):
    """An alert, and when it was last published (epoch ms)."""

    key: str
    alert: Alert
    told: int


class AlertsPanel:
    """Firing alerts by key, and at most :data:`MOST_ALERTS` that have ended.

    Examples
    --------
    >>> from msgspec.structs import replace
    >>> fired = Alert(name="drop", labels={}, state="firing", summary="Fewer clicks", evidence={}, since=5)
    >>> alarms = AlertsPanel()
    >>> alarms.update(fired, 6)
    >>> [row.alert.state for row in alarms.get()]
    ['firing']
    >>> alarms.update(replace(fired, state="resolved", until=9), 9)
    >>> [(row.alert.state, row.told) for row in alarms.get()], alarms.firing
    ([('resolved', 9)], 0)
    """

    def __init__(self) -> None:
        self._firing: FIFOCache[str, AlertRow] = FIFOCache(MOST_ALERTS)
        self._ended: deque[AlertRow] = deque(maxlen=MOST_ALERTS)

    @property
    def firing(self) -> int:
        """Number of firing alerts."""
        return len(self._firing)

    def update(self, alert: Alert, at: int) -> None:
        """Take in an alert that was published at a moment."""
        row = AlertRow(alert.key, alert, at)
        self._firing.pop(row.key, None)
        if alert.state == "resolved":
            self._ended.append(row)
        else:
            self._firing[row.key] = row

    def get(self) -> list[AlertRow]:
        """Firing alerts, then ended ones, each newest first."""
        firing = sorted(self._firing.values(), key=lambda row: -row.alert.since)
        return [*firing, *reversed(self._ended)]
