"""A model that is bad on purpose: the champion's head with negated scores, so that its order is reversed.

Knows models and their store; nothing of the story.
"""

import tempfile
from pathlib import Path

import torch

from models.late_interaction import LateInteraction
from models.store import Description, ModelStore
from models.store.manifest import Data
from models.store.parts import Parts, parts
from models.store.slots import CHAMPION
from models.weights import fingerprint, resolve


def sabotage(store: ModelStore) -> str:
    """Put such a version into the store; returns its id."""
    current = store.slots.read(CHAMPION).current
    base = parts(store, current.version) if current else Parts()
    head = LateInteraction.load(base.head) if base.head else LateInteraction()
    with torch.no_grad():
        head.scale.neg_()
    with tempfile.TemporaryDirectory() as folder:
        head.save(Path(folder) / "head")
        about = Description(
            method="head",
            architecture="late_interaction",
            encoder=store.manifest(base.version).encoder if base.version else base.weights,
            encoder_fingerprint=fingerprint(resolve(base.weights)),
            conventions=base.said,
            data=Data("sabotage", examples=0),
            parent=base.version,
            notes="The champion's head with negated scores, on purpose.",
        )
        return store.put(Path(folder), about).id
