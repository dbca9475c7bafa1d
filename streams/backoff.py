"""How long to wait before the next try of what does not work now. Pure but for chance; knows not what is tried."""

import random
from collections.abc import Callable

FIRST_WAIT_S = 1.0


class Backoff:
    """Waits between tries: exponential with full jitter, so that many senders do not come back as one.

    Parameters
    ----------
    longest_s
        No wait of its own is longer; one that the receiver asked for may be.
    chance
        Gives numbers from 0 to 1.

    Examples
    --------
    >>> backoff = Backoff(10.0, chance=lambda: 1.0)
    >>> [backoff.next() for _ in range(5)], backoff.next(asked_s=120.0)
    ([1.0, 2.0, 4.0, 8.0, 10.0], 120.0)
    >>> backoff.reset()
    >>> backoff.next()
    1.0
    """

    def __init__(self, longest_s: float, chance: Callable[[], float] = random.random) -> None:
        self.longest_s, self._chance = longest_s, chance
        self._bound = FIRST_WAIT_S

    def next(self, asked_s: float = 0.0) -> float:
        """Seconds to wait before the next try, at least as long as the receiver asked for."""
        bound = min(self._bound, self.longest_s)
        self._bound = min(2 * self._bound, self.longest_s)
        return max(asked_s, bound * self._chance())

    def reset(self) -> None:
        """A try went well."""
        self._bound = FIRST_WAIT_S
