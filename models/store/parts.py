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
    """A version's parts: the encoder's weights, what is said of how it reads, and the folders of its other parts.

    ``adapter`` is what encodes queries, if not the encoder: a peft adapter over it, or an encoder of its own.
    """

    version: str | None = None
    architecture: Architecture = "late_interaction"
    weights: str = PACKAGED
    head: Path | None = None
    adapter: Path | None = None
    cross_encoder: Path | None = None
    ranker: Path | None = None
    said: Conventions = UNSAID

    @classmethod
    def of(
        cls, folder: Path, architecture: Architecture, weights: str, said: Conventions, version: str | None = None
    ) -> "Parts":
        """Those that lie in a version's folder, beside the weights of an encoder."""

        def part(*names: str) -> Path | None:
            return next((folder / name for name in names if (folder / name).is_dir()), None)

        return cls(
            version,
            architecture,
            weights,
            head=part("head"),
            adapter=part("query_encoder", "adapter"),
            cross_encoder=part("cross_encoder"),
            ranker=part("ranker"),
            said=said,
        )


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
    architecture = msgspec.convert(manifest.architecture, Architecture)
    return Parts.of(folder, architecture, store.encoder(version), manifest.conventions or UNSAID, version)
