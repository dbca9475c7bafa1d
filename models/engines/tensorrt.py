"""TensorRT engines through torch-tensorrt, for inputs of any shape up to the largest bucket.

Written to the interface of torch-tensorrt 2.14 and never run: its libraries could not be had where this was made. What
surrounds it (the exported program, the shapes, the key, the choice of another engine where it is absent) is tested.
"""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from models.engines.buckets import Buckets
from models.engines.export import exported
from models.engines.key import key

CACHE_BYTES = 4 << 30


def library() -> ModuleType:
    """torch-tensorrt; where it or TensorRT's libraries are absent it raises ImportError, OSError or RuntimeError."""
    import torch_tensorrt

    module: ModuleType = torch_tensorrt
    return module


def build(
    module: nn.Module, example: Sequence[torch.Tensor], device: torch.device, buckets: Buckets, cache: Path
) -> Any:
    """Build an engine, or take it from the cache.

    Numbers stay in the module's own precision: torch-tensorrt types engines by the weights it is given.

    Parameters
    ----------
    example
        Inputs [rows, width] on the device, of two rows or more.
    cache
        Folder for engines and tuning times; an engine is found again by :func:`models.engines.key.key`.
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
        immutable_weights=False,  # engines are kept without weights and get them when loaded
    )
