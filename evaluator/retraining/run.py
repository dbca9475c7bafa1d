"""One run of this trainer from its order to its end: the folder, the child, the signs of life, what came of it.

Knows the book, the folder and the child's process; nothing of reasons to train, nor of what is done with the version.
"""

import asyncio
import logging
import shutil
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from evaluator.retraining import run_spec
from evaluator.retraining.child import UNUSABLE, Child
from evaluator.retraining.run_spec import ORDER, OUTCOME, Order, Outcome
from evaluator.retraining.run_store import Book
from evaluator.retraining.trigger import Held

log = logging.getLogger(__name__)

TRIES = 3
"""So often a job is started that leaves no outcome, whatever its exit code, before its run has failed."""

LEAVE_S = 1.0
"""How long a process that ends tries to say so of its run."""

Start = Callable[[], Awaitable[Child]]

State = Literal["running", "done", "failed", "over"]


class Round:
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

    def __init__(self, folder: Path, asked: Order, book: Book, start: Start) -> None:
        self.folder, self.order, self.book, self.start = folder, asked, book, start
        self.outcome: Outcome | None = None
        self.error = ""
        self._child: Child | None = None
        self._tries = 0
        self._beat_at = -1e9

    @classmethod
    async def begin(cls, runs: Path, asked: Order, book: Book, start: Start) -> "Round | list[Held]":
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
            self.outcome = await asyncio.to_thread(run_spec.read, self.folder / OUTCOME, Outcome)
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


def unfinished(runs: Path, id: str) -> Order | None:
    """The order of a run that was begun here; None where it was not."""
    return run_spec.read(runs / id / ORDER, Order)


def _make(folder: Path, asked: Order) -> None:
    folder.mkdir(parents=True)
    run_spec.write(folder / ORDER, asked)


def _keep_only(runs: Path, id: str) -> None:
    for folder in runs.iterdir():
        if folder.name != id:
            shutil.rmtree(folder)
