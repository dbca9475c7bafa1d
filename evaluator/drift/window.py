"""Windows of values held against a reference window: what the tests of distributions share.

Knows values and a significance; each test says in its own file what it compares.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

from evaluator.drift.detector import Evidence, Reading

T = TypeVar("T")


class WindowTest(ABC, Generic[T]):
    """Gathers a reference of ``size`` values, then tests each following window of ``size`` against it.

    On a stable stream a window raises a false alarm with probability ``significance``, so one comes about every
    ``size / significance`` values. Windows do not overlap: each value is looked at once, and the tests of the windows
    share nothing but the reference.

    Parameters
    ----------
    size
        Values in a window.
    significance
        Probability of a false alarm in one window.
    """

    def __init__(self, size: int, significance: float) -> None:
        if size < 2 or not 0 < significance < 1:
            raise ValueError(f"a window of {size} values at significance {significance} tests nothing")
        self.size, self.significance = size, significance
        self._reference: list[T] = []
        self._window: list[T] = []
        self._reading = Reading(False, 1.0, significance)

    def update(self, value: T) -> None:
        """Take one value in; the last one of a window tests it."""
        if len(self._reference) < self.size:
            self._reference.append(value)
            return
        self._window.append(value)
        if len(self._window) == self.size:
            p, evidence = self._test(self._reference, self._window)
            self._window = []
            drifted = self._reading.drifted or p < self.significance
            if not self._reading.drifted:
                self._reading = Reading(drifted, p, self.significance, evidence)

    def get(self) -> Reading:
        """The p-value of the last window, or of the one that raised the alarm; 1 before the first."""
        return self._reading

    def reset(self) -> None:
        """Take the alarm back and begin a window; the reference stays."""
        self._window = []
        self._reading = Reading(False, 1.0, self.significance)

    @abstractmethod
    def _test(self, reference: Sequence[T], window: Sequence[T]) -> tuple[float, Evidence]:
        """A p-value of the window being like the reference, and what there is to say for it."""
