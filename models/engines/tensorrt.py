"""TensorRT engines through torch-tensorrt, for inputs of any shape up to the largest bucket.

Written for the interface of torch-tensorrt 2.14 and never run, because its libraries were not available. The code
around it is tested: the exported program, the shapes, the key, and the choice of another engine where it is absent.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from models.engines.buckets import Buckets
from models.engines.export import exported
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
    installed = {"cuda": torch.version.cuda, **versions(LIBRARIES)}
    properties: Mapping[str, object] = {**_device(device), **installed, **settings}
    digest.update(repr(sorted(properties.items(), key=lambda entry: entry[0])).encode())
    return digest.hexdigest()


def _device(device: torch.device) -> dict[str, object]:
    if device.type != "cuda":
        return {"device": device.type}
    return {"device": torch.cuda.get_device_name(device), "capability": torch.cuda.get_device_capability(device)}


CACHE_BYTES = 4 << 30


def library() -> ModuleType:
    """torch-tensorrt; raises ImportError, OSError or RuntimeError where it or TensorRT's libraries are absent."""
    import torch_tensorrt

    module: ModuleType = torch_tensorrt
    return module


def build(
    module: nn.Module, example: Sequence[torch.Tensor], device: torch.device, buckets: Buckets, cache: Path
) -> Any:
    """Build an engine, or load it from the cache.

    The module's own precision is kept: torch-tensorrt takes an engine's types from the weights.

    Parameters
    ----------
    example
        Inputs [rows, width] on the device, of two rows or more.
    cache
        Folder for engines and tuning times; :func:`models.engines.tensorrt.key` identifies an engine.
    """
    trt = library()
    largest = buckets.rows[-1], buckets.widths[-1]
    inputs = [
        trt.Input(
            min_shape=(1, buckets.widths[0]),
            opt_shape=(buckets.rows[len(buckets.rows) // 2], buckets.widths[len(buckets.widths) // 2]),
            max_shape=largest,
            dtype=one.dtype,
        )
        for one in example
    ]
    folder = cache / key(module, device, engine="tensorrt", buckets=buckets)
    folder.mkdir(parents=True, exist_ok=True)
    return trt.dynamo.compile(
        exported(module, example),
        arg_inputs=inputs,
        device=device,
        assume_dynamic_shape_support=True,
        timing_cache_path=str(folder / "timing.bin"),
        cache_built_engines=True,
        reuse_cached_engines=True,
        engine_cache_dir=str(folder),
        engine_cache_size=CACHE_BYTES,
        immutable_weights=False,  # engines are cached without weights, which are set on loading
    )
