"""Keeps verified copies of a remote store's versions on this machine.

Knows a storage, a manifest and a folder to keep copies in; nothing of slots, nor of what a model computes.
"""

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path

from models.store import files
from models.store.errors import StoreError
from models.store.manifest import Manifest
from models.store.storage import Storage

PARTIAL = "part-"
STALE_S = 86_400.0


def default() -> Path:
    """``$XDG_CACHE_HOME/liveshelf/models``, by default under ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "liveshelf" / "models"


def fetch(storage: Storage, name: str, manifest: Manifest, cache: Path) -> Path:
    """The version's folder in the cache; downloaded if it is missing or damaged.

    A download is renamed into place after all hashes are checked, so an incomplete one is never seen. The files of a
    download that was killed are deleted by a download a day later.

    Parameters
    ----------
    name
        The version's folder in the storage.

    Raises
    ------
    StoreError
        When the storage's files do not match the manifest.
    """
    target = cache / manifest.id
    if target.is_dir() and _whole(target, manifest):
        return target
    files.compare(storage.sizes(name), manifest, storage.path(name))
    cache.mkdir(parents=True, exist_ok=True)
    _delete_stale(cache)
    partial = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=cache))
    try:
        for path in manifest.files:
            (partial / path).parent.mkdir(parents=True, exist_ok=True)
            storage.download(f"{name}/{path}", partial / path)
        files.verify(partial, manifest)
        if target.exists():
            _set_aside(target, cache)
        try:
            partial.rename(target)
        except OSError:  # somebody else's download was quicker
            files.verify(target, manifest)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _whole(folder: Path, manifest: Manifest) -> bool:
    if folder.is_symlink():
        return False
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    try:
        files.refuse_links(folder)
        files.compare(sizes, manifest, str(folder))
        files.verify(folder, manifest)
    except StoreError:
        return False
    return True


def _set_aside(folder: Path, cache: Path) -> None:
    """Rename a folder, then delete it: a process that reads it now keeps its open files."""
    aside = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=cache))
    with contextlib.suppress(FileNotFoundError):  # somebody else did
        folder.rename(aside / folder.name)
    shutil.rmtree(aside, ignore_errors=True)


def _delete_stale(cache: Path) -> None:
    """Delete the files of downloads that were killed."""
    for left in cache.glob(f"{PARTIAL}*"):
        with contextlib.suppress(FileNotFoundError):
            if left.stat().st_mtime < time.time() - STALE_S:
                shutil.rmtree(left, ignore_errors=True)
