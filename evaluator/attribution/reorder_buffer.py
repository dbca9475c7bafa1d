"""Things that wait until all are known that come before them.

Pure: a heap by time, bounded.
"""

import heapq
from collections.abc import Iterator
from itertools import count
from typing import Generic, TypeVar

T = TypeVar("T")


class ReorderBuffer(Generic[T]):
    """Puts things from several ordered sources into one order.

    Parameters
    ----------
    most
        How many may wait; of more, the earliest are let go however far the sources are.

    Examples
    --------
    >>> waiting = Waiting[str]()
    >>> for ts, name in [(5, "c"), (1, "a"), (3, "b")]: waiting.put(ts, name)
    >>> list(waiting.take(4)), list(waiting.take(9))
    (['a', 'b'], ['c'])
    """

    def __init__(self, most: int = 500_000) -> None:
        self.most = most
        self._heap: list[tuple[int, int, T]] = []
        self._number = count()

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, ts: int, thing: T) -> None:
        """Let it wait."""
        heapq.heappush(self._heap, (ts, next(self._number), thing))

    def take(self, until: float) -> Iterator[T]:
        """Those from before ``until``, in order of time, and of those from one moment as they were put."""
        while self._heap and (self._heap[0][0] < until or len(self._heap) > self.most):
            yield heapq.heappop(self._heap)[2]
