"""How the columns of each split are distributed, and how far the splits are from each other.

Knows Parquet files by column; nothing of how they were made. No value of a query, a user or a text is named, and of
other columns only values that many rows share.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import chi2

from evaluator.preparation.card import Column, Drift
from evaluator.preparation.schema import IDS, TEXTS

BINS = 20
CATEGORIES = 12
DIFFERENT = 50
"""A text column with more different values than this is described by the length of its values."""

LEAST_SHARED = 5
"""A value is named only if so many rows of the first split share it."""

MOST_COLUMNS = 40
"""So many columns are described; files of catalogues have hundreds of attributes."""

SOME, STRONG = 0.1, 0.25
"""The usual limits of the population stability index."""

SURE = 0.001

Files = Mapping[str, Path]


def described(files: Files) -> list[Column]:
    """The columns of splits with the same columns; the first split decides the bins."""
    schema = pl.scan_parquet(next(iter(files.values())), glob=False).collect_schema()
    found = []
    for name in list(schema)[:MOST_COLUMNS]:
        kind = schema[name]
        if kind.is_numeric() or kind.is_temporal():
            found.append(_of_numbers(name, files, pl.col(name), "times" if kind.is_temporal() else "values"))
        elif kind in (pl.String, pl.Boolean):
            found.append(_of_texts(name, files))
    return found


def _of_texts(name: str, files: Files) -> Column:
    if name in IDS:
        return Column(name=name, of="ids", missing={split: _missing(path, name) for split, path in files.items()})
    lengths = pl.col(name).cast(pl.String).str.len_chars()
    if name in TEXTS and name != "brand":
        return _of_numbers(name, files, lengths, "lengths in characters")
    first = next(iter(files.values()))
    value = pl.col(name).cast(pl.String)
    different = pl.scan_parquet(first, glob=False).select(value.approx_n_unique()).collect(engine="streaming").item()
    if different > DIFFERENT and name != "brand":
        return _of_numbers(name, files, lengths, "lengths in characters")
    counted = {split: _value_counts(path, value) for split, path in files.items()}
    ranked = sorted(next(iter(counted.values())).items(), key=lambda one: (-one[1], one[0]))
    labels = [label for label, rows in ranked[:CATEGORIES] if rows >= LEAST_SHARED]
    counts = {}
    for split, rows in counted.items():
        named = [rows.get(label, 0) for label in labels]
        counts[split] = [*named, sum(rows.values()) - sum(named)]
    missing = {split: _missing(path, name) for split, path in files.items()}
    return Column(name=name, of="values", missing=missing, labels=[*labels, "others"], counts=counts)


def _value_counts(path: Path, value: pl.Expr) -> dict[str, int]:
    rows = pl.scan_parquet(path, glob=False).select(value.alias("value")).drop_nulls().group_by("value").len()
    return dict(rows.collect(engine="streaming").iter_rows())


def _of_numbers(name: str, files: Files, values: pl.Expr, of: str) -> Column:
    edges: NDArray[np.float64] | None = None
    missing, counts = {}, {}
    for split, path in files.items():
        column = pl.scan_parquet(path, glob=False).select(values.alias("value")).collect(engine="streaming").to_series()
        known = column.drop_nulls().cast(pl.Int64 if column.dtype.is_temporal() else pl.Float64).to_numpy()
        missing[split] = len(column) - len(known)
        edges = bin_edges(known) if edges is None else edges
        counts[split] = np.bincount(np.searchsorted(edges, known, side="right"), minlength=len(edges) + 1).tolist()
    assert edges is not None
    labels = [_moment(edge) for edge in edges] if of == "times" else [f"{edge:.4g}" for edge in edges]
    return Column(name=name, of=of, missing=missing, labels=_ranges(labels), counts=counts)


def _moment(ms: float) -> str:
    return str(np.datetime64(int(ms), "ms"))[:10]


def _ranges(edges: Sequence[str]) -> list[str]:
    if not edges:
        return ["all"]
    between = [f"{low} to {high}" for low, high in pairwise(edges)]
    return [f"below {edges[0]}", *between, f"{edges[-1]} or more"]


def bin_edges(values: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.float64]:
    """The inner edges of bins: between the hundredth parts at both ends, by the logarithm where values are skewed.

    Examples
    --------
    >>> bin_edges(np.arange(101.0)).round(1).tolist()[:3]
    [1.0, 6.4, 11.9]
    >>> bin_edges(np.ones(5)).tolist()
    [1.0]
    """
    if not len(values):
        return np.zeros(0)
    low, middle, high = np.percentile(values, [1, 50, 99])
    if low == high:
        return np.array([low], float)
    if low > 0 and high - middle > 5 * (middle - low):
        return np.geomspace(low, high, BINS - 1)
    return np.linspace(low, high, BINS - 1)


def psi(expected: Sequence[int], found: Sequence[int]) -> tuple[float, float]:
    """The population stability index of two histograms, and its p-value if both were drawn from the same values.

    Empty bins count half a row. For independent rows of the same values the index, divided by 1/n + 1/m, is chi-squared
    with one degree of freedom less than there are bins.

    Examples
    --------
    >>> psi([50, 50], [50, 50])
    (0.0, 1.0)
    >>> index, p = psi([500, 500], [800, 200])
    >>> round(index, 3), p < 0.001
    (0.416, True)
    """
    first, second = np.asarray(expected, float), np.asarray(found, float)
    used = (first + second) > 0
    first, second = first[used], second[used]
    if len(first) < 2 or not first.sum() or not second.sum():
        return 0.0, 1.0
    scale = 1 / first.sum() + 1 / second.sum()
    first, second = np.maximum(first, 0.5), np.maximum(second, 0.5)
    first, second = first / first.sum(), second / second.sum()
    index = float(np.sum((second - first) * np.log(second / first)))
    return index, float(chi2.sf(index / scale, len(first) - 1))


def drifts(columns: Sequence[Column]) -> list[Drift]:
    """The drift of each column of each split from the first split; missing values are a bin of their own.

    Examples
    --------
    >>> column = Column(name="price", of="values", missing={"train": 0, "test": 0}, labels=["below 1", "1 or more"],
    ...     counts={"train": [900, 100], "test": [100, 900]})
    >>> [(one.split, one.verdict) for one in drifts([column])]
    [('test', 'strong')]
    """
    found = []
    for column in columns:
        first, *others = column.missing
        for split in others:
            if not column.counts:
                continue
            histograms = ([*column.counts[one], column.missing[one]] for one in (first, split))
            index, p = psi(*histograms)
            verdict = "none" if index < SOME or p > SURE else "some" if index < STRONG else "strong"
            found.append(Drift(column=column.name, split=split, psi=index, p=p, verdict=verdict))
    return found


def _missing(path: Path, name: str) -> int:
    found = pl.scan_parquet(path, glob=False).select(pl.col(name).null_count()).collect(engine="streaming")
    return int(found.item())
