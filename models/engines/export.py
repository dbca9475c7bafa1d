"""A module as a graph that torch exports, whatever the number of rows and their width.

Knows torch.export; nothing of what runs the graph afterwards.
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
        Inputs of at least two rows: a size of one would be taken for a constant.

    Raises
    ------
    ValueError
        For an example of one row.

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
    # A dimension takes sympy to make, which a process that exports nothing need not load.
    rows, width = Dim("rows", min=1, max=MOST_ROWS), Dim("width", min=2, max=MOST_WIDTH)
    return torch.export.export(
        module, tuple(example), dynamic_shapes=tuple({0: rows, 1: width} for _ in example), strict=False
    )
