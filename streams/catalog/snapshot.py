"""Snapshots of a catalogue: files that all workers of a host map, so that they hold one copy, and a restart is short.

A snapshot is a folder of arrays, values and index files, and says up to which offsets of the embeddings topic it goes.
Generations are numbered. One process at a time writes one, in a child of its own, and renames it into place; a worker
opens the newest and maps its arrays privately, so that a page is copied only when an item in it changes. A generation
is removed when it is not the newest and nobody maps it. What is damaged, too old, or of another encoder, topic or
layout is ignored. Knows files and processes; what the arrays mean is the catalogue's.
"""

import contextlib
import fcntl
import gc
import hashlib
import logging
import os
import shutil
import signal
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)

Value = TypeVar("Value")

LAYOUT = 1
"""Changes whenever what a snapshot holds does: earlier ones are then ignored."""

KEPT_S = 12 * 3_600.0
"""Age up to which a snapshot is read. Kafka drops the record of a delete after ``delete.retention.ms``, a day by
default: who reads on from an earlier offset would not see it."""

ROOM = 4_096
"""Rows behind an array for new items, if a quarter more are not more. They take no space until they are written."""

UNCHECKED = "store.tokens"
"""The one array that is not read through before it is used, as it is two thirds of all bytes. No damage of it can do
more than give a wrong score."""

CHUNK_BYTES = 1 << 22


class SnapshotError(Exception):
    """A snapshot cannot be used, as the message says."""


class Stored(msgspec.Struct, frozen=True):
    """An array's file: its type, its rows with the room behind them, the shape of a row, how many of its bytes are not
    empty room, and their sum."""

    dtype: str
    rows: int
    row: list[int]
    checked: int
    sum: int


class Meta(msgspec.Struct, frozen=True):
    """What a snapshot says of itself. ``offsets`` are the next ones to read by partition, ``latest_ms`` the latest
    timestamp of the records before them; ``files`` the sizes and sums of the index files."""

    layout: int
    encoder: str
    topic: str
    items: int
    written_ms: int
    offsets: dict[int, int]
    latest_ms: dict[int, int]
    arrays: dict[str, Stored] = {}
    files: dict[str, tuple[int, int]] = {}
    values: dict[str, Any] = {}


class Writer:
    """Writes one snapshot into a folder; a `streams.catalog.columns.Sink`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._arrays: dict[str, Stored] = {}
        self._values: dict[str, Any] = {}

    def array(self, name: str, array: NDArray[Any], used: int, fill: float = 0) -> None:
        """The first ``used`` rows of an array; the room behind them is full of ``fill``."""
        room = np.full((_room(used), *array.shape[1:]), fill, array.dtype) if fill else None
        self._write(name, [array[:used]], room)

    def pieces(self, name: str, pieces: Sequence[NDArray[Any]]) -> None:
        """An array in pieces that follow each other, all of them used; the room behind them is full of zeros."""
        self._write(name, pieces, None)

    def value(self, name: str, value: object) -> None:
        """Anything that MessagePack can say."""
        self._values[name] = value

    def finish(self, meta: Meta) -> None:
        """Write the description, last of all, and wait until the disk has everything."""
        paths = [path for path in sorted(self.folder.rglob("*")) if path.is_file()]
        names = {path: str(path.relative_to(self.folder)) for path in paths}
        files = {name: _sum(path, path.stat().st_size) for path, name in names.items() if name not in self._arrays}
        whole = msgspec.structs.replace(meta, arrays=self._arrays, files=files, values=self._values)
        described = msgspec.msgpack.encode(whole)
        (self.folder / "meta").write_bytes(hashlib.blake2b(described, digest_size=16).digest() + described)
        for path in (*paths, self.folder / "meta", self.folder):
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)

    def _write(self, name: str, pieces: Sequence[NDArray[Any]], room: NDArray[Any] | None) -> None:
        kind, row = pieces[0].dtype, pieces[0].shape[1:]
        used = sum(len(piece) for piece in pieces)
        rows, row_bytes = used + _room(used), kind.itemsize * int(np.prod(row, dtype=np.int64))
        with (self.folder / name).open("wb") as file:
            for piece in (*pieces, *([] if room is None else [room])):
                step = max(1, CHUNK_BYTES // max(1, row_bytes))
                for start in range(0, len(piece), step):
                    file.write(np.ascontiguousarray(piece[start : start + step]).data.cast("B"))
            file.truncate(rows * row_bytes)
        checked = (used if room is None else rows) * row_bytes
        self._arrays[name] = Stored(kind.str, rows, list(row), *_sum(self.folder / name, checked))


class Snapshot:
    """An opened snapshot; a `streams.catalog.columns.Source`. Nobody removes it while this object lives.

    Raises
    ------
    SnapshotError
        When it is damaged, or of another layout.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self._held = Lock(folder / "mapped", shared=True)
            self.meta = _described(folder)
            self._check()
        except OSError as error:
            raise SnapshotError(f"it cannot be read: {error}") from error

    def array(self, name: str) -> NDArray[Any]:
        """An array with room behind it, mapped; changes stay in this process."""
        stored = self.meta.arrays[name]
        return np.memmap(self.folder / name, stored.dtype, "c", shape=(stored.rows, *stored.row)).view(np.ndarray)

    def value(self, name: str, kind: type[Value]) -> Value:
        """A value of a type."""
        return msgspec.convert(self.meta.values[name], kind)

    def close(self) -> None:
        """Let others remove it; what is mapped stays so."""
        self._held.close()

    def _check(self) -> None:
        for name, stored in self.meta.arrays.items():
            row_bytes = np.dtype(stored.dtype).itemsize * int(np.prod(stored.row, dtype=np.int64))
            if (self.folder / name).stat().st_size != stored.rows * row_bytes:
                raise SnapshotError(f"{name} has another size than was written")
            if name != UNCHECKED and _sum(self.folder / name, stored.checked)[1] != stored.sum:
                raise SnapshotError(f"{name} is damaged")
        for name, (size, total) in self.meta.files.items():
            path = self.folder / name
            if path.stat().st_size != size or _sum(path, size)[1] != total:
                raise SnapshotError(f"{name} is damaged")


class Lock:
    """A lock on a file, held by whoever has this object and by its children, until they close it or end."""

    def __init__(self, path: Path, shared: bool = False) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self.descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            self.close()
            raise

    @classmethod
    def free(cls, path: Path) -> "Lock | None":
        """The lock; None if another has it."""
        try:
            return cls(path)
        except OSError:
            return None

    def close(self) -> None:
        """Let go of it."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            self.close()


class Snapshots:
    """The snapshots of one encoder's catalogue of one topic.

    Parameters
    ----------
    folder
        Where all workers of the host keep snapshots.
    topic
        Which topic of which broker is followed; snapshots of another one are ignored.
    clock
        Epoch seconds.
    """

    def __init__(self, folder: Path, encoder: str, topic: str, clock: Callable[[], float] = time.time) -> None:
        self.root, self.encoder, self.topic, self.clock = folder, encoder, topic, clock
        digest = hashlib.blake2b("\0".join((encoder, topic)).encode(), digest_size=8).hexdigest()
        self.folder = folder / digest
        self._child: tuple[int, float, Path] | None = None
        self._refused = set[str]()

    def newest(self) -> Snapshot | None:
        """The newest snapshot that can be used; each newer one that cannot is logged."""
        for folder in self._generations():
            try:
                snapshot = Snapshot(folder)
                self._fit(snapshot.meta)
            except SnapshotError as error:
                self.refuse(folder, str(error))
            else:
                self._remove_old()
                return snapshot
        return None

    def refuse(self, folder: Path, why: str) -> None:
        """Log that a snapshot is ignored; from now on it counts as none."""
        log.warning("the catalogue's snapshot %s is ignored: %s", folder, why)
        self._refused.add(folder.name)

    def own_folder(self) -> tuple[Path, Lock]:
        """A new folder of this process for files that change, and the lock that keeps it.

        Those of processes that are gone are removed, whatever they followed.

        Raises
        ------
        OSError
            When nothing can be written there.
        """
        for path in self.root.glob("*/workers/*"):
            if (lock := Lock.free(path / "lock")) is not None:
                shutil.rmtree(path, ignore_errors=True)
                lock.close()
                with contextlib.suppress(OSError):  # not empty
                    path.parent.rmdir()
                    path.parent.parent.rmdir()
        while True:
            own = self.folder / "workers" / f"{os.getpid()}-{os.urandom(4).hex()}"
            own.mkdir(parents=True)
            if (lock := Lock.free(own / "lock")) is not None:
                return own, lock
            # another process took it for one that is left

    def age_s(self) -> tuple[int, float] | None:
        """The newest snapshot's generation and age in seconds; None if there is none that can be used."""
        for folder in self._generations()[:1]:
            with contextlib.suppress(OSError):
                if folder.name in self._refused:
                    return None
                return int(folder.name), self.clock() - (folder / "meta").stat().st_mtime
        return None

    def write(self, meta: Meta, prepare: Callable[[Path], None], save: Callable[[Writer], None]) -> bool:
        """Begin to write a snapshot in a child process; returns whether it was begun: no other process may write.

        Parameters
        ----------
        prepare
            Called here, with the folder of the snapshot to be.
        save
            Called in the child, which has a copy of this process's memory as of now, and none of its threads.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = Lock.free(self.folder / "writing")
        if lock is None:
            return False
        try:
            self._remove_leftovers()
            generation = 1 + max((int(path.name) for path in self._generations()), default=0)
            folder = self.folder / f"writing-{generation}"
            folder.mkdir()
            prepare(folder)
            with warnings.catch_warnings():
                # From Python 3.12 on a fork beside threads warns: the child may meet a lock that one of them held. This
                # one only reads memory and writes files, with no logging.
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
            if not pid:
                self._write_in_child(lock, folder, meta, save)
        finally:
            lock.close()
        self._child = pid, time.monotonic(), folder
        return True

    def written(self) -> bool:
        """Whether no snapshot is being written by this process; logs how the last one ended."""
        if self._child is None:
            return True
        pid, began, folder = self._child
        try:
            ended, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:  # it has ended; who ignores SIGCHLD is not told how
            ended, status = pid, 0
        if not ended:
            return False
        self._child = None
        if status:
            why = "error.txt"
            told = (folder / why).read_text() if (folder / why).exists() else f"the child ended with {status}"
            log.error("the catalogue's snapshot could not be written: %s", told)
        else:
            log.info("a snapshot of the catalogue was written in %.1f s", time.monotonic() - began)
        return True

    def stop(self) -> None:
        """End a child that is still writing; what it wrote is removed by the next writer."""
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(self._child[0], signal.SIGKILL)
                os.waitpid(self._child[0], 0)
            self._child = None

    def _write_in_child(self, lock: Lock, folder: Path, meta: Meta, save: Callable[[Writer], None]) -> None:
        """Write and end this process, whatever happens. Its parent's sockets are closed: they must end with it."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            gc.disable()  # it would write to the pages that are shared with the parent
            os.closerange(3, lock.descriptor)
            os.closerange(lock.descriptor + 1, 65_536)
            os.nice(19)
            writer = Writer(folder)
            save(writer)
            writer.finish(meta)
            folder.rename(self.folder / f"{int(folder.name.partition('-')[2]):08d}")
            self._remove_old()
            status = 0
        except BaseException as error:
            with contextlib.suppress(OSError):
                (folder / "error.txt").write_text(f"{type(error).__name__}: {error}")
        finally:
            os._exit(status)

    def _generations(self) -> list[Path]:
        """Whole snapshots, the newest first."""
        return _generations(self.folder)

    def _fit(self, meta: Meta) -> None:
        if (meta.encoder, meta.topic) != (self.encoder, self.topic):
            raise SnapshotError("it is of another encoder or topic")
        if (age_s := self.clock() - meta.written_ms / 1_000) > KEPT_S:
            raise SnapshotError(f"it is {age_s / 3_600:.0f} hours old")

    def _remove_leftovers(self) -> None:
        for path in self.folder.glob("writing-*"):
            shutil.rmtree(path, ignore_errors=True)

    def _remove_old(self) -> None:
        """Remove all generations but the newest, and those of other encoders that are too old to be read."""
        old = self._generations()[1:]
        for folder in self.root.iterdir():
            if folder != self.folder and folder.is_dir():
                old += [one for one in _generations(folder) if self.clock() - one.stat().st_mtime > KEPT_S]
        for folder in old:
            if (lock := Lock.free(folder / "mapped")) is not None:
                shutil.rmtree(folder, ignore_errors=True)
                lock.close()


def _generations(folder: Path) -> list[Path]:
    found = [path for path in folder.iterdir() if path.name.isdigit()] if folder.is_dir() else []
    return sorted(found, key=lambda path: int(path.name), reverse=True)


def _described(folder: Path) -> Meta:
    data = (folder / "meta").read_bytes()
    if hashlib.blake2b(data[16:], digest_size=16).digest() != data[:16]:
        raise SnapshotError("its description is damaged")
    try:
        if msgspec.msgpack.decode(data[16:], type=_Layout).layout != LAYOUT:
            raise SnapshotError("it is of another layout")
        return msgspec.msgpack.decode(data[16:], type=Meta)
    except msgspec.MsgspecError as error:
        raise SnapshotError(f"its description cannot be read: {error}") from error


class _Layout(msgspec.Struct):
    layout: int


def _room(used: int) -> int:
    return max(used // 4, ROOM)


def _sum(path: Path, size: int) -> tuple[int, int]:
    """The size, and the sum of so many bytes as 64-bit numbers: it finds what was cut off, zeroed or changed.

    Read, not mapped, so that a process has in its memory only what it uses.
    """
    total = np.uint64(0)
    buffer = np.zeros(CHUNK_BYTES // 8, np.uint64)
    raw = buffer.data.cast("B")
    with path.open("rb", buffering=0) as file, np.errstate(over="ignore"):
        left = size
        while left:
            count = file.readinto(raw[: min(left, len(raw))])
            if not count:
                raise SnapshotError(f"{path.name} is cut short")
            raw[count : count + (-count) % 8] = bytes((-count) % 8)
            total += buffer[: (count + 7) // 8].sum(dtype=np.uint64)
            left -= count
    return size, int(total)
