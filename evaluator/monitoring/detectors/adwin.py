"""A mean that has changed: river's ADWIN (Bifet and Gavaldà 2007), for comparison with ours."""

from typing import Any

from river.drift import ADWIN

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
        self._adwin = ADWIN(delta=self.delta)  # type: ignore[no-untyped-call]
        self.drifted, self._before = False, 0.0
