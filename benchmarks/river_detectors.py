"""Detectors of the river library, in the form of ours, to compare with: ADWIN (Bifet and Gavaldà 2007) for a mean that
has changed, Page-Hinkley (Page 1954) for a mean that has fallen.

Knows river; nothing of what is watched.
"""

from typing import Any

from river import drift

from evaluator.monitoring.detectors.detector import Reading


class Adwin:
    """Alarms when two parts of an adaptive window differ in mean, either way.

    Parameters
    ----------
    delta
        Significance of each of its tests; it bounds false alarms of one test, not of a run.

    Examples
    --------
    >>> detector = Adwin()
    >>> for place in range(4_000):
    ...     detector.update(float(place % 20 == 0 if place < 2_000 else place % 2 == 0))
    >>> detector.get().drifted
    True
    """

    drifted: bool
    _before: float
    _adwin: Any

    def __init__(self, delta: float = 0.002) -> None:
        self.delta = delta
        self.reset()

    def update(self, value: float) -> None:
        """Take one value in."""
        before = self._adwin.estimation
        self._adwin.update(value)
        if self._adwin.drift_detected and not self.drifted:
            self.drifted, self._before = True, before

    def get(self) -> Reading:
        """The window's mean, compared with its mean before the alarm."""
        mean = float(self._adwin.estimation)
        evidence = {"mean": mean, "mean before": self._before, "window": float(self._adwin.width)}
        return Reading(self.drifted, mean, self._before, dict(evidence))

    def reset(self) -> None:
        """Start again, with nothing known."""
        self._adwin = drift.ADWIN(delta=self.delta)  # type: ignore[no-untyped-call]
        self.drifted, self._before = False, 0.0


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
        self._river = drift.PageHinkley(threshold=self.limit, delta=self.slack, mode="down")
        self.drifted, self._seen, self._sum = False, 0, 0.0
