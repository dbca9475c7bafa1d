"""The files that a run reads: names, sizes and hashes, taken once when the run begins.

Knows files; nothing of what is in them. Names are told without their folders.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from evaluator.offline.spec import Spec
from evaluator.preparation.tables import DataError
from models.store.atomic import write_whole

FILE = "sources.json"


class DataFile(msgspec.Struct, kw_only=True, frozen=True):
    """A file that is read. ``role`` is ``data``, ``train`` or ``items``."""

    role: str
    name: str
    sha256: str
    bytes: int


def sources(spec: Spec, folder: Path) -> list[DataFile]:
    """The files as they were when the run of this folder began; it begins now where nothing is written yet."""
    file = folder / FILE
    if file.is_file():
        return msgspec.json.decode(file.read_bytes(), type=list[DataFile])
    found = [_described(role, path) for role, path in _paths(spec)]
    write_whole(file, msgspec.json.format(msgspec.json.encode(found)))
    return found


def require_unchanged(spec: Spec, folder: Path) -> None:
    """Refuse files that have changed since the run began: its results would be of two data sets.

    Raises
    ------
    DataError
        Where one has, or is gone.
    """
    for before, (role, path) in zip(sources(spec, folder), _paths(spec), strict=True):
        if not path.is_file():
            raise DataError(f"{path} is not there any more. Bring it back, or name another folder with --out.")
        if path.stat().st_size != before.bytes or _described(role, path) != before:
            raise DataError(
                f"{path} has changed since the evaluation in {folder} began. Bring the old file back, or evaluate the "
                f"new one in another folder with --out."
            )


def _paths(spec: Spec) -> Iterator[tuple[str, Path]]:
    named = (("data", spec.data), ("train", spec.train), ("items", spec.items))
    return ((role, Path(path)) for role, path in named if path)


def _described(role: str, path: Path) -> DataFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return DataFile(role=role, name=path.name, sha256=digest, bytes=path.stat().st_size)
