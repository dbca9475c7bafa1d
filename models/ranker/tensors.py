"""Reads tensors of a file that may be damaged."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.weights import WeightsError


def read_tensors(path: Path, shapes: Mapping[str, tuple[int | None, ...]]) -> dict[str, npt.NDArray[Any]]:
    """A safetensors file's arrays, all finite; a size of None may be any.

    Raises
    ------
    WeightsError
        When the file cannot be read, or an array is missing, of another shape, or not finite.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        found: dict[str, npt.NDArray[Any]] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read: {error}") from error
    for name, shape in shapes.items():
        if name not in found:
            raise WeightsError(f"{path} has no tensor {name}")
        there = found[name].shape
        if len(there) != len(shape) or any(size not in (None, real) for size, real in zip(shape, there, strict=True)):
            raise WeightsError(f"{path} has {name} of shape {there}, not {shape}")
        if not np.isfinite(found[name].astype(np.float32)).all():
            raise WeightsError(f"{path} holds weights that are not finite numbers, in {name}")
    return found
