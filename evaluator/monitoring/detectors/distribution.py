"""Change of a distribution: the two-sample Kolmogorov-Smirnov test, and the population stability index.

Both give a p-value instead of a rule of thumb. Knows numbers; nothing of what they mean.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import chdtrc

from evaluator.monitoring.detectors.detector import Evidence
from evaluator.monitoring.detectors.window import WindowTest


class KolmogorovSmirnov(WindowTest[float]):
    """The largest gap between two distribution functions; detects any change, also within a bin.

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


BINS = 10


class Psi(WindowTest[float]):
    """PSI over ten bins with equal shares of the reference.

    PSI divided by ``1/n + 1/m`` is chi-squared with nine degrees of freedom if nothing has changed (Yurdakul and
    Naranjo 2020, "Statistical properties of the population stability index"), so significance gives the limit.

    Examples
    --------
    >>> chance = np.random.default_rng(0)
    >>> detector = Psi(500)
    >>> for value in chance.normal(size=1_000): detector.update(value)
    >>> detector.get().drifted
    False
    >>> for value in chance.normal(1.0, size=500): detector.update(value)
    >>> detector.get().drifted, detector.get().evidence["psi"] > 0.5
    (True, True)
    """

    def __init__(self, size: int = 1_000, significance: float = 0.001) -> None:
        super().__init__(size, significance)

    def _test(self, reference: Sequence[float], window: Sequence[float]) -> tuple[float, Evidence]:
        edges = np.quantile(reference, np.linspace(0, 1, BINS + 1)[1:-1])
        before, now = (np.bincount(np.searchsorted(edges, some), minlength=BINS) + 0.5 for some in (reference, window))
        before, now = before / before.sum(), now / now.sum()
        psi = float(((now - before) * np.log(now / before)).sum())
        p = float(chdtrc(BINS - 1, psi / (1 / len(reference) + 1 / len(window))))
        return p, {"psi": psi, "mean": float(np.mean(window)), "mean before": float(np.mean(reference))}
