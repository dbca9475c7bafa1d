"""The parts of a version, as local paths for the models' loaders.

Knows a store and its manifests; nothing of what the parts compute.
"""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from models.conventions import UNSAID, Conventions
from models.scorer import Architecture
from models.store.store import ModelStore
from models.weights import PACKAGED


@dataclass(frozen=True, slots=True)
class Parts:
    """A version's parts: the encoder's weights, what is said of how it reads, and the folders of its other parts."""

    version: str | None = None
    architecture: Architecture = "late_interaction"
    weights: str = PACKAGED
    head: Path | None = None
    adapter: Path | None = None
    cross_encoder: Path | None = None
    ranker: Path | None = None
    said: Conventions = UNSAID


def parts(store: ModelStore, name: str) -> Parts:
    """Fetch and check a version and the encoder it uses.

    Parameters
    ----------
    name
        As :meth:`ModelStore.find` takes it: an id, its beginning, or a slot such as ``champion``.

    Raises
    ------
    models.store.errors.StoreError
        When there is no such version, or a file of it is missing or damaged.
    """
    version = store.find(name)
    manifest, folder = store.manifest(version), store.fetch(version)

    def part(name: str) -> Path | None:
        return folder / name if (folder / name).is_dir() else None

    return Parts(
        version,
        msgspec.convert(manifest.architecture, Architecture),
        store.encoder(version),
        head=part("head"),
        adapter=part("adapter"),
        cross_encoder=part("cross_encoder"),
        ranker=part("ranker"),
        said=manifest.conventions or UNSAID,
    )
