"""A mean that has fallen: river's Page-Hinkley (Page 1954), for comparison with ours."""

from typing import Any

from river.drift import PageHinkley as River

from evaluator.monitoring.detectors.detector import Reading


class PageHinkley:
    """Alarms when the summed shortfall of values below their running mean less ``slack`` reaches ``limit``.

    Theory gives no false-alarm rate; ``benchmarks.drift`` measures it.

    Examples
    --------
    >>> detector = PageHinkley(limit=20)
    >>> for place in range(6_000):
    ...     detector.update(float(place % 10 == 0 if place < 3_000 else place % 100 == 0))
    >>> detector.get().drifted
    True
    """

    drifted: bool
    _seen: int
    _sum: float
    _river: Any

    def __init__(self, limit: float = 40.0, slack: float = 0.005) -> None:
        self.limit, self.slack = limit, slack
        self.reset()

    def update(self, value: float) -> None:
        """Take one value in."""
        self._river.update(value)
        self._seen += 1
        self._sum += value
        self.drifted = self.drifted or self._river.drift_detected

    def get(self) -> Reading:
        """The mean so far; the limit is that of the sum."""
        mean = self._sum / self._seen if self._seen else 0.0
        return Reading(self.drifted, mean, self.limit, {"mean": mean, "values": self._seen})

    def reset(self) -> None:
        """Start again, with nothing known."""
        self._river = River(threshold=self.limit, delta=self.slack, mode="down")
        self.drifted, self._seen, self._sum = False, 0, 0.0
