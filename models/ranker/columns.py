"""Columns by name, and features brought to a like size.

Knows arrays; nothing of what weighs the columns, nor of files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.compiled import compiled
from models.weights import WeightsError

Floats = npt.NDArray[np.float32]
Reals = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

CLIP = 4.0
"""Scaled values beyond this many spreads count as this many: so a shop unlike the one of training stays in range."""


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Where a ranker's features are among the known ones.

    Examples
    --------
    >>> Columns.of(("price", "age"), ("age", "times", "price")).take(np.array([[1, 2, 3]], np.float32)).tolist()
    [[3.0, 1.0]]
    """

    features: tuple[str, ...]
    known: int
    places: npt.NDArray[np.int64] | slice

    @classmethod
    def of(cls, features: Sequence[str], known: Sequence[str]) -> "Columns":
        """By names.

        Raises
        ------
        WeightsError
            When a feature is not known or is named twice, or there is none.
        """
        if len(set(features)) != len(features) or not features:
            raise WeightsError(f"a ranker names {len(features)} features, {len(set(features))} of them different")
        if missing := [name for name in features if name not in known]:
            raise WeightsError(
                f"the ranker needs features that are not computed here: {', '.join(missing)}. "
                "It is of another release of Liveshelf; train one with this release"
            )
        places = [known.index(name) for name in features]
        whole = places == list(range(len(known)))
        return cls(tuple(features), len(known), slice(None) if whole else np.array(places))

    def take(self, features: Floats) -> Floats:
        """Its columns, float32 [n, F].

        Raises
        ------
        ValueError
            When there are not as many columns as are known.
        """
        if features.ndim != 2 or features.shape[1] != self.known:
            raise ValueError(f"features of shape {features.shape} for {self.known} known columns")
        found: Floats = features.T[self.places].T  # whole columns: they are made so
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """Brings features to a like size: less the mean, by the spread, clipped; and a flag for what is not known.

    Attributes
    ----------
    means, spreads
        float32 [F]; spreads are positive.
    relative
        bool [F]: those whose mean and spread are taken over the rows of each request instead. They have no scale of
        their own, so counts of a shop with a hundred times the sales look the same.

    Examples
    --------
    >>> scaling = Scaling(np.zeros(2, np.float32), np.ones(2, np.float32), np.array([False, True]))
    >>> scaling(np.array([[9, 10], [np.nan, 30]], np.float32)).tolist()
    [[4.0, -1.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0]]
    >>> scaling(np.array([[0, 10], [0, 30]], np.float32), counts=np.array([3, 1], np.float32))[:, 1].round(2).tolist()
    [-0.5799999833106995, 1.7300000190734863]
    """

    means: Floats
    spreads: Floats
    relative: npt.NDArray[np.bool_]

    def __call__(self, values: Floats, sizes: Sequence[int] | None = None, counts: Floats | None = None) -> Floats:
        """float32 [n, 2 F]: scaled values, zero where not known; then one where not known.

        Parameters
        ----------
        sizes
            Rows of each request; by default all are of one.
        counts
            For how many rows of its request each stands, [n]; by default for itself.
        """
        found = np.empty((len(values), 2 * values.shape[1]), np.float32)
        of = _sizes(values, sizes)
        standing = np.ones(len(values)) if counts is None else counts.astype(np.float64)
        _scale(np.ascontiguousarray(values, np.float32), of, standing, self.means, self.spreads, self.relative, found)
        return found


@compiled
def _scale(
    values: Floats,
    sizes: Numbers,
    counts: Reals,
    means: Floats,
    spreads: Floats,
    relative: npt.NDArray[np.bool_],
    found: Floats,
) -> None:
    """:class:`Scaling` of the rows of each request, written to ``found``."""
    width, end = values.shape[1], 0
    centre, scale = means.astype(np.float64), spreads.astype(np.float64)
    known, total = np.empty(width), np.empty(width)
    for size in sizes:
        start, end = end, end + size
        known[:] = 0.0
        total[:] = 0.0
        for row in range(start, end):
            for column in range(width):
                value, count = np.float64(values[row, column]), counts[row]
                there = np.isfinite(value)
                known[column] += count if there else 0.0
                total[column] += count * value if there else 0.0
        for column in range(width):
            if relative[column]:
                centre[column] = total[column] / max(known[column], 1.0)
        total[:] = 0.0
        for row in range(start, end):
            for column in range(width):
                apart, count = np.float64(values[row, column]) - centre[column], counts[row]
                total[column] += count * apart * apart if np.isfinite(apart) else 0.0
        for column in range(width):
            if relative[column]:
                scale[column] = max(np.sqrt(total[column] / max(known[column], 1.0)), 1e-6)
        for row in range(start, end):
            for column in range(width):
                value = np.float64(values[row, column])
                missing = np.isnan(value)
                scaled = min(max((value - centre[column]) / scale[column], -CLIP), CLIP)
                found[row, column] = 0.0 if missing else scaled
                found[row, width + column] = 1.0 if missing else 0.0


def means(values: npt.NDArray[Any], rows: npt.NDArray[np.int64], sizes: Sequence[int] | None = None) -> Reals:
    """The means of columns over the rows of each request, for some rows: those of its request, float64 [m, F].

    Parameters
    ----------
    values
        [n, F]: rows of each request one after the other, as many as ``sizes`` says; by default all are of one.

    Examples
    --------
    >>> means(np.array([[1.0], [3.0], [8.0]]), np.array([2, 0]), [2, 1]).tolist()
    [[8.0], [2.0]]
    """
    counts = _sizes(values, sizes)
    found = _means(np.ascontiguousarray(values, np.float32), counts)
    return found[np.searchsorted(np.cumsum(counts), rows, "right")]


def _sizes(values: npt.NDArray[Any], sizes: Sequence[int] | None) -> Numbers:
    """How many rows each request has."""
    found = np.array([len(values)] if sizes is None else sizes, np.int64)
    if len(values) != found.sum():
        raise ValueError(f"requests of {found.sum()} rows together, and {len(values)} rows")
    return found


@compiled
def _means(values: Floats, sizes: Numbers) -> Reals:
    """The means of columns over the rows of each request, float64 [requests, F]; zero of none."""
    found, end = np.zeros((len(sizes), values.shape[1])), 0
    for request, size in enumerate(sizes):
        start, end = end, end + size
        for row in range(start, end):
            for column in range(values.shape[1]):
                found[request, column] += values[row, column]
        found[request] /= max(size, 1)
    return found
