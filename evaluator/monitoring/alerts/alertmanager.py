"""Alerts as Alertmanager takes them (API v2): all that fires, again and again, and each end once.

Alertmanager keeps an alert for as long as it is told of it, and ends it by itself at ``endsAt``; so telling is
idempotent, needs no offsets, and a process that dies leaves nothing firing for good. Pure: values and a clock in, JSON
out.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from evaluator.monitoring.alerts.active import AlertsView
from evaluator.monitoring.alerts.alert import Alert

PATH = "api/v2/alerts"
HOLD = 5
"""An alert lasts, unless told again, for so many times as long as the time between two tellings."""

_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_]")


class Bulletin:
    """What Alertmanager is to be told now.

    Parameters
    ----------
    resend_ms
        How often it is told of what fires.
    link
        Where a person can look.

    Examples
    --------
    >>> bulletin = Bulletin(resend_ms=60_000)
    >>> drop = Alert(name="drop", labels={"arm": "a"}, state="firing", summary="Fewer", evidence={"rate": 0.1}, since=0)
    >>> bulletin.update(drop, 0)
    >>> [told] = bulletin.get(1_000)
    >>> told["labels"], told["annotations"], told["endsAt"]
    ({'arm': 'a', 'alertname': 'drop'}, {'summary': 'Fewer', 'evidence': 'rate 0.1'}, '1970-01-01T00:05:01.000Z')
    >>> bulletin.update(msgspec.structs.replace(drop, state="resolved", until=2_000), 2_000)
    >>> [one["endsAt"] for one in bulletin.get(3_000)]
    ['1970-01-01T00:00:02.000Z']
    >>> bulletin.sent()
    >>> bulletin.get(4_000)
    []
    """

    def __init__(self, resend_ms: int, link: str | None = None) -> None:
        self._hold_ms, self._link = HOLD * resend_ms, link
        self._standing = AlertsView()
        self._ends: dict[str, Alert] = {}

    def update(self, alert: Alert, told: int, source: str = "") -> None:
        """Take in what somebody told at a moment."""
        news = self._standing.update(alert, told, source)
        if news is not None:
            self._ends.pop(news.key, None)
            if news.state == "resolved":
                self._ends[news.key] = news

    def get(self, now: int) -> list[dict[str, Any]]:
        """All that fires, and what has ended since the last call of :meth:`sent`."""
        # What ended longer ago than an alert lasts, Alertmanager has ended itself.
        self._ends = {key: alert for key, alert in self._ends.items() if now - (alert.until or 0) < self._hold_ms}
        return [self._told(alert, now) for alert in (*self._standing.get(now), *self._ends.values())]

    def sent(self) -> None:
        """Alertmanager has what the last :meth:`get` gave."""
        self._ends.clear()

    def _told(self, alert: Alert, now: int) -> dict[str, Any]:
        ends = now + self._hold_ms if alert.until is None else max(alert.until, alert.since)
        labels = {_name(name): value for name, value in alert.labels.items()}
        told: dict[str, Any] = {
            "labels": labels | {"alertname": alert.name},
            "annotations": {"summary": alert.summary, "evidence": evidence(alert)},
            "startsAt": _moment(alert.since),
            "endsAt": _moment(ends),
        }
        return told if self._link is None else told | {"generatorURL": self._link}


def evidence(alert: Alert) -> str:
    """What made it fire, for people.

    Examples
    --------
    >>> found: Any = {"rate": 0.0123456, "of": 12345}
    >>> evidence(Alert(name="", labels={}, state="firing", summary="", since=0, evidence=found))
    'rate 0.01235, of 12345'
    """
    shown = (
        (name, f"{value:.4g}" if isinstance(value, float) else str(value)) for name, value in alert.evidence.items()
    )
    return ", ".join(f"{name} {value}" for name, value in shown)


def body(told: Iterable[dict[str, Any]]) -> bytes:
    """The request's body."""
    return msgspec.json.encode(list(told))


def _name(label: str) -> str:
    """A name that Alertmanager takes."""
    name = _NOT_IN_A_NAME.sub("_", label)
    return f"_{name}" if name[:1].isdigit() or not name else name


def _moment(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
