"""Probabilities that no longer mean what they say: predicted against observed, window by window."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import chdtrc

from evaluator.monitoring.detectors.detector import Evidence
from evaluator.monitoring.detectors.window import WindowTest

BINS = 10

Predicted = tuple[float, bool]
"""A probability, and whether what it is of came about."""


class CalibrationShift(WindowTest[Predicted]):
    """Observed shares by bins of the prediction, against the shares that the reference window had there.

    A scorer that was off by a constant from the start is no drift: what is compared is the gap between observed and
    predicted, now and in the reference, by a chi-squared sum over bins (after Hosmer and Lemeshow 1980). Bins hold
    equal numbers of the reference's predictions.

    Examples
    --------
    >>> chance = np.random.default_rng(0)
    >>> detector = CalibrationShift(2_000)
    >>> for p in chance.uniform(0, 0.4, size=4_000): detector.update((p, chance.random() < p))
    >>> detector.get().drifted
    False
    >>> for p in chance.uniform(0, 0.4, size=2_000): detector.update((p, chance.random() < p / 2))
    >>> detector.get().drifted
    True
    """

    def __init__(self, size: int = 5_000, significance: float = 0.001) -> None:
        super().__init__(size, significance)

    def _test(self, reference: Sequence[Predicted], window: Sequence[Predicted]) -> tuple[float, Evidence]:
        edges = np.quantile([p for p, _ in reference], np.linspace(0, 1, BINS + 1)[1:-1])
        (gaps, errors, ece), (gaps_before, errors_before, ece_before) = (
            _gaps(some, edges) for some in (window, reference)
        )
        known = (errors > 0) & (errors_before > 0)
        square = float(((gaps - gaps_before)[known] ** 2 / (errors + errors_before)[known]).sum())
        return float(chdtrc(known.sum(), square)), {"ece": ece, "ece before": ece_before}

    def _restored(self, plain: Sequence[Any]) -> Predicted:
        return float(plain[0]), bool(plain[1])


def _gaps(some: Sequence[Predicted], edges: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean of observed less predicted in each bin, its variance (zero where there is too little), and the ECE."""
    predicted = np.array([p for p, _ in some])
    residual = np.array([float(came) for _, came in some]) - predicted
    place = np.searchsorted(edges, predicted)
    counts = np.bincount(place, minlength=BINS)
    sums = np.bincount(place, residual, minlength=BINS)
    spread = np.bincount(place, predicted * (1 - predicted), minlength=BINS)
    gaps = sums / counts.clip(1)
    errors = np.where(spread >= 5, spread / counts.clip(1) ** 2, 0.0)
    return gaps, errors, float(np.abs(sums).sum() / len(some))
