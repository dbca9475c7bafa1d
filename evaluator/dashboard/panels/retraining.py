"""The learning loop: what the trainer does now and why, and what was promoted or taken back lately.

Pure: takes the trainers' last snapshots and the slots.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from evaluator.dashboard.panels.slots import Held, SlotRow
from models.store.slots import CHALLENGER, CHAMPION
from streams.telemetry.meter import Snapshot

MOST = 12

What = Literal["promoted", "rolled back", "shadow", "canary"]


class Turn(msgspec.Struct, frozen=True):
    """A version that came into charge, or before some of the shoppers; ``ended`` is why it is gone, if it was told."""

    at: int
    what: What
    version: str
    share: float
    reason: str
    ended: str = ""


class Loop(msgspec.Struct, frozen=True):
    """Where the loop stands; ``stage`` is empty where nobody says. Moments are epoch ms, None where there was none."""

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


def loop(trainers: Sequence[Snapshot], slots: Sequence[SlotRow]) -> Loop:
    """The loop as the trainer that reported last and the slots tell it.

    Examples
    --------
    >>> slots = [SlotRow("champion", Held("m2", 7, "rolled back from m3: clicks fell", 1.0), []),
    ...     SlotRow("challenger", Held("m4", 9, "passed the gate", 0.1), [])]
    >>> found = loop([], slots)
    >>> found.stage, found.challenger, found.share, found.champion_at
    ('canary', 'm4', 0.1, 7)
    >>> [(turn.at, turn.what, turn.version) for turn in found.lately]
    [(9, 'canary', 'm4'), (7, 'rolled back', 'm2')]
    """
    by_name = {row.slot: row for row in slots}
    champion, challenger = (by_name.get(name, SlotRow(name, None, [])) for name in (CHAMPION, CHALLENGER))
    last = max(trainers, key=lambda one: one.to_ms, default=None)
    labels, gauges = (last.labels, last.gauges) if last else ({}, {})
    told = "" if challenger.current is None else "canary" if challenger.current.share else "shadow"
    return Loop(
        reports=last is not None,
        stage=labels.get("stage", told),
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
    """The newest turns of both slots, the last one first."""
    found = [_promoted(one) for one in _all(champion)]
    for number, one in enumerate(_all(challenger)):
        ended = challenger.emptied if challenger.current is None and number == 0 else ""
        found.append(Turn(one.since, "canary" if one.share else "shadow", one.version, one.share, one.reason, ended))
    return sorted(found, key=lambda turn: -turn.at)[:MOST]


def _promoted(one: Held) -> Turn:
    what: What = "rolled back" if one.reason.startswith("rolled back") else "promoted"
    return Turn(one.since, what, one.version, one.share, one.reason)


def _all(row: SlotRow) -> list[Held]:
    return [row.current, *row.before] if row.current else row.before


def _moment(told: float | None) -> int | None:
    return int(told) if told else None
