"""The retraining loop, once a second: advance the rollout, else the current run, else check whether one may begin.

Combines triggers, runs and the rollout; knows nothing of Kafka, nor of how a run is done. One challenger at a time:
while one is in training, shadow or canary, no other run begins.
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
from evaluator.retraining.run_spec import RESULT, SOURCE, SPEC, RunResult, RunSpec
from evaluator.retraining.status import RetrainingStatus
from evaluator.retraining.store.archive import Archive
from evaluator.retraining.training_run import Trigger
from evaluator.retraining.triggers import TriggerInputs, decide, relevant_alerts, since
from evaluator.rollout.controller import Rollout
from models.store import ModelStore, StoreError
from models.store.errors import NotFoundError, transient
from models.store.slots import CHALLENGER, CHAMPION, Slot
from streams.clock import wall_ms
from streams.telemetry.meter import Meter, Snapshot

log = logging.getLogger(__name__)

ALARMED = ("click_rate", "drift")
"""The reasons that are alarms."""


class RetrainingController:
    """Decides what one trainer does, step by step.

    Parameters
    ----------
    by
        The trainer's name, the same after a restart; its unfinished run goes on if the run's folder is here.
    command
        Starts a process that does the run of the folder which it reads from its input.
    alerts
        Returns the alerts that fire at a moment (epoch ms).
    count
        Returns how many examples were seen from a moment on, including those that are not on disk yet.
    flush
        Writes all examples to disk.
    """

    def __init__(
        self,
        config: LoopConfig,
        by: str,
        command: Sequence[str],
        *,
        store: ModelStore,
        archive: Archive,
        registry: RunRegistry,
        rollout: Rollout,
        meter: Meter,
        alerts: Callable[[int], Sequence[Alert]],
        count: Callable[[int], Awaitable[int]],
        flush: Callable[[], Awaitable[None]],
    ) -> None:
        self.config, self.by, self.command = config, by, command
        self.store, self.archive, self.registry, self.rollout = store, archive, registry, rollout
        self.alerts, self.count, self.flush = alerts, count, flush
        self.folder = Path(config.learning.folder) / "runs"
        self.status = RetrainingStatus(meter)
        self.run: TrainingRun | None = None
        self._spare: Child | None = None
        self._onsets: dict[tuple[tuple[str, int], ...], int] = {}

    def restore_status(self) -> None:
        """Restore the status from the last run's files: its trigger and its result."""
        for folder in sorted(self.folder.glob("*")):
            if (spec := run_spec.read(folder / SPEC, RunSpec)) is not None:
                self.status.triggered(spec.trigger)
            if (result := run_spec.read(folder / RESULT, RunResult)) is not None:
                self.status.verdict(result)

    async def step(self, snapshots: Iterable[Snapshot]) -> None:
        """Decide once, and act.

        Raises
        ------
        StoreError, ExamplesError, OSError
            When the store or the disk fails; the next step tries again.
        """
        champion, challenger = [await asyncio.to_thread(self.store.slots.read, one) for one in (CHAMPION, CHALLENGER)]
        tick = await self.rollout.tick(snapshots, wall_ms())
        self.status.slots(champion, challenger)
        self.status.rollout(tick)
        runs, now = await self.registry.read()
        if self.run is None:
            await self._take_up(runs, now)
        if self.run is not None:
            await self._go_on(self.run, champion)
        else:
            await self._perhaps_begin(runs, champion, challenger, now)
        self.status.runs(runs, self.run, now)

    async def stop(self) -> None:
        """End the job; the run goes on when the trainer returns within its lease."""
        if self.run is not None:
            await self.run.leave()
        await self._prepare(None)

    async def _prepare(self, trigger: Trigger | None) -> None:
        """Start a run's process in advance when only the last of its examples are missing; else stop it."""
        soon = trigger is not None and 4 * trigger.examples >= self.config.triggers.least_examples
        if soon and trigger is not None and all(held.limit == "examples" for held in trigger.held_back):
            if self._spare is None:
                self._spare = await Child.start(self.command, self.config.learning.threads)
        elif self._spare is not None:
            await self._spare.stop()
            self._spare = None

    async def _child(self) -> Child:
        """A job's process: the one started in advance, or a new one."""
        spare, self._spare = self._spare, None
        if spare is not None and spare.exit_code is None:
            return spare
        return await Child.start(self.command, self.config.learning.threads)

    async def _take_up(self, runs: RunHistory, now: int) -> None:
        """Go on with a run of this trainer's predecessor, once that has ended. A run without a folder here is left
        alone: a trainer elsewhere with the same name does it, or it counts as over when its lease ends."""
        for run in runs.get():
            if run.by != self.by or run.end(now) is not None:
                continue
            spec = await asyncio.to_thread(unfinished, self.folder, run.id)
            if spec is not None and await self.registry.take(run.id, self.by):
                log.warning("run %s goes on", run.id)
                self.run = TrainingRun(self.folder / run.id, spec, self.registry, self._child)
                self.status.triggered(spec.trigger)

    async def _perhaps_begin(self, runs: RunHistory, champion: Slot, challenger: Slot, now: int) -> None:
        triggers, last = self.config.triggers, runs.trained
        alerts = relevant_alerts(self.alerts(wall_ms()), triggers)
        onset = await self._onset(alerts, runs)
        answered = last is not None and not any(one.since > last.began for one in alerts)
        examples = await self.count(max(last.through + 1 if last else 0, 0 if answered else onset))
        self.status.examples(examples)
        trigger = decide(triggers, TriggerInputs(alerts, examples), runs, now)
        if challenger.current is not None:
            return
        self.status.held(trigger)
        await self._prepare(trigger)
        if trigger is None or not trigger.go:
            return
        await self.flush()
        version = champion.current.version if champion.current else None
        spec = RunSpec(
            id=f"{datetime.fromtimestamp(now / 1000, UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}",
            by=self.by,
            trigger=trigger,
            champion=version,
            since=max(onset, await asyncio.to_thread(self._learned, version)),
        )
        begun = await TrainingRun.begin(self.folder, spec, self.registry, self._child)
        if isinstance(begun, TrainingRun):
            log.warning("run %s begins: %s, %d new examples", spec.id, trigger.summary, trigger.examples)
            self.run = begun
            self.status.triggered(trigger)

    async def _go_on(self, current: TrainingRun, champion: Slot) -> None:
        version = champion.current.version if champion.current else None
        own = current.result.version if current.result else None
        if version not in (current.spec.champion, own):
            await self._give_up(current, f"{version} became champion meanwhile, not {current.spec.champion}")
            return
        trigger = current.spec.trigger
        alerts = relevant_alerts(self.alerts(wall_ms()), self.config.triggers)
        if trigger.reason not in ALARMED and any(one.since > trigger.at for one in alerts):
            await self._give_up(current, "an alarm fires since it began: its examples are from before the change")
            return
        match await current.step():
            case "running":
                return
            case "over":
                log.warning("run %s is over or another's, nothing of it is used", current.spec.id)
                self.status.failed()
            case "failed":
                log.warning("run %s failed: %s", current.spec.id, current.error)
                await self.registry.end(current.spec.id, "failed")
                self.status.failed()
            case "done":
                if not await self._finish(current):
                    return
        self.run = None

    async def _finish(self, current: TrainingRun) -> bool:
        """Start the rollout first, then end the run: a trainer that dies between the two does both again. False where a
        disk or network did not let the rollout start: the next step tries again."""
        result = current.result
        assert result is not None
        log.warning("run %s made %s: %s", current.spec.id, result.version, result.sentence)
        if result.decision == "passed" and not await asyncio.to_thread(self._was_rolled_out, result.version):
            try:
                await self.rollout.begin(result.version, f"{current.spec.trigger.summary}; {result.sentence}")
            except (StoreError, OSError) as error:
                log.warning("%s is not rolled out: %s", result.version, error)
                if transient(error) and not isinstance(error, NotFoundError):
                    return False
        undecided = current.spec.trigger.examples if result.decision == "too_few" else 0
        if await self.registry.end(current.spec.id, "trained", result.through, undecided):
            self.status.verdict(result)
            self.status.trained(result)
        return True

    async def _give_up(self, current: TrainingRun, why: str) -> None:
        log.warning("run %s is given up: %s", current.spec.id, why)
        await current.stop()
        await self.registry.end(current.spec.id, "failed")
        self.status.failed()
        self.run = None

    async def _onset(self, alerts: Sequence[Alert], runs: RunHistory) -> int:
        """The onset of the firing alerts; computed once for the same alerts, with all examples on disk."""
        key = tuple((one.key, one.since) for one in alerts)
        if key not in self._onsets:
            await self.flush()
            closing_ms = int(self.config.closing_s * 1_000)
            found = await asyncio.to_thread(since, alerts, runs.trained, closing_ms, self.archive.back)
            self._onsets = {key: found}
        return self._onsets[key]

    def _learned(self, version: str | None) -> int:
        """The time (epoch ms) up to which the champion was trained on live examples; 0 where it was not."""
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
