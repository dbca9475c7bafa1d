"""Delivery to a receiver that may be away: what an answer means, and how long to wait before the next try.

Pure: takes answers and a clock. Asking is `evaluator.monitoring.alerts.post`'s business.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Literal

FIRST_WAIT_S = 1.0
LONGEST_ASKED_S = 3_600.0
"""A receiver may ask for patience, but not for longer than this."""

WORTH_ANOTHER_TRY = frozenset({408, 429})
"""Answers below 500 that say nothing against the message itself."""

Verdict = Literal["delivered", "again", "refused"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: a status, None where nobody answered; what ``Retry-After`` said; a few words for the log."""

    status: int | None
    retry_after: str | None = None
    detail: str = ""

    @property
    def verdict(self) -> Verdict:
        """What it means for the message.

        Examples
        --------
        >>> [Answer(status).verdict for status in (204, None, 429, 503, 400, 301)]
        ['delivered', 'again', 'again', 'again', 'refused', 'refused']
        """
        if self.status is None or self.status >= 500 or self.status in WORTH_ANOTHER_TRY:
            return "again"
        return "delivered" if 200 <= self.status < 300 else "refused"

    def asked_s(self, now_s: float) -> float:
        """Seconds that the receiver asks to be left alone, given as a number or as a date (RFC 9110, 10.2.3).

        Examples
        --------
        >>> [Answer(503, text).asked_s(50) for text in ("120", "Thu, 01 Jan 1970 00:01:00 GMT", "999999")]
        [120.0, 10.0, 3600.0]
        >>> [Answer(503, text).asked_s(50) for text in (None, "soon", "inf", "-5")]
        [0.0, 0.0, 0.0, 0.0]
        """
        text = self.retry_after or "0"
        try:
            seconds = float(text)
        except ValueError:
            try:
                seconds = parsedate_to_datetime(text).timestamp() - now_s
            except (ValueError, OverflowError):
                return 0.0
        return min(max(seconds, 0.0), LONGEST_ASKED_S) if math.isfinite(seconds) else 0.0


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
