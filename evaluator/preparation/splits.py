"""Splits in which nothing of the test is known to the training: by time, by query, by user.

Knows times, hashes and shares; nothing of fields and of files.
"""

from hashlib import blake2b

import numpy as np
import polars as pl
from numpy.typing import NDArray

NAMES = {1: ("all",), 2: ("train", "test"), 3: ("train", "dev", "test")}
"""The splits' names by how many shares are given."""


def place(value: str, seed: int) -> float:
    """Where a query or a user stands between 0 and 1: the same in every file and on every machine.

    Examples
    --------
    >>> round(place("17850", 0), 4), round(place("17850", 1), 4)
    (0.5338, 0.8952)
    """
    return int.from_bytes(blake2b(f"{seed}:{value}".encode(), digest_size=8).digest(), "big") / 2**64


def places(values: pl.Series, seed: int) -> pl.Series:
    """The same for a column; null where a value is none."""
    different = values.drop_nulls().unique()
    found = pl.Series([place(value, seed) for value in different], dtype=pl.Float64)
    return values.replace_strict(different, found, default=None, return_dtype=pl.Float64)


def by_place(found: NDArray[np.float64], shares: tuple[float, ...]) -> NDArray[np.uint8]:
    """The number of each row's split by its place.

    Examples
    --------
    >>> by_place(np.array([0.1, 0.85, 0.99]), (0.8, 0.1, 0.1)).tolist()
    [0, 1, 2]
    """
    cuts = np.cumsum(shares)[:-1]
    return np.searchsorted(cuts, found, side="right").astype(np.uint8)


def cuts(times: NDArray[np.int64], shares: tuple[float, ...]) -> NDArray[np.int64]:
    """The first moment of each split but the first, so that each has about its share of the rows.

    Rows of the same moment are in the same split.

    Examples
    --------
    >>> cuts(np.array([10, 20, 30, 40, 40, 40, 50, 60, 70, 80]), (0.5, 0.5)).tolist()
    [40]
    """
    ordered = np.sort(times)
    wanted = (np.cumsum(shares)[:-1] * len(ordered)).round().astype(int)
    starts: NDArray[np.int64] = ordered[np.minimum(wanted, len(ordered) - 1)]
    return starts


def by_time(times: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The number of each row's split by its time.

    Examples
    --------
    >>> by_time(np.array([10, 40, 39, 90]), np.array([40])).tolist()
    [0, 1, 0, 1]
    """
    return np.searchsorted(starts, times, side="right").astype(np.uint8)


def torn(lists: NDArray[np.uint64], split: NDArray[np.uint8], asked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of the rows that are asked belong to a list that has rows in several splits.

    Examples
    --------
    >>> torn(np.array([1, 1, 2], np.uint64), np.array([0, 1, 1], np.uint8), np.array([True, True, True])).tolist()
    [True, True, False]
    """
    rows = pl.DataFrame({"list": lists, "split": split}).filter(pl.Series(asked))
    several = rows.group_by("list").agg(pl.col("split").min() != pl.col("split").max()).filter("split")
    found: NDArray[np.bool_] = asked & pl.Series(lists).is_in(several.get_column("list").implode()).to_numpy()
    return found
