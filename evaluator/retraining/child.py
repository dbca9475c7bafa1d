"""A run's process, from both ends: how a trainer starts and hears it, and what it does first.

It has a session, a niceness and a number of cores of its own, and dies with the trainer. Knows processes; nothing of
what is done in one.
"""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

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
