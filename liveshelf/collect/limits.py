"""How much is let in: token buckets for rates, and a budget of bytes for what is held in memory.

Pure: the clock is an argument, and memory is bounded. Knows nothing of keys, addresses or requests.
"""

import ipaddress
import math
from collections.abc import Iterator
from contextlib import contextmanager

from cachetools import LRUCache

MOST_BUCKETS = 100_000


class Buckets:
    """A token bucket for each name; the least recently used are forgotten beyond :data:`MOST_BUCKETS`.

    A name with any token left may take as many as it needs and is in debt then, so that no request is too large for
    ever.

    Parameters
    ----------
    per_s
        Tokens that a bucket gains a second.
    burst_s
        How many seconds' worth it holds.

    Examples
    --------
    >>> buckets = Buckets(per_s=2.0, burst_s=1.0)
    >>> buckets.wait_s("a", 0.0), buckets.take("a", 5, 0.0), buckets.wait_s("a", 0.0), buckets.wait_s("a", 3.0)
    (0.0, None, 2.0, 0.0)
    """

    def __init__(self, per_s: float, burst_s: float) -> None:
        self._per_s, self._size = per_s, max(1.0, per_s * burst_s)
        self._tokens: LRUCache[str, tuple[float, float]] = LRUCache(MOST_BUCKETS)

    def wait_s(self, name: str, now_s: float) -> float:
        """Seconds until the name has a token; 0 if it has one."""
        return max(0.0, (1.0 - self._left(name, now_s)) / self._per_s)

    def take(self, name: str, count: int, now_s: float) -> None:
        """Take tokens."""
        self._tokens[name] = (self._left(name, now_s) - count, now_s)

    def _left(self, name: str, now_s: float) -> float:
        tokens, at_s = self._tokens.get(name, (math.inf, now_s))
        return min(self._size, tokens + (now_s - at_s) * self._per_s)


def network(address: str) -> str:
    """What a client's address counts as: itself, or the /64 network of IPv6, which one client has whole.

    Examples
    --------
    >>> network("10.1.2.3"), network("2001:db8:1:2:3::4"), network("::ffff:10.1.2.3"), network("no address")
    ('10.1.2.3', '2001:db8:1:2::/64', '10.1.2.3', '')
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))


class FullError(Exception):
    """The budget has no room."""


class Budget:
    """Bytes that may be held at a time.

    Examples
    --------
    >>> budget = Budget(10)
    >>> with budget.share() as share:
    ...     share.add(8)
    ...     budget.held
    8
    >>> budget.held
    0
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.held = 0

    def add(self, size: int) -> None:
        """Hold more bytes; FullError where there is no room."""
        if self.held + size > self._most:
            raise FullError
        self.held += size

    def release(self, size: int) -> None:
        """Hold fewer bytes."""
        self.held -= size

    @contextmanager
    def share(self) -> "Iterator[Share]":
        """A part of it that is released at the end of the block."""
        share = Share(self)
        try:
            yield share
        finally:
            self.release(share.held)


class Share:
    """The bytes that one request holds."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.held = 0

    def add(self, size: int) -> None:
        """Hold more; FullError where there is no room."""
        self._budget.add(size)
        self.held += size
