"""A few shapes for all: compiled code is made, tuned and warmed once per shape, so inputs are padded to one of few.

Knows matrices of whole numbers, rows by width, and what to fill them up with.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import pad


@dataclass(frozen=True, slots=True)
class Buckets:
    """The shapes that inputs are padded to: ``rows`` and ``widths`` in rising order.

    Examples
    --------
    >>> buckets = Buckets(rows=(1, 4), widths=(16, 32))
    >>> buckets.shape(3, 17), buckets.shape(5, 33)
    ((4, 32), (8, 64))
    """

    rows: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    widths: tuple[int, ...] = (16, 32, 64, 96)

    def shape(self, rows: int, width: int) -> tuple[int, int]:
        """The smallest shape that holds so many; beyond the largest bucket, its next multiple."""
        return _least(self.rows, rows), _least(self.widths, width)

    def shapes(self) -> Iterator[tuple[int, int]]:
        """All shapes, small ones first."""
        return ((rows, width) for width in self.widths for rows in self.rows)

    def padded(self, inputs: Sequence[torch.Tensor], fills: Sequence[int]) -> tuple[torch.Tensor, ...]:
        """Inputs [r, w] as [R, W] of a bucket, each filled up with its own number."""
        rows, width = inputs[0].shape
        to_rows, to_width = self.shape(rows, width)
        return tuple(
            pad(one, (0, to_width - width, 0, to_rows - rows), value=fill)
            for one, fill in zip(inputs, fills, strict=True)
        )


def _least(sizes: Sequence[int], wanted: int) -> int:
    return next((size for size in sizes if size >= wanted), -(-wanted // sizes[-1]) * sizes[-1])
