"""Scores that are distributed otherwise: the two-sample Kolmogorov-Smirnov test."""

from collections.abc import Sequence

import numpy as np

from evaluator.monitoring.detectors.detector import Evidence
from evaluator.monitoring.detectors.window import WindowTest


class KolmogorovSmirnov(WindowTest[float]):
    """The largest gap between two distribution functions; sees any change, also within a bin.

    Examples
    --------
    >>> chance = np.random.default_rng(0)
    >>> detector = KolmogorovSmirnov(500)
    >>> for value in chance.normal(size=1_000): detector.update(value)
    >>> for value in chance.normal(0.5, size=500): detector.update(value)
    >>> detector.get().drifted
    True
    """

    def __init__(self, size: int = 1_000, significance: float = 0.001) -> None:
        super().__init__(size, significance)

    def _test(self, reference: Sequence[float], window: Sequence[float]) -> tuple[float, Evidence]:
        from scipy import stats  # a second of CPU at the start of an evaluator that may never need it

        found = stats.ks_2samp(reference, window)
        where = float(found.statistic_location)
        return float(found.pvalue), {"gap": float(found.statistic), "at": where, "mean": float(np.mean(window))}
