"""Prepares a trained scorer for the store: its folder and its description.

Knows training and the store's types; puts nothing into a store.
"""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from models.ranker import Linear, Ranker
from models.ranker import save as save_ranker
from models.store import Description, ModelStore
from models.store.manifest import OWN, Data
from models.store.parts import Parts
from models.training.examples import Example
from models.training.run import Trained
from models.weights import fingerprint, resolve


def save(
    trained: Trained, base: Parts, folder: Path, ranker: Ranker | None = None, first: Linear | None = None
) -> None:
    """Write all parts of the version that are its own, and the ranker by behaviour of the parts it started from, or
    another one of the same kind in its place.

    Parameters
    ----------
    ranker, first
        The ranker that takes the place, and what cuts candidates before it.
    """
    trained.save(folder)
    if base.ranker is not None:
        shutil.copytree(base.ranker, folder / "ranker")
    if ranker is not None:
        save_ranker(ranker, first, folder / "ranker")


def describe(
    store: ModelStore, base: Parts, trained: Trained, folder: Path, data: Data, notes: str = ""
) -> Description:
    """The description, for :meth:`ModelStore.put`, of a folder that :func:`save` wrote.

    Parameters
    ----------
    base
        The parts that training started from.
    """
    own = trained.method == "full"
    return Description(
        method=trained.method,
        architecture="cross_encoder" if trained.method == "cross_encoder" else "late_interaction",
        encoder=OWN if own else _shared(store, base),
        encoder_fingerprint=fingerprint(folder / "encoder" if own else resolve(base.weights)),
        conventions=trained.encoder.conventions,
        data=data,
        parent=base.version,
        metrics=trained.metrics | {f"{name}_s": value for name, value in trained.seconds.items()},
        calibration={"scale": trained.calibration.scale, "bias": trained.calibration.bias},
        notes=notes,
    )


def data_hash(examples: Sequence[Example]) -> str:
    """Sixteen hex digits over examples in their order."""
    return hashlib.blake2b(msgspec.json.encode(examples), digest_size=8).hexdigest()


def _shared(store: ModelStore, base: Parts) -> str:
    return base.weights if base.version is None else store.manifest(base.version).encoder
