"""OpenVINO on a CPU: linear layers with int8 weights, a scale for each output, and activations quantised at each call.

A pass of a few tokens waits for weights to come from memory: int8 ones are a quarter of float32's. Knows modules and
shapes; nothing of texts.
"""

import threading
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import nn
from torch.nn.functional import linear

from models.engines.buckets import Buckets
from models.engines.export import exported

GROUP = 128
"""So many activations of a token share a scale."""

ALONE = 32
"""Up to this width a row alone has a program of its own shape, which takes about a quarter less time than one of any
shape, 0.4 s to compile, and its own copy of the int8 weights."""


class Int8Linear(nn.Module):
    """A linear layer with int8 weights and one scale for each output, written so that OpenVINO keeps them int8.

    Examples
    --------
    >>> layer = nn.Linear(2, 1)
    >>> with torch.no_grad():
    ...     _ = layer.weight.copy_(torch.tensor([[1.27, 0.5]])), layer.bias.zero_()
    >>> Int8Linear(layer).weight.tolist(), round(Int8Linear(layer)(torch.ones(1, 2)).item(), 2)
    ([[127, 50]], 1.77)
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight = layer.weight.detach().float()
        scale = (weight.abs().amax(1, keepdim=True) / 127).clamp_min(1e-9)
        self.register_buffer("weight", (weight / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach().float())

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """float32 [..., in] to [..., out]."""
        weight = self.get_buffer("weight").to(torch.float32) * self.get_buffer("scale")
        answer: torch.Tensor = linear(values, weight)
        return answer if self.bias is None else answer + self.get_buffer("bias")


def quantised(module: nn.Module) -> nn.Module:
    """A copy of a module in float32 whose linear layers have int8 weights."""
    copied = deepcopy(module).float()
    for name, child in list(copied.named_modules()):
        if isinstance(child, nn.Linear):
            parent, _, own = name.rpartition(".")
            setattr(copied.get_submodule(parent), own, Int8Linear(child))
    return copied


def build(module: nn.Module, example: Sequence[torch.Tensor], buckets: Buckets) -> Callable[..., torch.Tensor]:
    """A module as OpenVINO's programs: one of any shape, and those of :data:`ALONE`.

    Parameters
    ----------
    module
        On the CPU; maps tensors [rows, width] to one [rows, width, …].

    Raises
    ------
    ImportError
        Where OpenVINO is not installed.
    RuntimeError
        For a module that is not on the CPU.
    """
    import openvino

    if example[0].device.type != "cpu":
        raise RuntimeError("it runs on the CPU")
    core: Any = openvino.Core()
    program: Any = openvino.convert_model(exported(quantised(module), example))
    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": GROUP,
    }
    of_any_shape: Any = core.compile_model(program, "CPU", settings).create_infer_request()
    programs: dict[tuple[int, ...], Any] = {}
    for width in (width for width in buckets.widths if 1 in buckets.rows and width <= ALONE):
        fixed = program.clone()
        fixed.reshape({place: [1, width] for place in range(len(example))})
        programs[1, width] = core.compile_model(fixed, "CPU", settings).create_infer_request()
    one_at_a_time = threading.Lock()

    def run(*inputs: torch.Tensor) -> torch.Tensor:
        given = dict(enumerate(one.numpy() for one in inputs))
        with one_at_a_time:  # its answer is the program's own memory until it is copied
            asked = programs.get(tuple(inputs[0].shape), of_any_shape)
            answer = asked.infer(given, share_inputs=True, share_outputs=True)
            return torch.from_numpy(answer[0].copy())

    return run
