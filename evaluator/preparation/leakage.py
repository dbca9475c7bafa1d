"""What two splits share that they must not: looked up in the files as they were written.

Knows Parquet files by column; nothing of how rows were split.
"""

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from evaluator.preparation.card import Check
from evaluator.preparation.schema import SplitBy

KEYS = (
    ("query", "query", "Queries, the case of letters aside, that are in two splits.", ("query",)),
    ("shopper", "user", "Users that are in two splits.", ("user",)),
    ("list", "order or session", "Orders or sessions that are in two splits.", ("user", "time")),
    ("item", "item", "Items that are in two splits.", ()),
)
"""Column, name, sentence, and the ways of splitting that promise that there are none."""

Files = Mapping[str, Path]


def checks(files: Files, split: SplitBy) -> list[Check]:
    """All checks of splits with the same columns.

    Examples
    --------
    >>> checks({"all": Path("all.parquet")}, "none")
    []
    """
    if len(files) < 2:
        return []
    columns = list(pl.scan_parquet(next(iter(files.values())), glob=False).collect_schema())
    found = []
    for column, name, sentence, promise in KEYS:
        if column in columns:
            shared, of = _shared(files, pl.col(column).str.to_lowercase() if column == "query" else pl.col(column))
            found.append(Check(name=name, sentence=sentence, found=shared, of=of, binding=split in promise))
    shared, of = _shared(files, pl.struct(columns))
    sentence = "Rows that equal a row of another split in every column."
    found.append(Check(name="equal rows", sentence=sentence, found=shared, of=of, binding=True))
    if "time" in columns:
        early, of = _early(files)
        sentence = "Rows of a later split that are not newer than every row of the split before it."
        found.append(Check(name="time", sentence=sentence, found=early, of=of, binding=split == "time"))
    return found


def _shared(files: Files, key: pl.Expr) -> tuple[int, int]:
    """How many different keys are in at least two files, and how many there are in all."""
    hashes = [_hashes(path, key) for path in files.values()]
    twice = [np.intersect1d(one, other, assume_unique=True) for one, other in combinations(hashes, 2)]
    return len(np.unique(np.concatenate(twice))), len(np.unique(np.concatenate(hashes)))


def _hashes(path: Path, key: pl.Expr) -> NDArray[np.uint64]:
    rows = pl.scan_parquet(path, glob=False).select(key.alias("key")).drop_nulls().select(pl.col("key").hash())
    return np.unique(rows.collect(engine="streaming").to_series().to_numpy())


def _early(files: Files) -> tuple[int, int]:
    time = pl.col("time")
    found = of = 0
    before = None
    for path in files.values():
        rows = pl.scan_parquet(path, glob=False)
        if before is not None:
            found += rows.filter(time <= before).select(pl.len()).collect(engine="streaming").item()
            of += rows.select(pl.len()).collect(engine="streaming").item()
        before = rows.select(time.max()).collect(engine="streaming").item()
    return found, of
