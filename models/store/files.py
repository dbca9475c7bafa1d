"""Checks which files a version may have, and that they match its manifest.

Knows local folders and manifests; nothing of where else a version may be.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from models.store.errors import NotFoundError, StoreError
from models.store.manifest import NAME, File, Manifest
from models.weights import WeightsError, require_finite

PARTS = ("encoder", "adapter", "query_encoder", "head", "cross_encoder", "ranker")
REPORTS = frozenset({"gate.json", "trigger.json"})
"""Files that may be beside the parts: the reason for the version, and the gate's report."""
ALLOWED = frozenset({".safetensors", ".json", ".txt", ".md", ".model", ".jinja"})
PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"})
MEND = "Restore the file from a copy, or use another version."


def scan(folder: Path) -> dict[str, File]:
    """Size and hash of every file that a version made of this folder would have.

    Reads every byte, weights twice.

    Raises
    ------
    StoreError
        When the folder is not made of :data:`PARTS` with safetensors (a ranker may be text instead), has a file that
        may not be in a version, or weights that are not finite numbers.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from safetensors.numpy import save_file
    >>> with tempfile.TemporaryDirectory() as name:
    ...     (Path(name) / "head").mkdir()
    ...     save_file({"scale": np.ones(4, np.float32)}, Path(name) / "head" / "model.safetensors")
    ...     scan(Path(name))["head/model.safetensors"].bytes
    88
    """
    paths = sorted(_walk(folder))
    for path in paths:
        _allow(path, folder)
    parts = {PurePosixPath(path).parts[0] for path in paths} - REPORTS
    if not parts:
        raise StoreError(f"{folder} has none of the folders {', '.join(PARTS)}: there is nothing to put.")
    for part in sorted(parts):
        weights = (".safetensors", ".txt") if part == "ranker" else (".safetensors",)
        if not any(path.startswith(f"{part}/") and path.endswith(weights) for path in paths):
            raise StoreError(f"{folder / part} has no *.safetensors file; save it with save_pretrained.")
        try:
            require_finite(folder / part)
        except WeightsError as error:
            raise StoreError(f"{error}: this is no version to serve. Train it again.") from error
    return {path: File((folder / path).stat().st_size, digest(folder / path)) for path in paths}


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def compare(sizes: Mapping[str, int], manifest: Manifest, where: str) -> None:
    """Check that exactly the manifest's files exist, with their sizes; cheap, since no file is read.

    Parameters
    ----------
    sizes
        Bytes by path relative to the version's folder; the manifest itself may be among them.
    where
        The version's place, for messages.

    Raises
    ------
    StoreError
        When a file is missing, cut short or not in the manifest; the message names the first one.
    """
    for path in sorted(sizes.keys() - {NAME} - manifest.files.keys()):
        what = _pickle(path) or "is not in the manifest"
        raise StoreError(f"{where}/{path} {what}. It does not belong to the version; find out who put it there.")
    for path, file in manifest.files.items():
        if PurePosixPath(path).suffix.lower() not in ALLOWED:
            raise StoreError(f"{where}/{path} {_pickle(path) or 'is of no kind a version may have'}. Do not use it.")
        if path not in sizes:
            raise NotFoundError(f"{where}/{path} is missing. {MEND}")
        if sizes[path] != file.bytes:
            raise StoreError(f"{where}/{path} has {sizes[path]} bytes, its manifest says {file.bytes}. {MEND}")


def refuse_links(folder: Path) -> None:
    """Check that a version's folder holds only files and folders: a link's target would not be checked.

    Raises
    ------
    StoreError
        When there is a link; the message names the first one.
    """
    for parent, folders, names in os.walk(folder):
        for name in sorted((*folders, *names)):
            if (path := Path(parent) / name).is_symlink():
                raise StoreError(f"{path} is a link, and may lead anywhere. {MEND}")


def verify(folder: Path, manifest: Manifest) -> None:
    """Check the hash of every file; reads every byte once, about 0.1 s per 100 MB.

    Raises
    ------
    StoreError
        When a file's content has changed; the message names the first one.
    """
    for path, file in manifest.files.items():
        try:
            found = digest(folder / path)
        except OSError as error:
            raise StoreError(f"{folder / path} cannot be read: {error}. {MEND}") from error
        if found != file.sha256:
            raise StoreError(f"{folder / path} is not what was put: its SHA-256 is not its manifest's. {MEND}")


def _walk(folder: Path) -> list[str]:
    """Relative paths of all files; links are followed, since caches of downloaded models consist of links."""
    found = []
    for parent, _, names in os.walk(folder, followlinks=True):
        found += [(Path(parent) / name).relative_to(folder).as_posix() for name in names]
    return found


def _allow(path: str, folder: Path) -> None:
    if what := _pickle(path):
        raise StoreError(f"{folder / path} {what}. Save it as safetensors (save_pretrained does), then put it again.")
    if PurePosixPath(path).suffix.lower() not in ALLOWED:
        kinds = ", ".join(sorted(ALLOWED))
        raise StoreError(f"{folder / path} may not be in a version: only {kinds} may. Leave it out.")
    if path not in REPORTS and (PurePosixPath(path).parts[0] not in PARTS or "/" not in path):
        raise StoreError(f"{folder / path} is in none of the folders that make a version: {', '.join(PARTS)}.")


def _pickle(path: str) -> str | None:
    """Why a file must not be loaded."""
    if PurePosixPath(path).suffix.lower() in PICKLES:
        return "is a pickle, which can run code when it is loaded"
    return None
