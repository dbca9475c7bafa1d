"""Rows between the steps: on disk in parts, so that no step holds all of them.

Knows files; nothing of what the rows are.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray


class Parts:
    """Batches of rows in a folder, in their order."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.sizes: list[int] = []

    def append(self, rows: pl.DataFrame) -> None:
        """Write a batch.

        Raises
        ------
        OSError
            When it cannot be written, as where the disk is full.
        """
        try:
            rows.write_parquet(self._path(len(self.sizes)), compression="lz4", statistics=False)
        except pl.exceptions.PolarsError as error:
            raise OSError(str(error).strip().partition("\n")[0]) from error
        self.sizes.append(rows.height)

    @property
    def rows(self) -> int:
        """How many there are."""
        return sum(self.sizes)

    def column(self, name: str) -> NDArray[Any]:
        """A column of numbers as a whole; times as epoch ms, and the least number where there is none."""
        found = [pl.read_parquet(self._path(number), columns=[name], glob=False) for number in range(len(self.sizes))]
        column = pl.concat(found).to_series()
        if column.dtype.is_temporal():
            column = column.cast(pl.Int64).fill_null(np.iinfo(np.int64).min)
        return column.to_numpy()

    def batches(self, columns: list[str] | None = None) -> Iterator[tuple[slice, pl.DataFrame]]:
        """Each batch, and where its rows are among all."""
        start = 0
        for number, size in enumerate(self.sizes):
            yield slice(start, start + size), pl.read_parquet(self._path(number), columns=columns, glob=False)
            start += size

    def scan(self) -> pl.LazyFrame:
        """All rows, read when they are needed."""
        return pl.scan_parquet([self._path(number) for number in range(len(self.sizes))], glob=False)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06}.parquet"
