"""Whether probabilities mean what they say: predicted against observed, in bins.

Pure: probabilities and outcomes.
"""

from bisect import bisect_right
from dataclasses import dataclass, field

EDGES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.6)
"""Between the bins: close where clicks and purchases are, most of which are rare."""

BINS = len(EDGES) + 1


@dataclass(slots=True)
class Reliability:
    """Sums by bins of the prediction; observed against predicted shares are the reliability curve (DeGroot and Fienberg
    1983).

    Examples
    --------
    >>> reliability = Reliability()
    >>> for came in (True, False, False, False): reliability.update(0.3, came)
    >>> f"{reliability.ece:.2f}"
    '0.05'
    """

    counts: list[int] = field(default_factory=lambda: [0] * BINS)
    predicted: list[float] = field(default_factory=lambda: [0.0] * BINS)
    observed: list[int] = field(default_factory=lambda: [0] * BINS)

    def update(self, probability: float, came: bool) -> None:
        """Take one prediction in, and whether what it is of came about."""
        at = bisect_right(EDGES, probability)
        self.counts[at] += 1
        self.predicted[at] += probability
        self.observed[at] += came

    def add(self, other: "Reliability") -> None:
        """Take another's sums in."""
        for at in range(BINS):
            self.counts[at] += other.counts[at]
            self.predicted[at] += other.predicted[at]
            self.observed[at] += other.observed[at]

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean distance of observed and predicted over bins, by their counts (Naeini,
        Cooper and Hauskrecht 2015); NaN for nothing."""
        total = sum(self.counts)
        apart = sum(abs(p - o) for p, o in zip(self.predicted, self.observed, strict=True))
        return apart / total if total else float("nan")
