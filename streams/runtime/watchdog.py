"""Detects a consumer that has stalled: events wait, but none is processed.

Pure: takes progress, lag and a clock. Knows nothing of what the worker does then.
"""

STALLED_EXIT = 70
"""Exit code of a process that ends to be restarted."""


class Watchdog:
    """Detects that nothing was processed for too long although events wait.

    Time counts from the last progress or the last moment without lag. It does not count while Redis is away, since
    waiting is right then.

    Examples
    --------
    >>> watchdog = Watchdog(stall_s=10)
    >>> [watchdog.stalled(now, lag=5, excused=False) for now in (0, 9, 11)]
    [False, False, True]
    >>> watchdog.progress()
    >>> watchdog.stalled(12, lag=5, excused=False)
    False
    """

    def __init__(self, stall_s: float) -> None:
        self.stall_s = stall_s
        self._alive_at: float | None = None
        self._moved = False

    def progress(self) -> None:
        """Record that something was processed."""
        self._moved = True

    def stalled(self, now_s: float, lag: int, excused: bool) -> bool:
        """Whether the consumer is stuck; called regularly."""
        if self._moved or lag == 0 or excused or self._alive_at is None:
            self._alive_at = now_s
            self._moved = False
        return now_s - self._alive_at > self.stall_s
