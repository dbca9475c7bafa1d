"""What a built engine depends on, as a short name for its folder: another model, device or library gets another.

Knows hashing; nothing of how engines are built.
"""

import hashlib
from collections.abc import Mapping

import torch
from torch import nn

from models.versions import versions

LIBRARIES = ("torch", "torch-tensorrt", "tensorrt", "transformers")


def key(module: nn.Module, device: torch.device, **settings: object) -> str:
    """Sixteen hex digits over the module's structure and weights, the device, library versions and settings.

    Reads every weight once, about 0.1 s per 100 MB.

    Examples
    --------
    >>> layer, cpu = nn.Linear(2, 2), torch.device("cpu")
    >>> key(layer, cpu) == key(layer, cpu), key(layer, cpu) == key(layer, cpu, precision="float16")
    (True, False)
    """
    digest = hashlib.blake2b(repr(module).encode(), digest_size=8)
    for name, weights in module.state_dict().items():
        digest.update(f"{name}{weights.dtype}{tuple(weights.shape)}".encode())
        digest.update(weights.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    known = {"cuda": torch.version.cuda, **versions(LIBRARIES)}
    facts: Mapping[str, object] = {**_device(device), **known, **settings}
    digest.update(repr(sorted(facts.items(), key=lambda fact: fact[0])).encode())
    return digest.hexdigest()


def _device(device: torch.device) -> dict[str, object]:
    if device.type != "cuda":
        return {"device": device.type}
    return {"device": torch.cuda.get_device_name(device), "capability": torch.cuda.get_device_capability(device)}
