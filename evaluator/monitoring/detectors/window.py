"""Windows of values compared with a reference window: the base of the tests of distributions.

Knows values and a significance; each test defines in its own file what it compares.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from evaluator.monitoring.detectors.detector import Evidence, Reading

T = TypeVar("T")


class WindowTest(ABC, Generic[T]):
    """Gathers a reference of ``size`` values, then tests each following window of ``size`` against it.

    On a stable stream a window raises a false alarm with probability ``significance``, so there is one about every
    ``size / significance`` values. Windows do not overlap: each value is tested once, and the tests share only the
    reference.

    Parameters
    ----------
    size
        Values in a window.
    significance
        Probability of a false alarm in one window.

    Attributes
    ----------
    windows
        Number of windows tested since the last reset.
    drifted
        Whether the alarm is on.
    """

    windows: int
    drifted: bool
    _window: list[T]
    _reading: Reading

    def __init__(self, size: int, significance: float) -> None:
        if size < 2 or not 0 < significance < 1:
            raise ValueError(f"a window of {size} values at significance {significance} tests nothing")
        self.size, self.significance = size, significance
        self._reference: list[T] = []
        self.reset()

    def update(self, value: T) -> None:
        """Take one value in; the last one of a window tests it."""
        if len(self._reference) < self.size:
            self._reference.append(value)
            return
        self._window.append(value)
        if len(self._window) == self.size:
            window, self._window = self._window, []
            p, evidence = self._test(self._reference, window)
            self.windows += 1
            if not self.drifted:
                self.drifted = p < self.significance
                self._reading = Reading(self.drifted, p, self.significance, evidence)

    def get(self) -> Reading:
        """The p-value of the last window, or of the one that raised the alarm; 1 before the first."""
        return self._reading

    def reset(self) -> None:
        """End the alarm and begin a window; the reference stays."""
        self._window = []
        self.windows, self.drifted = 0, False
        self._reading = Reading(False, 1.0, self.significance)

    def save(self) -> list[Any] | None:
        """The reference as plain values, once it is complete; a loaded test begins a new window."""
        if len(self._reference) < self.size:
            return None
        return [self._plain(value) for value in self._reference]

    def load(self, reference: Sequence[Any]) -> None:
        """Go on with the reference that :meth:`save` gave.

        Raises
        ------
        ValueError
            When it is not as long as a window.
        """
        if len(reference) != self.size:
            raise ValueError(f"{len(reference)} values are no reference of {self.size}")
        self._reference = [self._restored(value) for value in reference]
        self.reset()

    @abstractmethod
    def _test(self, reference: Sequence[T], window: Sequence[T]) -> tuple[float, Evidence]:
        """The p-value of the window having the reference's distribution, and the evidence."""

    def _plain(self, value: T) -> Any:
        """A value as a plain value for MessagePack."""
        return value

    def _restored(self, plain: Any) -> T:
        """The value of a plain value."""
        found: T = plain
        return found
