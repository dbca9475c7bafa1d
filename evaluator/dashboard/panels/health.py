"""Is it healthy, in one sentence.

Pure: takes what the processes last said.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from evaluator.dashboard.panels.processes import ProcessRow

BEHIND_S = 10.0
"""Events that would take so long at the present pace are a backlog worth a warning."""
RECENTLY_S = 300.0
"""A process that fell silent within this time is told of."""

SENTENCES = 3
"""So many grave ones are told in full."""

Level = Literal["ok", "warn", "bad", "none"]


class Health(msgspec.Struct, frozen=True):
    """``level`` is ``none`` while nothing has ever reported; ``silent_s`` is the age of the last snapshot of all."""

    level: Level
    sentence: str
    workers: int
    evaluators: int
    lag: float
    silent_s: float | None


def judge(
    rows: Sequence[ProcessRow], events_per_s: float, firing: int, problem: str | None, grave: Sequence[str] = ()
) -> Health:
    """The state of the whole.

    Parameters
    ----------
    rows
        All processes that reported within the last hour.
    events_per_s
        How fast workers go at present.
    firing
        Alerts that fire.
    problem
        Why the topics cannot be read, if they cannot.
    grave
        What else needs a person now, as a process that crashes again and again.

    Examples
    --------
    >>> row = ProcessRow("worker", "w1", True, 0.4, 0.0, False, "m1", "", 1.0, 10, 0)
    >>> judge([row], 5.0, 0, None).sentence
    'No evaluator reports: nothing is measured. 1 worker and 0 evaluators up, lag 0 events, last snapshot 0 s ago.'
    >>> judge([], 0.0, 0, "Kafka cannot be reached").sentence
    'Kafka cannot be reached. Nothing has reported within the last hour.'
    """
    live = [row for row in rows if row.alive]
    roles = ("worker", "evaluator", "trainer")
    workers, evaluators, trainers = ([row for row in live if row.role == role] for role in roles)
    lag = sum(row.lag for row in workers)
    silent = min((row.silent_s for row in rows), default=None)
    if silent is None:
        told = f"{problem}. " if problem else ""
        sentence = f"{'. '.join([*_first(grave), f'{told}Nothing has reported within the last hour'])}."
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
        pace = f"about {lag / events_per_s:,.0f} s" if events_per_s else "and nothing moves"
        warn.append(f"Workers are behind by {lag:,.0f} events, {pace}")
    for role, there in zip(roles, (workers, evaluators, trainers), strict=True):
        lost = [row.silent_s for row in rows if row.role == role and not row.alive and row.silent_s < RECENTLY_S]
        if lost and (there or role == "trainer"):
            warn.append(f"{_count(len(lost), role)} silent for {min(lost):,.0f} s")
    up = " and ".join(_count(len(there), role) for role, there in (("worker", workers), ("evaluator", evaluators)))
    now = f"{up} up, lag {lag:,.0f} events, last" if live else "Last"
    told = f"{now} snapshot {silent:,.0f} s ago"
    level: Level = "bad" if bad else "warn" if warn else "ok"
    return Health(
        level, f"{'. '.join([*bad, *warn] or ['Healthy'])}. {told}.", len(workers), len(evaluators), lag, silent
    )


def _first(sentences: Sequence[str]) -> list[str]:
    """The first few as sentences to be joined with full stops."""
    told = [f"{one[:1].upper()}{one[1:]}".removesuffix(".") for one in sentences[:SENTENCES]]
    more = len(sentences) - SENTENCES
    return [*told, f"And {more} more like these"] if more > 0 else told


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
