"""Versions that answer otherwise than the fresh one, and than each other: its weights, stirred a little.

Knows models and their store; for benchmarks and tests of how versions are changed.
"""

from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer

from models.late_interaction import LateInteraction
from models.store import Description, Manifest, ModelStore
from models.store.manifest import OWN, Data
from models.weights import PACKAGED, fingerprint, quiet, resolve

HEAD, ENCODER = 0.01, 0.002
"""Standard deviations of what is added to the weights."""


def stirred(store: ModelStore, folder: Path, seed: int, own: bool) -> Manifest:
    """Put a version with a head, and an encoder where it has its ``own``, that a seed has stirred."""
    generator = torch.Generator().manual_seed(seed)
    head = LateInteraction()
    _stir(head, generator, HEAD)
    head.save(folder / "head")
    if own:
        with quiet():
            model = AutoModel.from_pretrained(resolve(PACKAGED))
        _stir(model, generator, ENCODER)
        model.save_pretrained(folder / "encoder")
        AutoTokenizer.from_pretrained(resolve(PACKAGED)).save_pretrained(folder / "encoder")
    return store.put(
        folder,
        Description(
            method="full" if own else "head",
            architecture="late_interaction",
            encoder=OWN if own else PACKAGED,
            encoder_fingerprint=fingerprint(folder / "encoder" if own else resolve(PACKAGED)),
            data=Data("stirred weights", 0),
        ),
    )


def _stir(module: torch.nn.Module, generator: torch.Generator, size: float) -> None:
    with torch.no_grad():
        for weights in module.parameters():
            weights.add_(torch.randn(weights.shape, generator=generator) * size)
