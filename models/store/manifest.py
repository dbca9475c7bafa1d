"""A version's manifest: how it was made and from what, its metrics, and every file with its size and hash.

Converts values to JSON and back; knows the path of a manifest in a store, but no storage.
"""

import math
from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, Any

import msgspec

from models.conventions import Conventions
from models.store import ids
from models.store.errors import StoreError

FORMAT = 1
NAME = "manifest.json"
FOLDER = "versions"
LIBRARIES = ("torch", "transformers", "peft", "liveshelf")
"""Those that decide what a model's files mean."""
OWN = "own"
VERSION = "version:"

When = Annotated[datetime, msgspec.Meta(tz=True)]


class Data(msgspec.Struct, frozen=True):
    """The examples a version learned from: where they came from, how many, from when to when, and their hash."""

    source: str
    examples: int
    window_from: When | None = None
    window_to: When | None = None
    hash: str = ""


class File(msgspec.Struct, frozen=True):
    """One file's size in bytes and its SHA-256 in hexadecimal."""

    bytes: int
    sha256: str


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """The description of a version, given by the process that trained it.

    Attributes
    ----------
    method
        How it was trained, as in ``head``, ``lora``, ``full``; part of the version's id.
    architecture
        Which scorer its files make.
    encoder
        ``"own"``: the version's own ``encoder/``. Else the encoder it shares: ``"packaged"``, a folder or hub name as
        :func:`models.weights.resolve` takes them, or ``version:<id>`` of the version that carries it.
    encoder_fingerprint
        :func:`models.weights.fingerprint` of that encoder; items encoded by an equal one can be kept.
    conventions
        How that encoder reads texts; of versions from before they were kept, None: as its name or its files say.
    data
        Its training data.
    parent
        Id of the version it was trained from.
    metrics
        Measured on examples outside the training data, calibrated without the measured example; finite.
    calibration
        A JSON object, kept as it is.
    notes
        For people.

    Raises
    ------
    ValueError
        When a metric is not finite, which JSON could not carry.
    """

    method: str
    architecture: str
    encoder: str
    encoder_fingerprint: str
    data: Data
    conventions: Conventions | None = None
    parent: str | None = None
    metrics: dict[str, float] = {}
    calibration: dict[str, Any] = {}
    notes: str = ""

    def __post_init__(self) -> None:
        for name, value in self.metrics.items():
            if not math.isfinite(value):
                raise ValueError(f"metric {name} is {value}")


class Manifest(Description, frozen=True, kw_only=True):
    """A description, and what the store adds: id, time, library versions and all files by relative path."""

    format: int
    id: str
    created_at: When
    libraries: dict[str, str]
    files: dict[str, File]

    def __post_init__(self) -> None:
        super().__post_init__()
        for path in self.files:
            if not _inside(path):
                raise ValueError(f"file {path!r} is no plain relative path")

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(file.bytes for file in self.files.values())

    @property
    def carrier(self) -> str | None:
        """Id of the version that carries the encoder, this one's own included; None when it is outside the store."""
        return self.encoder.removeprefix(VERSION) if self.encoder.startswith(VERSION) else None


class _Format(msgspec.Struct):
    format: int


def folder_of(version: str) -> str:
    """The path of a version in a store; :class:`StoreError` if it is no id.

    Examples
    --------
    >>> folder_of("20261124-153000-head-1a2b3c4d")
    'versions/20261124-153000-head-1a2b3c4d'
    """
    return f"{FOLDER}/{ids.checked(version)}"


def path_of(version: str) -> str:
    """The path of a version's manifest in a store; a version without one does not exist."""
    return f"{folder_of(version)}/{NAME}"


def encode(manifest: Manifest) -> bytes:
    """As JSON that people can read."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def decode(data: bytes, where: str) -> Manifest:
    """Read what :func:`encode` wrote, also in a later release: unknown fields are ignored.

    Parameters
    ----------
    where
        The manifest's place, for messages.

    Raises
    ------
    StoreError
        When it is no manifest, or of a newer format than this release understands.
    """
    try:
        made = msgspec.json.decode(data, type=_Format).format
        if made > FORMAT:
            raise StoreError(
                f"{where} is of format {made}; this release of Liveshelf understands {FORMAT}. Use a newer release."
            )
        return msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError as error:  # of which a wrong field is one, too
        raise StoreError(f"{where} is no manifest: {error}. Restore it from a copy or delete its folder.") from error


def _inside(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return (
        bool(parts)
        and "/".join(parts) == path
        and not {"..", "/"} & set(parts)
        and "\\" not in path
        and path.isprintable()
    )
