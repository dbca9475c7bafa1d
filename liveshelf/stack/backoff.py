"""How long to wait before a crashed process is started again. Knows no process: it is told how long one ran."""


class Backoff:
    """Doubles from crash to crash up to a bound, and forgets them all once a run was long enough.

    There is no jitter: one supervisor restarts few processes, and tests can say exactly what happens.

    Parameters
    ----------
    first_s, most_s : float
        The first and the longest wait, seconds.
    factor : float
        From one wait to the next.
    healthy_s : float
        A run of at least this many seconds starts over at ``first_s``.

    Examples
    --------
    >>> backoff = Backoff(first_s=0.5, most_s=3.0, healthy_s=60.0)
    >>> waits = []
    >>> for ran_s in (1, 1, 1, 1, 90):
    ...     backoff.update(ran_s)
    ...     waits.append(backoff.get())
    >>> waits
    [0.5, 1.0, 2.0, 3.0, 0.5]
    """

    def __init__(
        self, first_s: float = 0.5, most_s: float = 30.0, factor: float = 2.0, healthy_s: float = 60.0
    ) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._factor = factor
        self._healthy_s = healthy_s
        self._wait_s = 0.0

    def update(self, ran_s: float) -> None:
        """A run ended after ``ran_s`` seconds."""
        grown = self._wait_s * self._factor
        self._wait_s = self._first_s if ran_s >= self._healthy_s or not grown else min(grown, self._most_s)

    def get(self) -> float:
        """Seconds to wait before the next start; 0 before the first crash."""
        return self._wait_s
