"""One run of this trainer from its specification to its end: the folder, the child process, its life signs, the result.

Holds both ends of the child: how a trainer starts and hears it, and what it does first. Knows nothing of training.
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
from evaluator.retraining.run_spec import ORDER, OUTCOME, RunResult, RunSpec
from evaluator.retraining.training_run import Hold

DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG."""

UNUSABLE = 3
"""Exit code of a run that would fail again however often it is tried; the reason is the last thing it said."""


class Said(msgspec.Struct, frozen=True):
    """How far a run is: its stage, the share of that which is done, and, at the end of one that failed, why."""

    stage: str
    progress: float = 0.0
    error: str = ""


class Child:
    """A job's process; made by :meth:`start`. It loads its libraries, which takes seconds, and waits for a run."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.said = Said("training")
        self._hearing = asyncio.create_task(self._hear())

    @classmethod
    async def start(cls, command: Sequence[str], threads: int) -> "Child":
        """Start one by a command that reads a run's folder from its input."""
        cores = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")}
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | cores | {"TOKENIZERS_PARALLELISM": "false", PARENT: str(os.getpid())},
            start_new_session=True,
        )
        return cls(process)

    async def make(self, folder: Path) -> None:
        """Let it make the run of a folder."""
        assert self._process.stdin is not None
        with suppress(ConnectionError):  # one that has ended meanwhile says so by its exit code
            self._process.stdin.write(f"{folder}\n".encode())
            await self._process.stdin.drain()
        self._process.stdin.close()

    @property
    def exit_code(self) -> int | None:
        """As asyncio gives it; None while it runs or something it said is not heard yet."""
        return self._process.returncode if self._hearing.done() else None

    async def stop(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError):
            self._process.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._process.wait()
        await self._hearing

    async def _hear(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            with suppress(msgspec.DecodeError):
                self.said = msgspec.json.decode(line, type=Said)
        await self._process.wait()


PARENT = "LIVESHELF_TRAINER_PID"


def settle(niceness: int) -> None:
    """First thing in the child: step back behind everybody else, and end with the parent."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DEATH_SIGNAL, int(signal.SIGKILL))
        if os.getppid() != int(os.environ.get(PARENT, os.getppid())):
            sys.exit("the trainer is gone")
        with suppress(OSError):  # where sessions share the processor among them, this is a session's niceness
            Path("/proc/self/autogroup").write_text(str(niceness))
    os.nice(niceness)


def asked() -> Path | None:
    """In the child: the folder of the run to make; None where the trainer needs none after all."""
    line = sys.stdin.readline().removesuffix("\n")
    return Path(line) if line else None


def say(stage: str, progress: float = 0.0, error: str = "") -> None:
    """In the child: tell the trainer."""
    sys.stdout.write(msgspec.json.encode(Said(stage, round(progress, 3), error)).decode() + "\n")
    sys.stdout.flush()


log = logging.getLogger(__name__)

TRIES = 3
"""So often a job is started that leaves no outcome, whatever its exit code, before its run has failed."""

LEAVE_S = 1.0
"""How long a process that ends tries to say so of its run."""

Start = Callable[[], Awaitable[Child]]
State = Literal["running", "done", "failed", "over"]


class TrainingRun:
    """A run that this process holds.

    Parameters
    ----------
    start
        Gives a job's process.

    Attributes
    ----------
    outcome
        What it made, once it is done.
    error
        Why it failed; until then, why its job was started again.
    """

    def __init__(self, folder: Path, asked: RunSpec, book: RunRegistry, start: Start) -> None:
        self.folder, self.order, self.book, self.start = folder, asked, book, start
        self.outcome: RunResult | None = None
        self.error = ""
        self._child: Child | None = None
        self._tries = 0
        self._beat_at = -1e9

    @classmethod
    async def begin(cls, runs: Path, asked: RunSpec, book: RunRegistry, start: Start) -> "TrainingRun | list[Hold]":
        """Claim a run and make its folder, and remove those of earlier ones; or say what speaks against it."""
        folder = runs / asked.id
        await asyncio.to_thread(_make, folder, asked)
        held = await book.begin(asked.trigger, asked.id, asked.by)
        if held:
            await asyncio.to_thread(shutil.rmtree, folder)
            return held
        await asyncio.to_thread(_keep_only, runs, asked.id)
        return cls(folder, asked, book, start)

    @property
    def stage(self) -> str:
        """Training or gate."""
        return self._child.said.stage if self._child else "training"

    @property
    def progress(self) -> float:
        """Of the training, 0 to 1."""
        said = self._child.said if self._child else None
        return 0.0 if said is None else said.progress if said.stage == "training" else 1.0

    async def step(self) -> State:
        """Look once: start the job, or start it again, and say that the run goes on."""
        now = time.monotonic()
        if now - self._beat_at >= self.book.config.lease_s / 8:
            if not await self.book.beat(self.order.id):
                await self.stop()
                return "over"
            self._beat_at = now
        if self._child is None:
            self.outcome = await asyncio.to_thread(run_spec.read, self.folder / OUTCOME, RunResult)
            if self.outcome is not None:
                return "done"
            if self._tries >= TRIES:
                return "failed"
            if self._tries:
                log.warning("run %s: %s; it goes on from what it left", self.order.id, self.error)
            self._tries += 1
            self._child = await self.start()
            await self._child.make(self.folder)
        code = self._child.exit_code
        if code is None:
            return "running"
        self.error = self._child.said.error or f"its process ended with {code} and left no outcome"
        self._child = None
        return "failed" if code == UNUSABLE else "running"

    async def stop(self) -> None:
        """End the job at once; what it left stays, to go on from."""
        if self._child is not None:
            await self._child.stop()
            self._child = None

    async def leave(self) -> None:
        """As :meth:`stop`, and give the run up: a successor need not wait until this process counts as silent."""
        await self.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await self.book.release(self.order.id)


def unfinished(runs: Path, id: str) -> RunSpec | None:
    """The order of a run that was begun here; None where it was not."""
    return run_spec.read(runs / id / ORDER, RunSpec)


def _make(folder: Path, asked: RunSpec) -> None:
    folder.mkdir(parents=True)
    run_spec.write(folder / ORDER, asked)


def _keep_only(runs: Path, id: str) -> None:
    for folder in runs.iterdir():
        if folder.name != id:
            shutil.rmtree(folder)
