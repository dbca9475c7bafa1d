"""One alert, and the book of those that fire: each beginning and each end is told once, and a long one again at times.

Pure: takes what is watched and a clock, gives what is to be sent. Where alerts go is not its business.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from evaluator.monitoring.detectors.detector import Evidence
from streams.clock import Moment
from streams.telemetry.meter import Name, Words

REPEAT_MS = 4 * 3_600_000
"""An alert that goes on is told again so often."""


class Alert(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that needs a person, or no longer does. Times are epoch milliseconds.

    ``name`` and ``labels`` say what it is about and make it one alert; ``evidence`` is what made it fire; ``until`` is
    set once it is resolved.
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
        """The same for the same thing.

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
    >>> book = ActiveAlerts()
    >>> first = Alert(name="drop", labels={}, state="firing", summary="", evidence={}, since=5)
    >>> [alert.state for alert in book.fire(first, 5)], book.fire(first, 9)
    (['firing'], [])
    >>> [(alert.state, alert.until) for alert in book.resolve("drop", 20)], book.resolve("drop", 21)
    ([('resolved', 20)], [])
    """

    def __init__(self, repeat_ms: int = REPEAT_MS) -> None:
        self.repeat_ms = repeat_ms
        self._firing: dict[str, tuple[Alert, int]] = {}

    def fire(self, alert: Alert, now: int) -> list[Alert]:
        """Note that something fires; what is to be told of it."""
        known = self._firing.get(alert.key)
        if known is not None and now - known[1] < self.repeat_ms:
            return []
        told = alert if known is None else msgspec.structs.replace(alert, since=known[0].since)
        self._firing[alert.key] = told, now
        return [told]

    def resolve(self, key: str, now: int) -> list[Alert]:
        """Note that something no longer fires; what is to be told of it."""
        known = self._firing.pop(key, None)
        return [] if known is None else [msgspec.structs.replace(known[0], state="resolved", until=now)]

    def save(self) -> list[Any]:
        """What fires, and when it was told last, as plain values."""
        return [[msgspec.to_builtins(alert), told] for alert, told in self._firing.values()]

    def load(self, saved: Sequence[Any]) -> None:
        """Go on from what :meth:`save` gave, and from nothing else."""
        self._firing.clear()
        for plain, told in saved:
            alert = msgspec.convert(plain, Alert)
            self._firing[alert.key] = alert, told

    def get(self) -> list[Alert]:
        """All that fires, by key."""
        return [self._firing[key][0] for key in sorted(self._firing)]
