"""Notices a consumer that died quietly: events wait, yet nothing gets through.

Pure: takes progress, lag and a clock. What to do about it is the worker's business.
"""

STALLED_EXIT = 70
"""Exit code of a process that leaves to be restarted."""


class Watchdog:
    """Says when nothing was processed for too long although something waits.

    Time counts from the last progress or from the last moment without lag, and stands still while Redis is away, for
    then waiting is right.

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
        """Something was processed."""
        self._moved = True

    def stalled(self, now_s: float, lag: int, excused: bool) -> bool:
        """Whether the consumer is stuck; called regularly."""
        if self._moved or lag == 0 or excused or self._alive_at is None:
            self._alive_at = now_s
            self._moved = False
        return now_s - self._alive_at > self.stall_s
