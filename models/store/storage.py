"""Files under one fsspec URL: each write is atomic, and is safe on disk when it returns.

Knows paths and bytes; nothing of versions. Every name is relative to the URL, with forward slashes.
"""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import fsspec

from models.store.atomic import replacing, sync
from models.store.errors import StoreError

TEMPORARY = "tmp"
LOCK = "lock"


class Storage:
    """Any filesystem that fsspec knows. Object stores write an object atomically; they have no lock."""

    def __init__(self, fs: Any, root: str) -> None:
        self.fs = fs
        self.root = root.rstrip("/")

    def path(self, name: str) -> str:
        """A name as the filesystem knows it."""
        return f"{self.root}/{name}"

    def exists(self, name: str) -> bool:
        """Whether there is such a file.

        Raises
        ------
        OSError
            When the filesystem does not say, as where a network fails: that is no answer.
        """
        try:
            self.fs.info(self.path(name))  # fsspec's own `exists` takes every error for "no"
        except FileNotFoundError:
            return False
        return True

    def read(self, name: str) -> bytes:
        """A file's bytes; FileNotFoundError when it is not there."""
        return bytes(self.fs.cat_file(self.path(name)))

    def write(self, name: str, data: bytes) -> None:
        """Make or replace a file."""
        self.fs.pipe_file(self.path(name), data)

    def upload(self, source: Path, name: str) -> None:
        """Make or replace a file by a local one's copy."""
        self.fs.put_file(str(source), self.path(name))

    def download(self, name: str, target: Path) -> None:
        """Copy a file to a local one."""
        self.fs.get_file(self.path(name), str(target))

    def children(self, name: str) -> list[str]:
        """Names of what is directly in a folder, sorted; none when there is no such folder."""
        try:
            found = self.fs.ls(self.path(name), detail=False)
        except FileNotFoundError:
            return []
        return sorted(path.rstrip("/").rsplit("/", 1)[-1] for path in found)

    def sizes(self, name: str) -> dict[str, int]:
        """Bytes of every file in a folder at any depth, by relative path; for a file, its bytes under ``""``."""
        top = self.path(name)
        found = self.fs.find(top, detail=True)
        return {path[len(top) + 1 :]: int(info["size"]) for path, info in found.items()}

    def modified(self, name: str) -> float:
        """When a file, or any in a folder, was last written, in seconds since the epoch."""
        path = self.path(name)
        return max(float(self.fs.modified(one).timestamp()) for one in self.fs.find(path) or [path])

    def remove(self, name: str) -> None:
        """Delete a file, or a folder with all in it; no error if it does not exist: another process may be quicker."""
        with suppress(FileNotFoundError):
            self.fs.rm(self.path(name), recursive=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the storage's lock if it has one; this one has none."""
        yield


class LocalStorage(Storage):
    """A folder of this machine. The lock is the kernel's, so a process that dies never holds it."""

    def __init__(self, fs: Any, root: str) -> None:
        super().__init__(fs, root)
        self.folder = Path(self.root)

    def own(self, name: str) -> Path:
        """The path of a name, checked to contain no link below the folder; the folder itself may be a link.

        Raises
        ------
        StoreError
            When a part of the path is a link.
        """
        path = self.folder
        for part in PurePosixPath(name).parts:
            path /= part
            if path.is_symlink():
                raise StoreError(f"{path} is a link, and may lead anywhere. Put what it leads to in its place.")
        return path

    def read(self, name: str) -> bytes:
        """A file's bytes; FileNotFoundError when it is not there, StoreError when it is a link."""
        return self.own(name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        """Make or replace a file, by a rename."""
        self._place(BytesIO(data), name)

    def upload(self, source: Path, name: str) -> None:
        """Make or replace a file by a copy, by a rename."""
        with source.open("rb") as stream:
            self._place(stream, name)

    def _place(self, source: BinaryIO, name: str) -> None:
        """Write a file beside its place, sync it, then rename it: no reader ever sees a part of it."""
        target = self.folder / name
        with replacing(target, self.folder / TEMPORARY) as stream:
            shutil.copyfileobj(source, stream, 1 << 20)
        for folder in target.parents:
            sync(folder)
            if folder == self.folder:
                break

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder's lock; waits until it is free."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LOCK).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def connect(url: str) -> Storage:
    """The storage at a URL.

    Parameters
    ----------
    url
        A path, or ``file://``, ``memory://``, ``s3://`` and whatever else fsspec and its installed parts understand.

    Raises
    ------
    StoreError
        When no installed filesystem supports the URL; the message says what to install if that is known.

    Examples
    --------
    >>> connect("memory://shelf").path("slots")
    '/shelf/slots'
    """
    try:
        fs, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise StoreError(f"The model store {url} cannot be opened: {error}.") from error
    return LocalStorage(fs, root) if "file" in fs.protocol else Storage(fs, root)
