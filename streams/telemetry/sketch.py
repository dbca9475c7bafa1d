"""Sums the quantile sketches of snapshots: takes DDSketch's protobuf form, returns counts and quantiles.

Knows bytes and numbers only. DDSketch (Masson, Rim and Lee 2019) counts values in bins that grow by a constant factor,
so that sketches are added bin by bin. The library writes the sketches; its own sum is tens of times slower.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from ddsketch.pb.ddsketch_pb2 import DDSketch as SketchMessage

ACCURACY = 0.01
"""Relative error of every quantile."""

GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
"""A sketch's bins grow by this factor; sketches with another factor cannot be added to ours."""

MOST_BINS, FURTHEST_BIN = 4_096, 8_192
"""How many bins a sketch may have, and how many bins from 1 ms they may be (the furthest is e^163 ms)."""

LOWEST, HIGHEST = -1_024, 1_535
"""The range of bins, from 1e-9 to 1e13 milliseconds; values outside count in the outermost bins."""

Numbers = npt.NDArray[np.float64]

VALUES: Numbers = 2 / (1 + GAMMA) * GAMMA ** np.arange(LOWEST, HIGHEST + 1, dtype=np.float64)
"""The value of each bin in milliseconds: its relative distance to both ends of the bin is the same."""


def unfit(raw: bytes) -> str:
    """Why a sketch's bins cannot be added to those of others; empty if they can.

    Raises
    ------
    google.protobuf.message.DecodeError
        When the bytes are no sketch.
    """
    sketch = SketchMessage.FromString(raw)
    bins = sketch.positiveValues
    if not math.isclose(sketch.mapping.gamma, GAMMA, rel_tol=1e-9) or sketch.mapping.indexOffset:
        return f"is of gamma {sketch.mapping.gamma:g} and offset {sketch.mapping.indexOffset:g}, not of {GAMMA:g} and 0"
    if sketch.mapping.interpolation or bins.binCounts or sketch.negativeValues.ByteSize() > 16:
        return "is laid out in another way"
    first, count = bins.contiguousBinIndexOffset, len(bins.contiguousBinCounts)
    if count > MOST_BINS or abs(first) > FURTHEST_BIN:
        return f"has {count} bins from {first} on"
    counts = np.array([*bins.contiguousBinCounts, sketch.zeroCount])
    return "" if bool((counts >= 0).all() and (counts < 1 << 53).all()) else "has counts that are none"


class Sketch:
    """The sum of any number of sketches of durations. Quantiles are as exact as the sketches' own.

    Examples
    --------
    >>> from streams.telemetry.meter import Meter
    >>> meter, sketch = Meter("worker", "w", 0), Sketch()
    >>> for at in (1, 2):
    ...     for ms in (0.0, 1.0, 100.0): meter.time("score", ms)
    ...     sketch.add(meter.snapshot(at).sketches["score"])
    >>> sketch.count, [round(value) for value in sketch.quantiles((0.0, 0.5, 1.0))]
    (6.0, [0, 1, 100])
    """

    __slots__ = ("_counts", "_end", "_first", "_zeros")

    def __init__(self) -> None:
        self._zeros = 0.0
        self._first = self._end = 0
        self._counts: Numbers = np.zeros(0)

    @property
    def count(self) -> float:
        """The number of durations."""
        return self._zeros + float(self._counts.sum())

    @property
    def sum(self) -> float:
        """Their sum in milliseconds, as exact as the quantiles."""
        return float(self._counts @ VALUES[self._first - LOWEST : self._end - LOWEST])

    def add(self, raw: bytes) -> None:
        """Add a sketch in protobuf form.

        Raises
        ------
        google.protobuf.message.DecodeError
            When the bytes are no sketch.
        """
        message = SketchMessage.FromString(raw)
        bins = message.positiveValues
        first, counts = bins.contiguousBinIndexOffset, np.array(bins.contiguousBinCounts, np.float64)
        if first < LOWEST or first + len(counts) - 1 > HIGHEST:
            places = np.clip(np.arange(first, first + len(counts)), LOWEST, HIGHEST)
            first, counts = LOWEST, np.bincount(places - LOWEST, counts).astype(np.float64)
        self._zeros += message.zeroCount
        self._take(first, counts)

    def merge(self, other: "Sketch") -> None:
        """Add another sum of sketches."""
        self._zeros += other._zeros
        self._take(other._first, other._counts)

    def quantiles(self, levels: Sequence[float]) -> list[float]:
        """The durations in milliseconds at these quantile levels; NaN if there are none."""
        reached = np.cumsum(np.append(self._zeros, self._counts))
        if not reached[-1]:
            return [math.nan] * len(levels)
        at = np.searchsorted(reached, np.array(levels) * (reached[-1] - 1), side="right")
        found: list[float] = np.where(at, VALUES[self._first - LOWEST + at - 1], 0.0).tolist()
        return found

    def _take(self, first: int, counts: Numbers) -> None:
        end = first + len(counts)
        if not len(self._counts):
            self._first, self._end, self._counts = first, end, counts.copy()
        elif len(counts):
            if first < self._first or end > self._end:
                self._grow(min(first, self._first), max(end, self._end))
            self._counts[first - self._first : end - self._first] += counts

    def _grow(self, first: int, end: int) -> None:
        counts = np.zeros(end - first)
        counts[self._first - first : self._end - first] = self._counts
        self._first, self._end, self._counts = first, end, counts
