"""The firing alerts and the last ended ones, as read from the alerts topic, and which records are news.

Several evaluators may report the same alert, and each repeats its alerts after a restart. Pure: takes alerts in the
order of the topic and a clock. Knows nothing of where they are read from.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

import msgspec
from cachetools import FIFOCache

from evaluator.monitoring.alerts.alert import REPEAT_MS, Alert

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
