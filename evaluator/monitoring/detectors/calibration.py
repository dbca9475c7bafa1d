"""Probabilities that no longer mean what they say: predicted against observed, window by window."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy.special import fdtrc

from evaluator.monitoring.detectors.detector import Evidence
from evaluator.monitoring.detectors.window import WindowTest
from models.measures.probabilities import expected_calibration_error

BINS = 10
GROUPS = 256
"""Random groups of shoppers; enough that the error of the estimated dispersion costs hardly any power."""

EXPECTED = 5
"""Variance, in outcomes, that a bin has in each window at least; the chi-squared limit does not hold below (Cochran
1954)."""

Predicted = tuple[float, bool, int]
"""A probability, whether what it is of came about, and a hash of the shopper."""

Numbers = npt.NDArray[np.float64]


class CalibrationShift(WindowTest[Predicted]):
    """Observed less predicted shares by bins of the prediction, in a window and in the reference.

    A scorer that was off from the start is no drift. The gap ``d = mean(outcome - prediction)`` of each bin is compared
    with the reference's, by the score statistic of two samples,

    ``X2 = sum over bins of (d_window - d_reference)^2 / (s^2 (1 / n_window + 1 / n_reference))``,

    where ``s^2`` is the variance of outcome less prediction in the bin over both windows together. It is of what was
    observed, whatever was predicted, and holds the sampling error of both windows. For predictions that are all alike
    ``X2`` is Pearson's chi-squared of both windows' outcomes. Bins hold equal numbers of the reference's predictions,
    as in Hosmer and Lemeshow (1980).

    Shoppers who differ make outcomes vary more than independent ones. By how much is estimated as in
    :class:`~evaluator.experiments.dispersion.Dispersion`: ``phi``, at least one, is the mean square of the differences
    that random groups of shoppers contribute (Wolter 2007, chapter 2), over that of independent outcomes. So
    ``X2 / (bins phi)`` has the F distribution of a quasi-likelihood, with as many degrees of freedom as there are bins,
    and groups less one (McCullagh and Nelder 1989, section 4.5).

    Examples
    --------
    >>> chance = np.random.default_rng(0)
    >>> detector = CalibrationShift(2_000)
    >>> for shopper, p in enumerate(chance.uniform(0, 0.4, size=4_000)):
    ...     detector.update((p, chance.random() < p, shopper))
    >>> detector.get().drifted
    False
    >>> for shopper, p in enumerate(chance.uniform(0, 0.4, size=2_000)):
    ...     detector.update((p, chance.random() < p / 2, shopper))
    >>> detector.get().drifted
    True
    """

    independent: ClassVar[bool] = False

    def __init__(self, size: int = 5_000, significance: float = 0.001) -> None:
        super().__init__(size, significance)

    def _test(self, reference: Sequence[Predicted], window: Sequence[Predicted]) -> tuple[float, Evidence]:
        predicted, came, shoppers = (np.array(column) for column in zip(*reference, *window, strict=True))
        edges = np.quantile(predicted[: len(reference)], np.linspace(0, 1, BINS + 1)[1:-1])
        now = np.repeat([0, 1], [len(reference), len(window)])
        places = now, np.searchsorted(edges, predicted)
        residuals = came - predicted
        sums, counts = np.zeros((2, 2, BINS))
        np.add.at(sums, places, residuals)
        np.add.at(counts, places, 1)
        before, after = expected_calibration_error(sums, (len(reference), len(window)))
        p = _p_value(residuals, sums, counts, places, shoppers % GROUPS)
        return p, {"ece": float(after), "ece before": float(before)}

    def _restored(self, plain: Sequence[Any]) -> Predicted:
        p, came, shopper = plain
        return float(p), bool(came), int(shopper)


def _p_value(
    residuals: Numbers, sums: Numbers, counts: Numbers, places: tuple[npt.NDArray[np.int_], ...], groups: Any
) -> float:
    """Of residuals by window and bin; ``sums`` and ``counts`` [2, BINS] are theirs. 1 where there is too little."""
    now, bins = places
    squares = np.bincount(bins, residuals**2, minlength=BINS)
    both, gaps = counts.sum(axis=0).clip(1), sums / counts.clip(1)
    variances = squares / both - (sums.sum(axis=0) / both) ** 2
    errors = variances * (1 / counts.clip(1)).sum(axis=0)
    known = counts.min(axis=0) * variances >= EXPECTED
    if not known.any():
        return 1.0
    square = float(((gaps[1] - gaps[0])[known] ** 2 / errors[known]).sum())
    some = known[bins]
    now, bins, apart = now[some], bins[some], (residuals - gaps[places])[some]
    weights = (2 * now - 1) / counts[now, bins] / np.sqrt(errors[bins])
    found = np.bincount(groups[some], apart * weights)
    expected = np.bincount(groups[some], variances[bins] * weights**2)
    freedom = expected.sum() ** 2 / (expected**2).sum() - 1  # effective number of groups (Kish) less one
    if freedom <= 0:
        return 1.0
    dispersion = max(1.0, (found**2).sum() / expected.sum() * (freedom + 1) / freedom)
    return float(fdtrc(known.sum(), freedom, square / known.sum() / dispersion))
