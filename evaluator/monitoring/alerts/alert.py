"""One alert; the active alerts of one reporter; and the view of all alerts that a reader of the alerts topic has.

Each beginning and each end is published once, and a long alert is repeated. Several evaluators may report the same
alert, and each repeats its alerts after a restart; a reader decides which records are news. Pure: takes alerts and a
clock. Knows nothing of where they go, nor of where they are read from.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec
from cachetools import FIFOCache
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


FORGET_MS = 3 * REPEAT_MS
"""An alert that was not repeated for so long no longer fires: the process that reported it is gone."""

MOST = 10_000
"""Most firing alerts that are kept; beyond that, those reported first are dropped."""

REMIND_MS = REPEAT_MS // 2
"""A repeated alert is news if it comes later than this, else it is ignored."""


@dataclass(slots=True)
class _Firing:
    alert: Alert
    news_at: int
    reported_at: dict[str, int] = field(default_factory=dict)


class AlertsView:
    """The alerts of the topic, each once, however often and by however many processes it was reported.

    Parameters
    ----------
    ended
        How many of the last ended alerts are kept.

    Examples
    --------
    >>> drop = Alert(name="drop", labels={}, state="firing", summary="", evidence={}, since=5)
    >>> view = AlertsView()
    >>> view.update(drop, 5, "evaluator-1").since
    5
    >>> view.update(drop, 9, "evaluator-2"), [alert.name for alert in view.get(10)]
    (None, ['drop'])
    >>> over = msgspec.structs.replace(drop, state="resolved", since=9, until=20)
    >>> view.update(over, 20, "evaluator-2"), [alert.name for alert in view.get(21)]
    (None, ['drop'])
    >>> ended = view.update(over, 22, "evaluator-1")
    >>> (ended.state, ended.since), view.get(23), len(view.ended())
    (('resolved', 5), [], 1)
    """

    def __init__(self, ended: int = 100) -> None:
        self._keep = ended
        self._firing: FIFOCache[str, _Firing] = FIFOCache(MOST)
        self._ended: OrderedDict[str, Alert] = OrderedDict()

    def update(self, alert: Alert, at: int, source: str = "") -> Alert | None:
        """Take in an alert that a source reported at a moment.

        Returns
        -------
        Alert or None
            The alert if it is news, with its true beginning: it begins, or goes on and was not reported for long, or
            has ended at all sources.
        """
        self._forget(at)
        known = self._firing.get(alert.key)
        if known is not None:
            alert = msgspec.structs.replace(alert, since=min(alert.since, known.alert.since))
        if alert.state == "resolved":
            return self._resolve(alert, known, source)
        news = known is None or at - known.news_at >= REMIND_MS
        if known is None:
            known = self._firing[alert.key] = _Firing(alert, at)
        known.alert, known.news_at = alert, at if news else known.news_at
        known.reported_at[source] = at
        return alert if news else None

    def _resolve(self, alert: Alert, known: _Firing | None, source: str) -> Alert | None:
        if known is None and alert.key in self._ended:
            return None
        if known is not None:
            known.reported_at.pop(source, None)
            if known.reported_at:
                return None
            del self._firing[alert.key]
        self._ended.pop(alert.key, None)
        self._ended[alert.key] = alert
        while len(self._ended) > self._keep:
            self._ended.popitem(last=False)
        return alert

    def get(self, now: int) -> list[Alert]:
        """All firing alerts, sorted by key."""
        self._forget(now)
        return [self._firing[key].alert for key in sorted(self._firing)]

    def ended(self) -> list[Alert]:
        """The last ended alerts, each with its latest end, the newest last."""
        return list(self._ended.values())

    def _forget(self, now: int) -> None:
        for key, firing in list(self._firing.items()):
            for source, at in list(firing.reported_at.items()):
                if now - at > FORGET_MS:
                    del firing.reported_at[source]
            if not firing.reported_at:
                del self._firing[key]
