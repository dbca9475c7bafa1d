"""What a running stack writes into its folder: a lock that one supervisor holds, and the addresses of everything.

The supervisor holds ``lock`` with flock, so the lock ends with it. ``stack.json`` can outlive it, and then names the
processes that a killed supervisor left. Knows nothing of how they are started.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import msgspec
import psutil

from evaluator.monitoring.alerts.restarts import Restarted
from streams.telemetry.masking import masked, masked_servers


class StackError(RuntimeError):
    """Something that the stack needs is missing or in the way; the message tells the user what to do."""


LEFTOVER_TIMEOUT_S = 10.0


class AlreadyRunningError(StackError):
    """Another supervisor holds the folder; the message names its process, its start, and its servers."""


class RunningProcess(msgspec.Struct, frozen=True):
    """A process, identified by its pid and its start (epoch seconds), since pids are reused."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> Self:
        """The process that has this pid now; psutil.NoSuchProcess if there is none."""
        return cls(pid, psutil.Process(pid).create_time())

    def find(self) -> psutil.Process | None:
        """The process while it lives, else None."""
        with suppress(psutil.Error):
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.started) < 1 and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None


class StackRecord(msgspec.Struct, frozen=True, kw_only=True):
    """``stack.json``: the servers' addresses, their supervisor, all processes, and the restarts of those that ended."""

    bootstrap_servers: str
    redis_url: str
    since: str
    supervisor: RunningProcess
    processes: dict[str, RunningProcess]
    restarts: dict[str, Restarted] = {}

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The record in a folder, also of an ended stack; None if there is no readable one."""
        try:
            return msgspec.json.decode((folder / "stack.json").read_bytes(), type=cls)
        except (OSError, ValueError, RecursionError):
            return None

    @classmethod
    def read_live(cls, folder: Path) -> Self | None:
        """The record of a stack that runs now."""
        record = cls.read(folder)
        return record if record and record.supervisor.find() else None

    def write(self, folder: Path) -> None:
        """Replace the file in one step; only its owner may read it, since the URL may hold a password."""
        new = folder / "stack.json.new"
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(self)))
        new.replace(folder / "stack.json")

    @staticmethod
    def remove(folder: Path) -> None:
        """Remove the file: the stack has ended."""
        (folder / "stack.json").unlink(missing_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock the folder for this process.

    Raises
    ------
    AlreadyRunningError
        When another process has locked it.
    StackError
        When the folder cannot be used.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a+")
    except OSError as error:
        raise StackError(f"The folder {folder} cannot be used: {error.strerror}. Choose another one.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise AlreadyRunningError(_holder(folder, lock.read())) from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()}, since {datetime.now(UTC).astimezone():%Y-%m-%d %H:%M:%S %Z}")
        lock.flush()
        yield


def _holder(folder: Path, who: str) -> str:
    record = StackRecord.read_live(folder)
    where = "its servers are still starting or already stopping"
    if record:
        where = f"Kafka is at {masked_servers(record.bootstrap_servers)}, Redis at {masked(record.redis_url)}"
    return (
        f"A stack is already running in {folder} ({who}); {where}. Commands run from here find it by themselves. "
        "Stop it with Ctrl-C where it runs, or start a second one in another folder: set LIVESHELF_STACK__FOLDER."
    )


def clear_leftovers(folder: Path) -> list[str]:
    """End the processes that a killed supervisor left, by pid, and return their names. Call it with the lock held.

    On Linux the kernel has already signalled them, and this only waits; on other systems they are signalled now.
    """
    record = StackRecord.read(folder)
    if record is None:
        return []
    found = {name: process for name, known in record.processes.items() if (process := known.find())}
    for process in found.values():
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, stubborn = psutil.wait_procs(list(found.values()), timeout=LEFTOVER_TIMEOUT_S)
    for process in stubborn:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(stubborn, timeout=LEFTOVER_TIMEOUT_S)
    StackRecord.remove(folder)
    return list(found)
