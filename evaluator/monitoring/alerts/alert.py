"""One alert, and the active alerts: each beginning and each end is published once, and a long alert is repeated.

Pure: takes alerts and a clock, gives the alerts to send. Knows nothing of where they go.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from evaluator.monitoring.detectors.detector import Evidence
from streams.clock import Moment
from streams.telemetry.meter import Name, Words

REPEAT_MS = 4 * 3_600_000
"""A firing alert is published again at this interval."""


class Alert(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that needs a person, or no longer does. Times are epoch milliseconds.

    ``name`` and ``labels`` identify the alert; ``evidence`` is the reason that it fires; ``until`` is set once it is
    resolved.
    """

    name: Name
    labels: Annotated[dict[Name, Words], Meta(max_length=64)]
    state: Literal["firing", "resolved"]
    summary: Words
    evidence: Evidence
    since: Moment
    until: Moment | None = None

    @property
    def key(self) -> str:
        """The alert's identity as one string.

        Examples
        --------
        >>> Alert(name="drop", labels={"arm": "a"}, state="firing", summary="", evidence={}, since=0).key
        'drop|arm=a'
        """
        return "|".join((self.name, *(f"{name}={value}" for name, value in sorted(self.labels.items()))))


encoder = msgspec.json.Encoder()
decoder = msgspec.json.Decoder(Alert)


class ActiveAlerts:
    """The alerts that fire now.

    Examples
    --------
    >>> active = ActiveAlerts()
    >>> first = Alert(name="drop", labels={}, state="firing", summary="", evidence={}, since=5)
    >>> [alert.state for alert in active.fire(first, 5)], active.fire(first, 9)
    (['firing'], [])
    >>> [(alert.state, alert.until) for alert in active.resolve("drop", 20)], active.resolve("drop", 21)
    ([('resolved', 20)], [])
    """

    def __init__(self, repeat_ms: int = REPEAT_MS) -> None:
        self.repeat_ms = repeat_ms
        self._firing: dict[str, tuple[Alert, int]] = {}

    def fire(self, alert: Alert, now: int) -> list[Alert]:
        """Record that an alert fires; returns what to publish."""
        known = self._firing.get(alert.key)
        if known is not None and now - known[1] < self.repeat_ms:
            return []
        news = alert if known is None else msgspec.structs.replace(alert, since=known[0].since)
        self._firing[alert.key] = news, now
        return [news]

    def resolve(self, key: str, now: int) -> list[Alert]:
        """Record that an alert no longer fires; returns what to publish."""
        known = self._firing.pop(key, None)
        return [] if known is None else [msgspec.structs.replace(known[0], state="resolved", until=now)]

    def save(self) -> list[Any]:
        """The firing alerts, and when each was published last, as plain values."""
        return [[msgspec.to_builtins(alert), published] for alert, published in self._firing.values()]

    def load(self, saved: Sequence[Any]) -> None:
        """Replace the state by what :meth:`save` gave."""
        self._firing.clear()
        for plain, published in saved:
            alert = msgspec.convert(plain, Alert)
            self._firing[alert.key] = alert, published

    def get(self) -> list[Alert]:
        """All firing alerts, sorted by key."""
        return [self._firing[key][0] for key in sorted(self._firing)]
