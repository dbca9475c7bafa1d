"""Floating-point operations of matrix products, and how many a second this machine can do.

Knows torch; nothing of contenders. Operations of other libraries and of element-wise steps are not counted.
"""

import math
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

SIZE = 1_024


def counted(call: Callable[[], object]) -> int:
    """Operations of torch's matrix products and attention while something is called; none where it is not loaded.

    Examples
    --------
    >>> import torch
    >>> counted(lambda: torch.ones(2, 3) @ torch.ones(3, 4))
    48
    """
    if "torch" not in sys.modules:
        return 0
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    ours: dict[Any, Any] = {torch.ops.aten._int_mm: _product}
    if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        ours[torch.ops.mkldnn._linear_pointwise] = _linear
    with FlopCounterMode(display=False, custom_mapping=ours) as counter:
        call()
    return int(counter.get_total_flops())


def ceiling(seconds: float = 0.3) -> float:
    """Operations per second of large products in the format that models compute in, the best of several.

    Examples
    --------
    >>> ceiling(0.01) > 1e6
    True
    """
    import torch

    from models.encoder import choose_dtype

    dtype = choose_dtype("auto", torch.device("cpu"))
    one, other = (torch.ones(SIZE, SIZE, dtype=dtype) for _ in range(2))
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end or not best:
        started = time.perf_counter()
        _ = one @ other
        best = max(best, 2 * SIZE**3 / (time.perf_counter() - started))
    return best


def _product(one: "torch.Size", other: "torch.Size", *_: object, **__: object) -> int:
    return 2 * one[0] * one[1] * other[1]


def _linear(values: "torch.Size", *_: object, out_shape: "torch.Size", **__: object) -> int:
    return 2 * math.prod(out_shape) * values[-1]
