"""Pads inputs to one of a few shapes, because compiled code is built, tuned and warmed up for each shape.

Knows matrices of whole numbers, rows by width, and their fill values; nothing of what they mean.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import pad


@dataclass(frozen=True, slots=True)
class Buckets:
    """The shapes that inputs are padded to: ``rows`` and ``widths`` in increasing order.

    Examples
    --------
    >>> buckets = Buckets(rows=(1, 4), widths=(16, 32))
    >>> buckets.shape(3, 17), buckets.shape(5, 33)
    ((4, 32), (8, 64))
    """

    rows: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    widths: tuple[int, ...] = (16, 32, 64, 96)

    def shape(self, rows: int, width: int) -> tuple[int, int]:
        """The smallest shape that holds an input; beyond the largest bucket, its next multiple."""
        return _least(self.rows, rows), _least(self.widths, width)

    def shapes(self) -> Iterator[tuple[int, int]]:
        """All shapes, smallest first."""
        return ((rows, width) for width in self.widths for rows in self.rows)

    def padded(self, inputs: Sequence[torch.Tensor], fills: Sequence[int]) -> tuple[torch.Tensor, ...]:
        """Inputs [r, w] as [R, W] of a bucket, each padded with its own fill value."""
        rows, width = inputs[0].shape
        to_rows, to_width = self.shape(rows, width)
        return tuple(
            pad(one, (0, to_width - width, 0, to_rows - rows), value=fill)
            for one, fill in zip(inputs, fills, strict=True)
        )


def _least(sizes: Sequence[int], wanted: int) -> int:
    return next((size for size in sizes if size >= wanted), -(-wanted // sizes[-1]) * sizes[-1])
