"""One run of this trainer from its specification to its end: the folder, the child process, heartbeats, the result.

Holds both ends of the child: how a trainer starts it and reads its reports, and what it does first. Knows nothing of
training.
"""

import asyncio
import ctypes
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from evaluator.retraining import run_spec
from evaluator.retraining.run_registry import RunRegistry
from evaluator.retraining.run_spec import RESULT, SPEC, STARTED, RunResult, RunSpec
from evaluator.retraining.training_run import Hold

DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG."""

RETRY = 1
"""Exit code of a run that may succeed at another attempt, as of any process that ends by an error."""

UNUSABLE = 3
"""Exit code of a run that would fail at every attempt; the reason is in its last report."""


class Report(msgspec.Struct, frozen=True):
    """A child's report: the stage of its run, the share of the stage that is done, and the error of a failed run."""

    stage: str
    progress: float = 0.0
    error: str = ""


class Child:
    """A job's process, created by :meth:`start`. It loads its libraries, which takes seconds, and waits for a run."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.report = Report("training")
        self._reading = asyncio.create_task(self._read_reports())

    @classmethod
    async def start(cls, command: Sequence[str], threads: int) -> "Child":
        """Start a process by a command that reads a run's folder from its input."""
        cores = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")}
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | cores | {"TOKENIZERS_PARALLELISM": "false", PARENT: str(os.getpid())},
            start_new_session=True,
        )
        return cls(process)

    async def give(self, folder: Path) -> None:
        """Give it the folder of the run to do."""
        assert self._process.stdin is not None
        with suppress(ConnectionError):  # if it has ended meanwhile, its exit code shows it
            self._process.stdin.write(f"{folder}\n".encode())
            await self._process.stdin.drain()
        self._process.stdin.close()

    @property
    def exit_code(self) -> int | None:
        """As asyncio gives it; None while it runs or a report is still unread."""
        return self._process.returncode if self._reading.done() else None

    async def stop(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError):
            self._process.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._process.wait()
        await self._reading

    async def _read_reports(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            with suppress(msgspec.DecodeError):
                self.report = msgspec.json.decode(line, type=Report)
        await self._process.wait()


PARENT = "LIVESHELF_TRAINER_PID"


def set_up(niceness: int) -> None:
    """First call in the child: lower its priority, and make it end with the parent."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DEATH_SIGNAL, int(signal.SIGKILL))
        if os.getppid() != int(os.environ.get(PARENT, os.getppid())):
            sys.exit("the trainer is gone")
        with suppress(OSError):  # where the kernel groups processes by session, niceness is set for the group
            Path("/proc/self/autogroup").write_text(str(niceness))
    os.nice(niceness)


def given_folder() -> Path | None:
    """In the child: the folder of the run to do; None where the trainer needs none after all."""
    line = sys.stdin.readline().removesuffix("\n")
    return Path(line) if line else None


def report(stage: str, progress: float = 0.0, error: str = "") -> None:
    """In the child: write a report to the trainer."""
    sys.stdout.write(msgspec.json.encode(Report(stage, round(progress, 3), error)).decode() + "\n")
    sys.stdout.flush()


log = logging.getLogger(__name__)

TRIES = 3
"""Attempts without a result, whatever the exit code, after which a run has failed."""

STARTS = 2 * TRIES
"""Starts of a run's job by all trainers together, after which the run has failed. Else a job that ends its trainer, as
where memory runs out, would be started for ever."""

LEAVE_S = 1.0
"""How long an ending process tries to release its run."""

Start = Callable[[], Awaitable[Child]]
State = Literal["running", "done", "failed", "over"]


class TrainingRun:
    """A run that this process holds.

    Parameters
    ----------
    start
        Returns a job's process.

    Attributes
    ----------
    result
        The run's result, once it is done.
    error
        Why the run failed; until then, why its job was started again.
    """

    def __init__(self, folder: Path, spec: RunSpec, registry: RunRegistry, start: Start) -> None:
        self.folder, self.spec, self.registry, self.start = folder, spec, registry, start
        self.result: RunResult | None = None
        self.error = ""
        self._child: Child | None = None
        self._tries = 0
        self._beat_at = -1e9

    @classmethod
    async def begin(cls, runs: Path, spec: RunSpec, registry: RunRegistry, start: Start) -> "TrainingRun | list[Hold]":
        """Claim a run, create its folder and remove earlier folders; or return what holds the run back."""
        folder = runs / spec.id
        await asyncio.to_thread(_create, folder, spec)
        held = await registry.begin(spec.trigger, spec.id, spec.by)
        if held:
            await asyncio.to_thread(shutil.rmtree, folder)
            return held
        await asyncio.to_thread(_keep_only, runs, spec.id)
        return cls(folder, spec, registry, start)

    @property
    def stage(self) -> str:
        """The stage: training or gate."""
        return self._child.report.stage if self._child else "training"

    @property
    def progress(self) -> float:
        """Progress of the training, 0 to 1."""
        report = self._child.report if self._child else None
        return 0.0 if report is None else report.progress if report.stage == "training" else 1.0

    async def step(self) -> State:
        """Check once: start the job, or start it again, and send the run's heartbeat."""
        now = time.monotonic()
        if now - self._beat_at >= self.registry.config.lease_s / 8:
            if not await self.registry.beat(self.spec.id):
                await self.stop()
                return "over"
            self._beat_at = now
        if self._child is None:
            self.result = await asyncio.to_thread(run_spec.read, self.folder / RESULT, RunResult)
            if self.result is not None:
                return "done"
            starts = await asyncio.to_thread(run_spec.read, self.folder / STARTED, int) or 0
            if self._tries >= TRIES or starts >= STARTS:
                self.error = self.error or f"it was started {starts} times and left no outcome"
                return "failed"
            if self._tries:
                log.warning("run %s: %s; it goes on from what it left", self.spec.id, self.error)
            self._tries += 1
            await asyncio.to_thread(run_spec.write, self.folder / STARTED, starts + 1)
            self._child = await self.start()
            await self._child.give(self.folder)
        code = self._child.exit_code
        if code is None:
            return "running"
        self.error = self._child.report.error or f"its process ended with {code} and left no outcome"
        self._child = None
        return "failed" if code == UNUSABLE else "running"

    async def stop(self) -> None:
        """End the job at once; its files stay, to go on from."""
        if self._child is not None:
            await self._child.stop()
            self._child = None

    async def leave(self) -> None:
        """As :meth:`stop`, and release the run, so that a successor need not wait until this process counts as dead."""
        if self._child is not None:  # this start was broken off by us, and is no sign of a bad run
            starts = await asyncio.to_thread(run_spec.read, self.folder / STARTED, int) or 1
            await asyncio.to_thread(run_spec.write, self.folder / STARTED, starts - 1)
        await self.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await self.registry.release(self.spec.id)


def unfinished(runs: Path, id: str) -> RunSpec | None:
    """The specification of a run that was begun in this folder; None where it was not."""
    return run_spec.read(runs / id / SPEC, RunSpec)


def _create(folder: Path, spec: RunSpec) -> None:
    folder.mkdir(parents=True)
    run_spec.write(folder / SPEC, spec)


def _keep_only(runs: Path, id: str) -> None:
    for folder in runs.iterdir():
        if folder.name != id:
            shutil.rmtree(folder)
