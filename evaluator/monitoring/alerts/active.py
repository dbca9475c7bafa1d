"""What fires now and what ended last, as the alerts topic tells it, and which of what it tells is news.

More evaluators may see the same, and each tells again what it saw before it was restarted. Pure: takes alerts in the
order of the topic and a clock. Where they are read from is not its business.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

import msgspec
from cachetools import FIFOCache

from evaluator.monitoring.alerts.alert import REPEAT_MS, Alert

FORGET_MS = 3 * REPEAT_MS
"""An alert that was not told again for so long no longer fires: whoever watched it is gone."""

MOST = 10_000
"""Alerts that are known to fire; of more, those that began to be told first are forgotten."""

REMIND_MS = REPEAT_MS // 2
"""An alert that is told again sooner than this is a repetition, later a reminder."""


@dataclass(slots=True)
class _Firing:
    alert: Alert
    news_at: int
    told_at: dict[str, int] = field(default_factory=dict)


class AlertsView:
    """The alerts of the topic, each once, however often and by however many it was told.

    Parameters
    ----------
    ended
        How many ended alerts are kept, the last ones.

    Examples
    --------
    >>> drop = Alert(name="drop", labels={}, state="firing", summary="", evidence={}, since=5)
    >>> standing = AlertsView()
    >>> standing.update(drop, 5, "evaluator-1").since
    5
    >>> standing.update(drop, 9, "evaluator-2"), [alert.name for alert in standing.get(10)]
    (None, ['drop'])
    >>> over = msgspec.structs.replace(drop, state="resolved", since=9, until=20)
    >>> standing.update(over, 20, "evaluator-2"), [alert.name for alert in standing.get(21)]
    (None, ['drop'])
    >>> ended = standing.update(over, 22, "evaluator-1")
    >>> (ended.state, ended.since), standing.get(23), len(standing.ended())
    (('resolved', 5), [], 1)
    """

    def __init__(self, ended: int = 100) -> None:
        self._keep = ended
        self._firing: FIFOCache[str, _Firing] = FIFOCache(MOST)
        self._ended: OrderedDict[str, Alert] = OrderedDict()

    def update(self, alert: Alert, told: int, source: str = "") -> Alert | None:
        """Take in what somebody told at a moment.

        Returns
        -------
        Alert or None
            What is news: an alert that begins, one that goes on and was not told of for long, one that ended for all;
            with its true beginning.
        """
        self._forget(told)
        known = self._firing.get(alert.key)
        if known is not None:
            alert = msgspec.structs.replace(alert, since=min(alert.since, known.alert.since))
        if alert.state == "resolved":
            return self._resolve(alert, known, source)
        news = known is None or told - known.news_at >= REMIND_MS
        if known is None:
            known = self._firing[alert.key] = _Firing(alert, told)
        known.alert, known.news_at = alert, told if news else known.news_at
        known.told_at[source] = told
        return alert if news else None

    def _resolve(self, alert: Alert, known: _Firing | None, source: str) -> Alert | None:
        if known is None and alert.key in self._ended:
            return None
        if known is not None:
            known.told_at.pop(source, None)
            if known.told_at:
                return None
            del self._firing[alert.key]
        self._ended.pop(alert.key, None)
        self._ended[alert.key] = alert
        while len(self._ended) > self._keep:
            self._ended.popitem(last=False)
        return alert

    def get(self, now: int) -> list[Alert]:
        """All that fires, by key."""
        self._forget(now)
        return [self._firing[key].alert for key in sorted(self._firing)]

    def ended(self) -> list[Alert]:
        """The last alerts that ended, each with its latest end, the last one last."""
        return list(self._ended.values())

    def _forget(self, now: int) -> None:
        for key, firing in list(self._firing.items()):
            for source, told in list(firing.told_at.items()):
                if now - told > FORGET_MS:
                    del firing.told_at[source]
            if not firing.told_at:
                del self._firing[key]
