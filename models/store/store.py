"""The store: adds versions, finds them by name, returns them verified.

Knows files and manifests; nothing of what a model computes. Slots, experiments and clearing are in modules of their
own.
"""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from models.store import cache, files, ids
from models.store.errors import NotFoundError, StoreError
from models.store.experiments import Experiments
from models.store.files import PARTS
from models.store.manifest import (
    FOLDER,
    FORMAT,
    LIBRARIES,
    OWN,
    VERSION,
    Description,
    File,
    Manifest,
    decode,
    encode,
    folder_of,
    path_of,
)
from models.store.slots import Slots
from models.store.storage import LocalStorage, connect
from models.versions import versions


def utc_now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


class ModelStore:
    """Versions of models at a URL.

    Parameters
    ----------
    url
        A folder, or any URL that fsspec supports, such as ``s3://bucket/models`` if s3fs is installed.
    cache_folder
        Where copies of a remote store's versions are kept; ``~/.cache/liveshelf/models`` unless given.
    clock
        Returns the time.

    Raises
    ------
    StoreError
        When no installed filesystem supports the URL.

    Examples
    --------
    >>> import tempfile
    >>> from models.late_interaction import LateInteraction
    >>> from models.store.manifest import Data
    >>> about = Description(
    ...     method="head", architecture="late_interaction", encoder="packaged", encoder_fingerprint="0a1b2c3d",
    ...     data=Data("events", examples=300))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     LateInteraction().save(Path(folder) / "head")
    ...     made = ModelStore("memory://store-example").put(Path(folder), about)
    >>> sorted(made.files)
    ['head/config.json', 'head/model.safetensors']
    """

    def __init__(self, url: str, *, cache_folder: Path | None = None, clock: Callable[[], datetime] = utc_now) -> None:
        self.storage = connect(url)
        self.cache = cache_folder or cache.default()
        self.clock = clock
        self.slots = Slots(self.storage, clock)
        self.experiments = Experiments(self.storage)

    def put(self, folder: Path, description: Description) -> Manifest:
        """Copy a folder in as a new version.

        The manifest is written last, so a writer that dies adds no version; clearing deletes its files.

        Parameters
        ----------
        folder
            Has one or several of :data:`models.store.files.PARTS`. It is not changed.

        Raises
        ------
        StoreError
            When the folder has a file that may not be in a version, or names an encoder that is not there.
        """
        found = files.scan(folder)
        made = _manifest(description, found, self.clock())
        self._check_encoder(made)
        for path in found:
            self.storage.upload(folder / path, f"{folder_of(made.id)}/{path}")
        with self.storage.locked():
            self._check_encoder(made)  # checked again: it may have been cleared meanwhile, and its files too
            files.compare(self._sizes(made.id), made, self.storage.path(folder_of(made.id)))
            self.storage.write(path_of(made.id), encode(made))
        return made

    def ids(self) -> list[str]:
        """All versions, oldest first."""
        found = [name for name in self.storage.children(FOLDER) if ids.PATTERN.fullmatch(name)]
        return [name for name in found if self.storage.exists(path_of(name))]

    def manifest(self, version: str) -> Manifest:
        """A version's manifest.

        Raises
        ------
        StoreError
            When there is no such version, or its manifest is damaged or of a newer format.
        """
        path = path_of(version)
        try:
            found = decode(self.storage.read(path), self.storage.path(path))
        except FileNotFoundError:
            raise NotFoundError(f"There is no version {version} in {self.storage.root}.") from None
        if found.id != version:
            raise StoreError(f"{self.storage.path(path)} is of another version, {found.id}. Delete its folder.")
        return found

    def find(self, name: str) -> str:
        """The id of the version that a name means.

        Parameters
        ----------
        name
            An id, the beginning of one that no other has, or a slot such as ``champion``.

        Raises
        ------
        StoreError
            When no version or more than one is meant.
        """
        if name in self.slots.names() and (current := self.slots.read(name).current):
            return current.version
        meant = [version for version in self.ids() if name and version.startswith(name)]
        if len(meant) == 1 or name in meant:
            return name if name in meant else meant[0]
        if meant:
            raise StoreError(f"{name} may be any of {', '.join(meant)}. Give more of the id.")
        raise NotFoundError(
            f"No version in {self.storage.root} is called {name}, nor begins so, nor is there such a slot."
        )

    def fetch(self, version: str) -> Path:
        """A version's folder on this machine, with every file checked against its hash.

        For a local store it is the version's own folder: read it, never write to it.

        Raises
        ------
        StoreError
            When a file is missing, cut short, changed or not the version's; the message names it.
        """
        found, name = self.manifest(version), folder_of(version)
        if not isinstance(self.storage, LocalStorage):
            return cache.fetch(self.storage, name, found, self.cache)
        folder = self.storage.own(name)
        files.refuse_links(folder)
        files.compare(self._sizes(version), found, str(folder))
        files.verify(folder, found)
        return folder

    def encoder(self, version: str) -> str:
        """A version's encoder, as :func:`models.weights.resolve` takes it; fetched when it is in the store.

        Raises
        ------
        StoreError
            As :meth:`fetch`.
        """
        found = self.manifest(version)
        return str(self.fetch(found.carrier) / "encoder") if found.carrier else found.encoder

    def _sizes(self, version: str) -> dict[str, int]:
        return self.storage.sizes(folder_of(version))

    def _check_encoder(self, made: Manifest) -> None:
        if made.carrier is None or made.carrier == made.id:
            return
        carrier = self.manifest(made.carrier)
        if carrier.carrier != carrier.id:
            raise StoreError(f"{carrier.id} has no encoder of its own; name the one that it uses, {carrier.encoder}.")
        if carrier.encoder_fingerprint != made.encoder_fingerprint:
            found = f"{made.encoder_fingerprint}, but {carrier.id} carries {carrier.encoder_fingerprint}"
            raise StoreError(f"The version was made with an encoder of fingerprint {found}. Name the right one.")


def _manifest(description: Description, found: dict[str, File], at: datetime) -> Manifest:
    """The manifest of a version to be; its id has the hash of everything but the time, so equal ids are equal bytes."""
    own = any(path.startswith(f"{PARTS[0]}/") for path in found)
    if own != (description.encoder == OWN):
        there = "is" if own else "is no"
        raise StoreError(f"There {there} encoder/ in the folder, but the version is said to use {description.encoder}.")
    installed = versions(LIBRARIES)
    content = msgspec.json.encode((description, installed, found), order="deterministic")
    id = ids.make(at, description.method, hashlib.sha256(content).hexdigest())
    fields = msgspec.structs.asdict(description) | ({"encoder": f"{VERSION}{id}"} if own else {})
    return Manifest(**fields, format=FORMAT, id=id, created_at=at, libraries=installed, files=found)
