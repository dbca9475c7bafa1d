"""How often one process was restarted, and whether that is a crash loop. Pure: takes ends, their reasons, a clock.

Three ends within the window are a loop. It is over once a window has passed without another end. So a rolling deploy
raises no alarm, and the alarm of a process that crashes every two minutes does not flap.
"""

import math
from collections import deque

import msgspec

WINDOW_S = 300.0
LOOP = 3
"""Ends within the window that are a loop."""


class Restarted(msgspec.Struct, frozen=True, kw_only=True):
    """How often a process was restarted, in all and within ``span_s`` seconds; why and when (epoch s) it ended last.

    ``sentence`` is the same in words.
    """

    total: int
    lately: int
    span_s: float
    reason: str
    at: float
    looping: bool
    sentence: str


class Restarts:
    """The ends of one process.

    Parameters
    ----------
    name
        The process's name, for the sentence.
    window_s
        How long an end counts.

    Examples
    --------
    >>> restarts = Restarts("worker-1")
    >>> for now in (0, 30, 60, 90, 110):
    ...     restarts.update(now, "exit code 70", at=0)
    >>> restarts.get(120).sentence, restarts.looping(120), restarts.looping(409), restarts.looping(411)
    ('worker-1 restarted 5 times in 2 minutes: exit code 70', True, True, False)
    """

    def __init__(self, name: str, window_s: float = WINDOW_S) -> None:
        self.name, self.window_s = name, window_s
        self._ends = deque[float](maxlen=1_000)
        self._total, self._reason, self._at = 0, "", 0.0
        self._looping = False

    def update(self, now: float, reason: str, at: float) -> None:
        """Record an end at a moment of the monotonic clock; ``at`` is the same moment as epoch seconds."""
        self._ends.append(now)
        self._total, self._reason, self._at = self._total + 1, reason, at

    def looping(self, now: float) -> bool:
        """Whether it is in a loop."""
        while self._ends and self._ends[0] < now - self.window_s:
            self._ends.popleft()
        self._looping = len(self._ends) >= LOOP or (self._looping and bool(self._ends))
        return self._looping

    def get(self, now: float) -> Restarted:
        """The counts and the sentence."""
        looping = self.looping(now)
        span_s = now - self._ends[0] if self._ends else 0.0
        return Restarted(
            total=self._total,
            lately=len(self._ends),
            span_s=span_s,
            reason=self._reason,
            at=self._at,
            looping=looping,
            sentence=restarted(self.name, len(self._ends), span_s, self._reason),
        )


def restarted(name: str, times: int, span_s: float, reason: str) -> str:
    """The sentence for people.

    Examples
    --------
    >>> restarted("worker-1", 1, 3.2, ""), restarted("worker-1", 6, 115, "OSError: full")
    ('worker-1 restarted once in 4 s', 'worker-1 restarted 6 times in 2 minutes: OSError: full')
    """
    often = "once" if times == 1 else f"{times} times"
    span = f"{max(1, math.ceil(span_s))} s" if span_s < 90 else f"{math.ceil(span_s / 60)} minutes"
    return f"{name} restarted {often} in {span}{f': {reason}' if reason else ''}"
