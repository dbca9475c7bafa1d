"""Delivery to a receiver that may be away: what an answer means, and how long to wait before the next attempt.

Pure: takes answers and a clock; ``outbound`` sends the requests.
"""

import math
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Literal

import httpx

LONGEST_ASKED_S = 3_600.0
"""Longest wait that a receiver may ask for."""

WORTH_ANOTHER_TRY = frozenset({408, 429})
"""Answers below 500 after which the message is sent again."""

Verdict = Literal["delivered", "again", "refused"]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: the status, None where nobody answered; the header ``Retry-After``; a few words for the log."""

    status: int | None
    retry_after: str | None = None
    detail: str = ""

    @property
    def verdict(self) -> Verdict:
        """What the answer means for the message.

        Examples
        --------
        >>> [Answer(status).verdict for status in (204, None, 429, 503, 400, 301)]
        ['delivered', 'again', 'again', 'again', 'refused', 'refused']
        """
        if self.status is None or self.status >= 500 or self.status in WORTH_ANOTHER_TRY:
            return "again"
        return "delivered" if 200 <= self.status < 300 else "refused"

    def asked_s(self, now_s: float) -> float:
        """Seconds that the receiver asks to wait, given as a number or as a date (RFC 9110, 10.2.3).

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


MAX_DETAIL = 300


async def _beginning(response: httpx.Response) -> bytes:
    read = b""
    async for chunk in response.aiter_bytes(MAX_DETAIL):
        read += chunk
        if len(read) >= MAX_DETAIL:
            break
    return read[:MAX_DETAIL]
