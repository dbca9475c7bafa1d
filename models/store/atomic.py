"""Atomic writes of local files: whole or not at all, synced to disk.

Knows paths and bytes; nothing of what is in a file.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path, folder: Path | None = None) -> Iterator[BinaryIO]:
    """A file to write to; when the block ends it is synced to disk and stands at ``path``, in place of an older one.

    No reader ever sees a part of it. Where the block fails, nothing is left.

    Parameters
    ----------
    folder
        Where it is written, on the same filesystem; beside ``path`` by default.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "runs" / "a.txt"
    >>> with replacing(file) as stream:
    ...     _ = stream.write(b"whole")
    ...     file.exists()
    False
    >>> file.read_bytes(), len(list(file.parent.iterdir()))
    (b'whole', 1)
    """
    beside = path.parent if folder is None else folder
    for parent in (beside, path.parent):
        parent.mkdir(parents=True, exist_ok=True)
    temporary = beside / f"{uuid.uuid4().hex}.part"
    try:
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def write_whole(path: Path, content: bytes) -> None:
    """Make or replace a file, as :func:`replacing`."""
    with replacing(path) as stream:
        stream.write(content)


def sync(folder: Path) -> None:
    """Sync a folder, so that its entries survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
