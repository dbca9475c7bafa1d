"""Detects which number formats this machine's processor supports natively, and limits the cores that libraries use.

Knows processor features only; nothing of models.
"""

from functools import cache

import torch
from threadpoolctl import threadpool_limits


@cache
def features() -> frozenset[str]:
    """Which of ``bfloat16`` and ``int8`` the processor multiplies natively.

    Examples
    --------
    >>> features() <= {"bfloat16", "int8"}
    True
    """
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    # Torch before 2.11 has these functions as private ones only.
    ask = {
        "bfloat16": ("avx512_bf16", "amx_bf16", "bf16", "_is_avx512_bf16_supported", "_is_amx_tile_supported"),
        "int8": ("avx512_vnni", "avx_vnni", "i8mm", "_is_vnni_supported"),
    }
    return frozenset(
        name
        for name, questions in ask.items()
        if any(known.get(question, False) or getattr(torch.cpu, question, bool)() for question in questions)
    )


def limit_threads(count: int) -> None:
    """Limit the cores that one model call uses; 0 leaves it to torch."""
    if count:
        torch.set_num_threads(count)


def limit_blas(count: int) -> None:
    """Limit the cores that one product of numpy's matrices uses.

    Its threads wait for the next product on a busy core. Where products are as small as a request's, that costs twice
    the processor time and saves none.
    """
    threadpool_limits(count, user_api="blas")
