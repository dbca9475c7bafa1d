"""Whether a model fails: too many of its last shelves had scores that are no numbers, or none at all.

Pure: takes counts, gives a verdict.
"""

from collections import deque

WINDOW, LEAST, SHARE = 200, 20, 0.1
"""More than this share of so many last shelves, of which there must be so many at least, and the model fails."""


class Failing:
    """Counts a model's shelves and its failures, the last :data:`WINDOW` of them.

    Examples
    --------
    >>> failing = Failing()
    >>> failing.update(18, 2), failing.update(0, 1)
    (False, True)
    >>> failing.update(180, 0)
    False
    """

    def __init__(self) -> None:
        self._last: deque[bool] = deque(maxlen=WINDOW)
        self._failed = 0

    def update(self, good: int, failed: int) -> bool:
        """Take what became of some shelves; whether the model fails now."""
        for broken in (*[False] * good, *[True] * failed):
            if len(self._last) == WINDOW:
                self._failed -= self._last[0]
            self._last.append(broken)
            self._failed += broken
        return len(self._last) >= LEAST and self._failed > SHARE * len(self._last)
