"""Exports a module as a program of tensors, which engines other than torch run.

Knows modules and shapes; nothing of engines.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

MOST_ROWS, MOST_WIDTH = 4_096, 512


@torch.no_grad()
def exported(module: nn.Module, example: Sequence[torch.Tensor]) -> ExportedProgram:
    """Export a module of inputs [rows, width] so that both may vary.

    Parameters
    ----------
    example
        Inputs of at least two rows: torch would take a size of one for a constant. No tensor may be there twice: it
        would become one input.

    Raises
    ------
    ValueError
        For an example of one row, or with a tensor that is there twice.

    Examples
    --------
    >>> class Double(nn.Module):
    ...     def forward(self, numbers): return numbers * 2
    >>> program = exported(Double(), [torch.ones(2, 3)])
    >>> program.module()(torch.ones(1, 5)).shape
    torch.Size([1, 5])
    """
    if len(example[0]) < 2:
        raise ValueError("an example needs two rows or more")
    if len({id(one) for one in example}) < len(example):
        raise ValueError("a tensor is there twice")
    # Dim loads sympy, which a process without exports does not need.
    rows, width = Dim("rows", min=1, max=MOST_ROWS), Dim("width", min=2, max=MOST_WIDTH)
    return torch.export.export(
        module, tuple(example), dynamic_shapes=tuple({0: rows, 1: width} for _ in example), strict=False
    )
