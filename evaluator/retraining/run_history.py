"""The runs: who may begin one, who holds one, what holds the next one back, and the last ones' outcomes.

Pure: takes runs, counts and a clock; :mod:`evaluator.retraining.run_registry` stores them where all trainers find them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from evaluator.retraining.config import TriggerConfig
from evaluator.retraining.training_run import Hold, Outcome, RunRecord, Trigger
from streams.clock import span

DAY_MS = 86_400_000


def held_back(config: TriggerConfig, runs: Sequence[RunRecord], examples: int, now: int) -> list[Hold]:
    """Everything that holds a run back now; empty for a go.

    Examples
    --------
    >>> done = RunRecord(id="1", by="t", reason="drift", began=0, until=9_000, ended=6_000)
    >>> [held.words for held in held_back(TriggerConfig(), [done], 50, 18 * 60_000 + 6_000)]
    ['cooldown: 12 min left', 'examples: 50 new ones, a run needs 2,000']
    >>> held_back(TriggerConfig(), [done], 2_000, 30 * 60_000 + 6_000)
    []
    """
    return [*_running(runs, now), *_cooldown(config, runs, now), *_budget(config, runs, now), *_few(config, examples)]


def _running(runs: Sequence[RunRecord], now: int) -> Iterator[Hold]:
    for run in runs:
        if run.end(now) is None:
            yield Hold(limit="running", words=f"running: {run.by} trains since {span(now - run.began)}")


def _cooldown(config: TriggerConfig, runs: Sequence[RunRecord], now: int) -> Iterator[Hold]:
    ends = [end for run in runs if (end := run.end(now)) is not None]
    until = max(ends, default=-math.inf) + config.cooldown_s * 1000
    if now < until:
        yield Hold(limit="cooldown", words=f"cooldown: {span(until - now)} left", until=math.ceil(until))


def _budget(config: TriggerConfig, runs: Sequence[RunRecord], now: int) -> Iterator[Hold]:
    begun = sorted(run.began for run in runs if now - run.began <= DAY_MS)
    if len(begun) >= config.runs_a_day:
        until = begun[-config.runs_a_day] + DAY_MS + 1
        words = f"budget: {len(begun)} of {config.runs_a_day} runs in 24 h, the next may begin in {span(until - now)}"
        yield Hold(limit="budget", words=words, until=until)


def _few(config: TriggerConfig, examples: int) -> Iterator[Hold]:
    if examples < config.least_examples:
        yield Hold(limit="examples", words=f"examples: {examples:,} new ones, a run needs {config.least_examples:,}")


SILENT = 4
"""A holder without a heartbeat for a lease divided by this, which is twice the time between heartbeats, has
ended."""

KEEP_MS = 2 * DAY_MS
"""Runs older than this are removed, except the last one and the last trained one."""


class RunHistory:
    """One run at a time, never inside the cooldown, never more than the budget in any 24 hours.

    A run belongs to its holder, a process that sends heartbeats; calls of other processes do not change it. A holder's
    id is unique to a process, even where names are shared.

    The clock never goes back here, so processes whose clocks differ break no limit; a clock that is ahead delays the
    others. The clock of the place where the runs are stored is the best one.

    Examples
    --------
    >>> runs = RunHistory(TriggerConfig())
    >>> trigger = Trigger(reason="schedule", summary="", evidence={}, at=0, examples=5_000)
    >>> runs.begin(trigger, "run-1", "trainer-1", "p1", 0)
    []
    >>> [held.words for held in runs.begin(trigger, "run-2", "trainer-2", "p2", 60_000)]
    ['running: trainer-1 trains since 60 s']
    >>> runs.end("run-1", "p2", 60_000, "failed")
    False
    >>> runs.beat("run-1", "p1", 60_000), runs.end("run-1", "p1", 90_000, "trained", through=7)
    (True, True)
    >>> [held.words for held in runs.held_back(5_000, 120_000)], runs.trained.through
    (['cooldown: 30 min left'], 7)
    """

    def __init__(self, config: TriggerConfig) -> None:
        self.config = config
        self._runs: dict[str, RunRecord] = {}
        self._clock = 0

    def begin(self, trigger: Trigger, id: str, by: str, holder: str, now: int) -> list[Hold]:
        """Claim a run, under an id that nobody else uses; a repeated call gives the same answer.

        Returns
        -------
        list of Hold
            What holds it back; when the list is empty, the run has begun.
        """
        now = self._now(now)
        if (known := self._runs.get(id)) is not None:
            over = known.end(now) is not None
            return [Hold(limit="over", words=f"over: run {id} has begun before and is over")] if over else []
        held = held_back(self.config, self.get(), trigger.examples, now)
        if not held:
            run = RunRecord(
                id=id, by=by, reason=trigger.reason, began=now, until=self._lease(now), holder=holder, heard=now
            )
            self._put(run, now)
        return held

    def beat(self, id: str, holder: str, now: int) -> bool:
        """Send a run's heartbeat; False when it counts as over or is another's, and the caller has to stop it."""
        now = self._now(now)
        return self._change(self._held(id, holder, now), now, until=self._lease(now), heard=now)

    def end(self, id: str, holder: str, now: int, outcome: Outcome, through: int = 0, undecided: int = 0) -> bool:
        """End a run; False when it counted as over before, or is another's, and its result must not be used.

        Parameters
        ----------
        undecided
            With how many new examples it began, where these were too few for the gate.
        """
        now = self._now(now)
        again = undecided + (self.trained.again if undecided and self.trained else 0)
        return self._change(self._held(id, holder, now), now, ended=now, outcome=outcome, through=through, again=again)

    def release(self, id: str, holder: str, now: int) -> bool:
        """Release a run, within its lease, for another process to go on with."""
        now = self._now(now)
        return self._change(self._held(id, holder, now), now, holder="")

    def take(self, id: str, by: str, holder: str, now: int) -> bool:
        """Go on with a run of a trainer of this name whose process has ended: it released the run, or sent no heartbeat
        for a lease divided by :data:`SILENT`. False where it may be alive."""
        now = self._now(now)
        run = self._going_on(id, now)
        if run is None or run.by != by or (run.holder not in ("", holder) and now < run.heard + self._span() / SILENT):
            return False
        return self._change(run, now, holder=holder, until=self._lease(now), heard=now)

    def held_back(self, examples: int, now: int) -> list[Hold]:
        """What would hold a run back now; changes nothing."""
        return held_back(self.config, self.get(), examples, self._now(now))

    @property
    def trained(self) -> RunRecord | None:
        """The last run that was trained to its end; only such a run answers a reason."""
        return next((run for run in reversed(self._runs.values()) if run.outcome == "trained"), None)

    def get(self) -> Sequence[RunRecord]:
        """Runs of the last days, in their order."""
        return list(self._runs.values())

    def save(self) -> dict[str, Any]:
        """The runs as plain values."""
        return {"clock": self._clock, "runs": [msgspec.to_builtins(run) for run in self._runs.values()]}

    @classmethod
    def load(cls, config: TriggerConfig, saved: Mapping[str, Any]) -> "RunHistory":
        """Go on from what :meth:`save` gave; an empty mapping gives no runs."""
        runs = cls(config)
        runs._clock = int(saved.get("clock", 0))
        runs._runs = {run.id: run for run in msgspec.convert(saved.get("runs", []), list[RunRecord])}
        return runs

    def _now(self, now: int) -> int:
        return max(now, self._clock)

    def _span(self) -> int:
        return math.ceil(self.config.lease_s * 1000)

    def _lease(self, now: int) -> int:
        return now + self._span()

    def _going_on(self, id: str, now: int) -> RunRecord | None:
        run = self._runs.get(id)
        return run if run is not None and run.end(now) is None else None

    def _held(self, id: str, holder: str, now: int) -> RunRecord | None:
        run = self._going_on(id, now)
        return run if run is not None and run.holder == holder else None

    def _change(self, run: RunRecord | None, now: int, **changes: Any) -> bool:
        """Whether there is anything to change."""
        if run is not None:
            self._put(msgspec.structs.replace(run, **changes), now)
        return run is not None

    def _put(self, run: RunRecord, now: int) -> None:
        self._runs[run.id], self._clock = run, now
        kept = {next(reversed(self._runs)), self.trained.id if self.trained else ""}
        self._runs = {id: one for id, one in self._runs.items() if id in kept or (one.end(now) or now) > now - KEEP_MS}
