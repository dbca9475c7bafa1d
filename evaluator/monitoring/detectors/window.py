"""Windows of values compared with a reference window: the base of the tests of distributions.

Knows values and a significance; each test defines in its own file what it compares.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar

from evaluator.monitoring.detectors.detector import Evidence, Reading

T = TypeVar("T")


class WindowTest(ABC, Generic[T]):
    """Gathers a reference of ``size`` values, then tests each following window of ``size`` against it. :meth:`close`
    ends the reference or a window with fewer.

    On a stable stream a window raises a false alarm with probability ``significance``, so there is one about every
    ``size / significance`` values. Windows do not overlap: each value is tested once, and the tests share only the
    reference.

    Parameters
    ----------
    size
        Most values in a window.
    significance
        Probability of a false alarm in one window.

    Attributes
    ----------
    independent
        Whether the test takes a window's values as independent, so that a shopper may give only one of them.
    windows
        Number of windows tested since the last reset.
    drifted
        Whether the alarm is on.
    """

    independent: ClassVar[bool] = True
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
        self._window.append(value)
        if len(self._window) == self.size:
            self.close()

    def close(self) -> None:
        """End the reference, or end and test a window, with the values that it has."""
        window, self._window = self._window, []
        if not self._reference:
            self._reference = window
            return
        p, evidence = self._test(self._reference, window)
        self.windows += 1
        if not self.drifted:
            self.drifted = p < self.significance
            self._reading = Reading(self.drifted, p, self.significance, evidence)

    @property
    def gathered(self) -> int:
        """Number of values in the reference that is not complete yet, or else in the present window."""
        return len(self._window)

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
        return [self._plain(value) for value in self._reference] or None

    def load(self, reference: Sequence[Any]) -> None:
        """Go on with the reference that :meth:`save` gave.

        Raises
        ------
        ValueError
            When it is empty or longer than a window.
        """
        if not 0 < len(reference) <= self.size:
            raise ValueError(f"{len(reference)} values are no reference for windows of {self.size}")
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
