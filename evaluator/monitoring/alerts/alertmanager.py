"""Alerts for Alertmanager (API v2): firing alerts are sent repeatedly, each end once.

Alertmanager ends an alert at ``endsAt`` unless it is sent again. So sending is idempotent, needs no offsets, and a dead
process leaves no alert firing for good. Pure: takes values and a clock, gives JSON.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from evaluator.monitoring.alerts.alert import Alert, AlertsView
from evaluator.translations import Language, live

PATH = "api/v2/alerts"
HOLD = 5
"""An alert that is not sent again ends after so many times the interval between two requests."""

_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_]")


class AlertmanagerState:
    """The alerts to send to Alertmanager.

    Parameters
    ----------
    resend_ms
        Interval at which firing alerts are sent.
    link
        Address of a page for people.
    language
        Of the annotations.

    Examples
    --------
    >>> state = AlertmanagerState(resend_ms=60_000)
    >>> drop = Alert(name="drop", labels={"arm": "a"}, state="firing", summary="Fewer", evidence={"rate": 0.1}, since=0)
    >>> state.update(drop, 0)
    >>> [sent] = state.get(1_000)
    >>> sent["labels"], sent["annotations"], sent["endsAt"]
    ({'arm': 'a', 'alertname': 'drop'}, {'summary': 'Fewer', 'evidence': 'rate 0.1'}, '1970-01-01T00:05:01.000Z')
    >>> state.update(msgspec.structs.replace(drop, state="resolved", until=2_000), 2_000)
    >>> [one["endsAt"] for one in state.get(3_000)]
    ['1970-01-01T00:00:02.000Z']
    >>> state.sent()
    >>> state.get(4_000)
    []
    """

    def __init__(self, resend_ms: int, link: str | None = None, language: Language = "en") -> None:
        self._hold_ms, self._link, self._language = HOLD * resend_ms, link, language
        self._view = AlertsView()
        self._ends: dict[str, Alert] = {}

    def update(self, alert: Alert, at: int, source: str = "") -> None:
        """Take in an alert that a source reported at a moment."""
        news = self._view.update(alert, at, source)
        if news is not None:
            self._ends.pop(news.key, None)
            if news.state == "resolved":
                self._ends[news.key] = news

    def get(self, now: int) -> list[dict[str, Any]]:
        """All firing alerts, and those that ended since the last call of :meth:`sent`."""
        # Alertmanager itself has ended alerts that ended longer ago than an alert lasts.
        self._ends = {key: alert for key, alert in self._ends.items() if now - (alert.until or 0) < self._hold_ms}
        return [self._posted(alert, now) for alert in (*self._view.get(now), *self._ends.values())]

    def sent(self) -> None:
        """Alertmanager has accepted what the last :meth:`get` gave."""
        self._ends.clear()

    def _posted(self, alert: Alert, now: int) -> dict[str, Any]:
        ends = now + self._hold_ms if alert.until is None else max(alert.until, alert.since)
        labels = {_name(name): value for name, value in alert.labels.items()}
        posted: dict[str, Any] = {
            "labels": labels | {"alertname": alert.name},
            "annotations": {
                "summary": live().say(alert.summary, self._language),
                "evidence": evidence(alert, self._language),
            },
            "startsAt": _moment(alert.since),
            "endsAt": _moment(ends),
        }
        return posted if self._link is None else posted | {"generatorURL": self._link}


def evidence(alert: Alert, language: Language = "en") -> str:
    """The evidence as text for people.

    Examples
    --------
    >>> found: Any = {"rate": 0.0123456, "of": 12345}
    >>> evidence(Alert(name="", labels={}, state="firing", summary="", since=0, evidence=found))
    'rate 0.01235, of 12345'
    """
    shown = (
        (live().say(name, language), f"{value:.4g}" if isinstance(value, float) else str(value))
        for name, value in alert.evidence.items()
    )
    return (", " if language == "en" else "\uff0c").join(f"{name} {value}" for name, value in shown)


def body(alerts: Iterable[dict[str, Any]]) -> bytes:
    """The request's body."""
    return msgspec.json.encode(list(alerts))


def _name(label: str) -> str:
    """A label's name that Alertmanager accepts."""
    name = _NOT_IN_A_NAME.sub("_", label)
    return f"_{name}" if name[:1].isdigit() or not name else name


def _moment(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
