"""The loop, once a second: roll out what is being rolled out, else go on with a run, else see whether one may begin.

Puts triggers, runs and the rollout together; knows nothing of Kafka, nor of how a run is made. One challenger at a
time: while one is trained, shadows or has shoppers, no other run begins.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from evaluator.monitoring.alerts.alert import Alert
from evaluator.retraining import run_spec
from evaluator.retraining.config import LoopConfig
from evaluator.retraining.run import Child, TrainingRun, unfinished
from evaluator.retraining.run_history import RunHistory
from evaluator.retraining.run_registry import RunRegistry
from evaluator.retraining.run_spec import ORDER, OUTCOME, SOURCE, RunResult, RunSpec
from evaluator.retraining.status import RetrainingStatus
from evaluator.retraining.store.archive import Archive
from evaluator.retraining.training_run import Trigger
from evaluator.retraining.triggers import TriggerInputs, asking, decide, since
from evaluator.rollout.controller import Rollout
from models.store import ModelStore, StoreError
from models.store.slots import CHALLENGER, CHAMPION, Slot
from streams.clock import wall_ms
from streams.telemetry.meter import Meter, Snapshot

log = logging.getLogger(__name__)

ALARMED = ("click_rate", "drift")
"""Reasons that are alarms."""


class RetrainingController:
    """What one trainer does, step by step.

    Parameters
    ----------
    by
        The trainer's name, the same after a restart: its unfinished run is taken up where its folder is.
    command
        Starts a process that makes the run of the folder which it is told.
    alerts
        Those that fire at a moment (epoch ms).
    count
        How many examples were seen from a moment on, those included that are not on disk yet.
    flush
        Puts all examples on disk.
    """

    def __init__(
        self,
        config: LoopConfig,
        by: str,
        command: Sequence[str],
        *,
        store: ModelStore,
        archive: Archive,
        book: RunRegistry,
        rollout: Rollout,
        meter: Meter,
        alerts: Callable[[int], Sequence[Alert]],
        count: Callable[[int], Awaitable[int]],
        flush: Callable[[], Awaitable[None]],
    ) -> None:
        self.config, self.by, self.command = config, by, command
        self.store, self.archive, self.book, self.rollout = store, archive, book, rollout
        self.alerts, self.count, self.flush = alerts, count, flush
        self.folder = Path(config.learning.folder) / "runs"
        self.standing = RetrainingStatus(meter)
        self.round: TrainingRun | None = None
        self._spare: Child | None = None
        self._onsets: dict[tuple[tuple[str, int], ...], int] = {}

    def recall(self) -> None:
        """Know again what the last run was for, and what came of it."""
        for folder in sorted(self.folder.glob("*")):
            if (asked := run_spec.read(folder / ORDER, RunSpec)) is not None:
                self.standing.triggered(asked.trigger)
            if (outcome := run_spec.read(folder / OUTCOME, RunResult)) is not None:
                self.standing.judged(outcome)

    async def step(self, snapshots: Iterable[Snapshot]) -> None:
        """Look once, and do what is to be done.

        Raises
        ------
        StoreError, ExamplesError, OSError
            When the store or the disk fails; the next step tries again.
        """
        champion, challenger = [await asyncio.to_thread(self.store.slots.read, one) for one in (CHAMPION, CHALLENGER)]
        tick = await self.rollout.tick(snapshots, wall_ms())
        self.standing.slots(champion, challenger)
        self.standing.rolled(tick)
        runs, now = await self.book.read()
        if self.round is None:
            await self._take_up(runs, now)
        if self.round is not None:
            await self._go_on(self.round, champion)
        else:
            await self._perhaps_begin(runs, champion, challenger, now)
        self.standing.runs(runs, self.round, now)

    async def stop(self) -> None:
        """End the job; the run goes on when the trainer comes back within its lease."""
        if self.round is not None:
            await self.round.leave()
        await self._prepare(None)

    async def _prepare(self, trigger: Trigger | None) -> None:
        """While a run waits for nothing but the last of its examples, its process waits with it, ready to begin."""
        soon = trigger is not None and 4 * trigger.examples >= self.config.triggers.least_examples
        if soon and trigger is not None and all(held.limit == "examples" for held in trigger.held_back):
            if self._spare is None:
                self._spare = await Child.start(self.command, self.config.learning.threads)
        elif self._spare is not None:
            await self._spare.stop()
            self._spare = None

    async def _child(self) -> Child:
        """A job's process: the one that waits, or a new one."""
        spare, self._spare = self._spare, None
        if spare is not None and spare.exit_code is None:
            return spare
        return await Child.start(self.command, self.config.learning.threads)

    async def _take_up(self, runs: RunHistory, now: int) -> None:
        """A run of this trainer's predecessor goes on, once that has ended. A run of which nothing is here is left
        alone: a trainer elsewhere that has the same name makes it, or it counts as over when its lease runs out."""
        for run in runs.get():
            if run.by != self.by or run.end(now) is not None:
                continue
            asked = await asyncio.to_thread(unfinished, self.folder, run.id)
            if asked is not None and await self.book.take(run.id, self.by):
                log.warning("run %s goes on", run.id)
                self.round = TrainingRun(self.folder / run.id, asked, self.book, self._child)
                self.standing.triggered(asked.trigger)

    async def _perhaps_begin(self, runs: RunHistory, champion: Slot, challenger: Slot, now: int) -> None:
        triggers, last = self.config.triggers, runs.trained
        alerts = asking(self.alerts(wall_ms()), triggers)
        onset = await self._onset(alerts, runs)
        answered = last is not None and not any(one.since > last.began for one in alerts)
        examples = await self.count(max(last.through + 1 if last else 0, 0 if answered else onset))
        self.standing.examples(examples)
        trigger = decide(triggers, TriggerInputs(alerts, examples), runs, now)
        if challenger.current is not None:
            return
        self.standing.held(trigger)
        await self._prepare(trigger)
        if trigger is None or not trigger.go:
            return
        await self.flush()
        version = champion.current.version if champion.current else None
        asked = RunSpec(
            id=f"{datetime.fromtimestamp(now / 1000, UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}",
            by=self.by,
            trigger=trigger,
            champion=version,
            since=max(onset, await asyncio.to_thread(self._learned, version)),
        )
        begun = await TrainingRun.begin(self.folder, asked, self.book, self._child)
        if isinstance(begun, TrainingRun):
            log.warning("run %s begins: %s, %d new examples", asked.id, trigger.summary, trigger.examples)
            self.round = begun
            self.standing.triggered(trigger)

    async def _go_on(self, current: TrainingRun, champion: Slot) -> None:
        in_charge = champion.current.version if champion.current else None
        made = current.outcome.version if current.outcome else None
        if in_charge not in (current.order.champion, made):
            await self._give_up(current, f"{in_charge} came into charge meanwhile, not {current.order.champion}")
            return
        asked = current.order.trigger
        alerts = asking(self.alerts(wall_ms()), self.config.triggers)
        if asked.reason not in ALARMED and any(one.since > asked.at for one in alerts):
            await self._give_up(current, "an alarm fires since: its examples tell of what was before")
            return
        match await current.step():
            case "running":
                return
            case "over":
                log.warning("run %s is over or another's, nothing of it is used", current.order.id)
                self.standing.failed()
            case "failed":
                log.warning("run %s failed: %s", current.order.id, current.error)
                await self.book.end(current.order.id, "failed")
                self.standing.failed()
            case "done":
                await self._finish(current)
        self.round = None

    async def _finish(self, current: TrainingRun) -> None:
        """Hand the version on first, then end the run: a trainer that dies between the two does it again."""
        outcome = current.outcome
        assert outcome is not None
        log.warning("run %s made %s: %s", current.order.id, outcome.version, outcome.sentence)
        if outcome.decision == "passed" and not await asyncio.to_thread(self._was_rolled_out, outcome.version):
            try:
                await self.rollout.begin(outcome.version, f"{current.order.trigger.summary}; {outcome.sentence}")
            except StoreError as error:
                log.warning("%s is not rolled out: %s", outcome.version, error)
        if await self.book.end(current.order.id, "trained", outcome.through):
            self.standing.judged(outcome)
            self.standing.trained(outcome)

    async def _give_up(self, current: TrainingRun, why: str) -> None:
        log.warning("run %s is given up: %s", current.order.id, why)
        await current.stop()
        await self.book.end(current.order.id, "failed")
        self.standing.failed()
        self.round = None

    async def _onset(self, alerts: Sequence[Alert], runs: RunHistory) -> int:
        """Counted once for the alerts that fire, with all examples on disk."""
        key = tuple((one.key, one.since) for one in alerts)
        if key not in self._onsets:
            await self.flush()
            closing_ms = int(self.config.closing_s * 1_000)
            found = await asyncio.to_thread(since, alerts, runs.trained, closing_ms, self.archive.back)
            self._onsets = {key: found}
        return self._onsets[key]

    def _learned(self, version: str | None) -> int:
        """Up to when (epoch ms) the champion has learned from live examples; 0 where it has not."""
        data = self.store.manifest(version).data if version else None
        if data is None or data.source != SOURCE or data.window_to is None:
            return 0
        return int(data.window_to.timestamp() * 1_000) + 1

    def _was_rolled_out(self, version: str) -> bool:
        """Whether a slot holds or held a version."""
        slots = [self.store.slots.read(name) for name in (CHAMPION, CHALLENGER)]
        return any(
            one is not None and one.version == version for slot in slots for one in (slot.current, *slot.history)
        )
