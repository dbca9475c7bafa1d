"""One receiver of alerts: tries, counts what came of each, and says once when it is away and once when it is back.

Knows nothing of alerts; what is posted again, and when, is the caller's business.
"""

import logging
import time
from collections.abc import Mapping

from evaluator.monitoring.alerts.post import Post
from streams.runtime.tasks import Backoff
from streams.telemetry.meter import Meter

log = logging.getLogger(__name__)


class Receiver:
    """Somebody who takes messages over HTTP.

    Parameters
    ----------
    name
        For the log, and of the counts ``{name}.delivered``, ``{name}.again`` and ``{name}.refused``.
    longest_s
        The longest wait between two tries, unless the receiver asks for more.
    """

    def __init__(self, name: str, post: Post, longest_s: float, meter: Meter) -> None:
        self.name, self._post, self._meter = name, post, meter
        self._backoff = Backoff(longest_s)
        self._away = False

    async def tell(self, url: str, body: bytes, headers: Mapping[str, str] | None = None) -> float | None:
        """Try once; None when the message is done with, else the seconds to wait before the next try."""
        answer = await self._post(url, body, headers)
        self._meter.count(f"{self.name}.{answer.verdict}")
        if answer.verdict == "again":
            if not self._away:
                log.warning("%s does not take alerts now (%s): trying until it does", self.name, answer.detail)
            self._away = True
            return self._backoff.next(answer.asked_s(time.time()))
        if answer.verdict == "refused":
            log.error("%s refuses an alert, which is given up: %s", self.name, answer.detail)
        elif self._away:
            log.warning("%s takes alerts again", self.name)
        self._away = False
        self._backoff.reset()
        return None
