"""Are probabilities right? Log loss, and predicted against observed shares in bins of the prediction.

Knows numbers only. The expected calibration error is of ten equal bins; a reliability curve may have finer ones.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.floating]

TENTHS = tuple(number / 10 for number in range(1, 10))
"""The edges of ten bins of equal width."""

FINE = (0.002, 0.005, 0.01, 0.02, 0.05, *TENTHS)
"""The same ten bins, the first one in six: clicks and purchases are rare."""

SMALLEST = 1e-9
"""A probability counts as no smaller, so that one surprise does not make a loss infinite."""


def cross_entropies(probabilities: Numbers, targets: Numbers) -> Numbers:
    """The log loss of each prediction in nats, from distributions [..., n] (Good 1952).

    Examples
    --------
    >>> cross_entropies(np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]])).round(4).tolist()
    [0.6931]
    """
    return np.asarray(-(targets * np.log(probabilities.clip(SMALLEST))).sum(-1))


def bins_of(probabilities: Numbers, edges: Sequence[float] = TENTHS) -> npt.NDArray[np.intp]:
    """The bin of each probability; one on an edge, in the probabilities' own precision, belongs to the bin above.

    Examples
    --------
    >>> bins_of(np.array([0.0, 0.7, 1.0], np.float32)).tolist(), bins_of(np.array([0.3]), (0.1, 0.2)).tolist()
    ([0, 7, 9], [2])
    """
    own = np.asarray(edges, np.result_type(probabilities, np.float32))
    return np.searchsorted(own, probabilities, side="right")


def expected_calibration_error(gaps: Numbers, weights: npt.ArrayLike) -> Numbers:
    """The weighted mean distance of observed and predicted over bins (Naeini, Cooper and Hauskrecht 2015).

    Parameters
    ----------
    gaps
        Sums of predicted minus observed in each bin [..., bins].
    weights
        The total weight of all bins [...].

    Examples
    --------
    >>> expected_calibration_error(np.array([[0.5, -0.5], [1.0, 0.0]]), [10, 4]).tolist()
    [0.1, 0.25]
    """
    return np.asarray(np.abs(gaps).sum(axis=-1) / np.asarray(weights))


def ece(gaps: Numbers, weight: float, edges: Sequence[float] = TENTHS) -> float:
    """The expected calibration error of one event, from sums of predicted minus observed in bins; those of one tenth
    are taken together. NaN without weight.

    Examples
    --------
    >>> ece(np.array([0.5, -0.5, *[0.0] * 12, 1.0]), 10, FINE)
    0.1
    """
    if not weight:
        return float("nan")
    whole: Numbers = np.zeros(len(TENTHS) + 1)
    np.add.at(whole, bins_of(np.array([0.0, *edges])), gaps)
    return float(expected_calibration_error(whole, weight))


class Reliability:
    """Sums by bins of the prediction; observed against predicted shares are the reliability curve (DeGroot and Fienberg
    1983).

    Attributes
    ----------
    counts, predicted, observed
        The number of predictions in each bin, their sum, and the sum of their outcomes.

    Examples
    --------
    >>> reliability = Reliability()
    >>> reliability.update([0.3, 0.3, 0.3, 0.3], [True, False, False, False])
    >>> reliability.counts.tolist(), f"{reliability.ece:.2f}"
    ([0.0, 0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], '0.05')
    """

    def __init__(self, edges: Sequence[float] = TENTHS) -> None:
        self.edges = edges
        self.counts, self.predicted, self.observed = np.zeros((3, len(edges) + 1))

    def update(self, probabilities: npt.ArrayLike, outcomes: npt.ArrayLike) -> None:
        """Add predictions and outcomes: whether each predicted event happened, or to what degree."""
        predictions = np.atleast_1d(probabilities)
        bins, size = bins_of(predictions, self.edges), len(self.counts)
        self.counts += np.bincount(bins, minlength=size)
        self.predicted += np.bincount(bins, predictions, size)
        self.observed += np.bincount(bins, np.atleast_1d(outcomes), size)

    def add(self, other: "Reliability") -> None:
        """Add the sums of another one with the same bins."""
        self.counts += other.counts
        self.predicted += other.predicted
        self.observed += other.observed

    @property
    def ece(self) -> float:
        """Expected calibration error; NaN without predictions."""
        return ece(self.predicted - self.observed, self.counts.sum(), self.edges)
