"""Alerts as they were told: those that fire, and those that ended lately.

Pure: takes alerts and when each was told.
"""

from collections import deque

import msgspec

from evaluator.monitoring.alerts.alert import Alert

MOST = 200


class AlarmRow(msgspec.Struct, frozen=True):
    """An alert, and when it was last told of (epoch ms)."""

    key: str
    alert: Alert
    told: int


class Alarms:
    """Firing alerts by key, and at most :data:`MOST` that have ended.

    Examples
    --------
    >>> from msgspec.structs import replace
    >>> fired = Alert(name="drop", labels={}, state="firing", summary="Fewer clicks", evidence={}, since=5)
    >>> alarms = Alarms()
    >>> alarms.update(fired, told=6)
    >>> [row.alert.state for row in alarms.get()]
    ['firing']
    >>> alarms.update(replace(fired, state="resolved", until=9), told=9)
    >>> [(row.alert.state, row.told) for row in alarms.get()], alarms.firing
    ([('resolved', 9)], 0)
    """

    def __init__(self) -> None:
        self._firing: dict[str, AlarmRow] = {}
        self._ended: deque[AlarmRow] = deque(maxlen=MOST)

    @property
    def firing(self) -> int:
        """How many fire."""
        return len(self._firing)

    def update(self, alert: Alert, told: int) -> None:
        """Take in what was told of an alert."""
        row = AlarmRow(alert.key, alert, told)
        self._firing.pop(row.key, None)
        if alert.state == "resolved":
            self._ended.append(row)
        else:
            self._firing[row.key] = row
            if len(self._firing) > MOST:
                del self._firing[next(iter(self._firing))]

    def get(self) -> list[AlarmRow]:
        """Firing ones first, the newest first among each."""
        firing = sorted(self._firing.values(), key=lambda row: -row.alert.since)
        return [*firing, *reversed(self._ended)]
