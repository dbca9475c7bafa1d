"""What was opened lately is less tempting for a while. Pure: counts one shopper's visits, knows no clock.

Counted in visits, not in hours, so that a shop is as steady at a thousand visits a second as at one.
"""

import math

WORN = 0.7
"""What is gone of an item's appeal when it has just been opened."""

RECOVERS = 5.0
"""Visits in which what is gone falls to 1/e."""

FORGOTTEN = 25
"""Visits after which an item is as good as new."""


class Novelty:
    """The items that a shopper opened in their last visits.

    Examples
    --------
    >>> novelty = Novelty()
    >>> novelty.update("a", visit=3)
    >>> [round(novelty.get("a", visit), 2) for visit in (3, 8, 28)], novelty.get("b", 3)
    ([0.3, 0.74, 1.0], 1.0)
    """

    def __init__(self) -> None:
        self._opened: dict[str, int] = {}

    def update(self, item_id: str, visit: int) -> None:
        """Note that an item was opened, and forget what was opened long ago."""
        self._opened.pop(item_id, None)
        self._opened[item_id] = visit
        while visit - self._opened[oldest := next(iter(self._opened))] >= FORGOTTEN:
            del self._opened[oldest]

    def get(self, item_id: str, visit: int) -> float:
        """What is left of an item's appeal, in [0, 1]."""
        opened = self._opened.get(item_id)
        if opened is None or visit - opened >= FORGOTTEN:
            return 1.0
        return 1.0 - WORN * math.exp((opened - visit) / RECOVERS)

    @property
    def worn(self) -> list[str]:
        """Items that may have lost some appeal."""
        return list(self._opened)
