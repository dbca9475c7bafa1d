"""How fast to send: at a rate, or as it once happened. Pure: takes the time, returns a delay."""


class TokenBucket:
    """At most ``rate`` a second on average, and at most ``burst`` at once.

    Examples
    --------
    >>> bucket = TokenBucket(rate=10, burst=2)
    >>> [bucket.delay(now=100.0) for _ in range(4)]
    [0.0, 0.0, 0.1, 0.2]
    >>> bucket.delay(now=200.0)
    0.0
    """

    def __init__(self, rate: float, burst: float | None = None) -> None:
        if not rate > 0:
            raise ValueError("a rate must be above 0")
        self.rate = rate
        self.burst = max(1.0, rate / 100 if burst is None else burst)
        self._tokens = self.burst
        self._at: float | None = None

    def delay(self, now: float, _time_ms: int = 0) -> float:
        """Take one token; returns the seconds to wait. The time of the record does not matter."""
        if self._at is not None:
            self._tokens = min(self.burst, self._tokens + max(0.0, now - self._at) * self.rate)
        self._at = now if self._at is None else max(now, self._at)
        self._tokens -= 1
        return max(0.0, -self._tokens / self.rate)


class ReplayClock:
    """Replays at ``speed`` times the original speed: an hour becomes ``3600 / speed`` seconds.

    A record dated before one already sent is due at once: the order of the file is kept.

    Examples
    --------
    >>> history = ReplayClock(speed=10)
    >>> [history.delay(now=0.0, time_ms=time) for time in (5_000, 15_000, 4_000)]
    [0.0, 1.0, 0.0]
    """

    def __init__(self, speed: float) -> None:
        if not speed > 0:
            raise ValueError("a speed must be above 0")
        self.speed = speed
        self._start: tuple[float, int] | None = None

    def delay(self, now: float, time_ms: int) -> float:
        """Seconds to wait before sending a record of the time ``time_ms``."""
        if self._start is None:
            self._start = now, time_ms
        start, first_ms = self._start
        return max(0.0, start + (time_ms - first_ms) / 1000 / self.speed - now)


RateLimit = TokenBucket | ReplayClock
