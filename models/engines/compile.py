"""Makes a module ready for fast inference: chooses an engine by name, or by the device and the installed libraries.

Knows the engines and when each can serve; nothing of how TensorRT's is built.
"""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

from models.engines import openvino, tensorrt
from models.engines.buckets import Buckets

log = logging.getLogger(__name__)

EngineName = Literal["auto", "eager", "inductor", "tensorrt", "openvino"]


NARROW = Buckets(widths=(8, 16, 24, 32, 64, 96))
"""Shapes for OpenVINO, where a query alone takes the longer the wider its row is."""


class Compiled:
    """A module that is ready for inference; its outputs are the module's, up to rounding.

    Attributes
    ----------
    name
        The engine in use, never ``"auto"``.
    buckets
        Shapes that inputs are padded to; None where the engine needs no padding.
    """

    def __init__(
        self, name: EngineName, run: Callable[..., Any], fills: Sequence[int], buckets: Buckets | None = None
    ) -> None:
        self.name, self.buckets = name, buckets
        self._run, self._fills = run, fills

    @torch.inference_mode()
    def __call__(self, *inputs: torch.Tensor | None) -> torch.Tensor:
        """The output [rows, width, …] for inputs [rows, width]; only where there are no buckets, and the module can do
        without it, may one be None."""
        if self.buckets is None:
            output: torch.Tensor = self._run(*inputs)
            return output
        given = [one for one in inputs if one is not None]
        rows, width = given[0].shape
        output = self._run(*self.buckets.padded(given, self._fills))
        return output[:rows, :width]

    def warm_up(self, example: Sequence[torch.Tensor]) -> int:
        """Run each shape once, so that no request waits for a compiler; returns the number of shapes."""
        shapes = list(self.buckets.shapes()) if self.buckets else []
        for shape in shapes:
            self(*(one.new_zeros(shape) for one in example))
        return len(shapes)


def compile(
    module: nn.Module,
    example: Sequence[torch.Tensor],
    device: torch.device,
    *,
    engine: EngineName = "auto",
    fills: Sequence[int] | None = None,
    buckets: Buckets | None = None,
    cache: Path | None = None,
) -> Compiled:
    """Make a module ready for inference on a device.

    Parameters
    ----------
    module
        On the device and in the precision to compute in; maps tensors [rows, width] to one [rows, width, …].
    example
        Inputs on the device, of two rows or more.
    engine
        ``"auto"`` is TensorRT on CUDA and eager on a CPU, where eager was the fastest one measured
        (``docs/engines.md``). Where TensorRT is not available, inductor replaces it and one line is logged; eager
        replaces OpenVINO.
    fills
        The value that pads each input without an effect on the output; zeros by default.
    buckets
        Shapes for compiled engines.
    cache
        Folder for built engines, ``~/.cache/liveshelf/engines`` by default.

    Raises
    ------
    ValueError
        For an engine that does not exist.

    Examples
    --------
    >>> class Double(nn.Module):
    ...     def forward(self, numbers): return numbers * 2
    >>> double = compile(Double(), [torch.ones(2, 3)], torch.device("cpu"))
    >>> double.name, double(torch.ones(1, 2)).tolist()
    ('eager', [[2.0, 2.0]])
    """
    fills, buckets = fills or [0] * len(example), buckets or (NARROW if engine == "openvino" else Buckets())
    folder = cache or default_cache()
    if engine == "auto":
        engine = "tensorrt" if device.type == "cuda" else "eager"
    if engine == "tensorrt":
        try:
            return Compiled(engine, tensorrt.build(module, example, device, buckets, folder), fills, buckets)
        except (ImportError, OSError, RuntimeError) as error:
            log.warning("TensorRT cannot serve here (%s): inductor does", str(error).partition("\n")[0])
            engine = "inductor"
    if engine == "inductor":
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder / "inductor"))
        return Compiled(engine, torch.compile(module, dynamic=True), fills, buckets)
    if engine == "openvino":
        try:
            return Compiled(engine, openvino.build(module, example, buckets), fills, buckets)
        except (ImportError, OSError, RuntimeError) as error:
            advice = '. To have it: pip install "liveshelf[openvino]"' if isinstance(error, ImportError) else ""
            log.warning("OpenVINO cannot serve here (%s): eager does%s", str(error).partition("\n")[0], advice)
            engine = "eager"
    if engine == "eager":
        return Compiled(engine, module, fills)
    raise ValueError(f"there is no engine {engine!r}; there are {', '.join(get_args(EngineName))}")


def default_cache() -> Path:
    """``$XDG_CACHE_HOME/liveshelf/engines``, by default under ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "liveshelf" / "engines"
