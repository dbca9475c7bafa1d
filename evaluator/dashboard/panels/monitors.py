"""Where the drift detectors stand.

Pure: takes the evaluators' last snapshots. Each evaluator watches its own partitions, so of several the one nearest to
its limit is told.
"""

import math
from collections.abc import Iterable

import msgspec

from streams.telemetry.meter import Snapshot

RISING = {"click_rate", "holdback", "unseen_items"}
"""Watches that alarm at or above their limit; the others' statistic is a p-value and alarms below it."""
MOST_ROWS = 60


class WatchRow(msgspec.Struct, frozen=True):
    """One detector; ``near`` is 1 at the limit and larger the more it is passed, whichever way that is."""

    watch: str
    surface: str
    arm: str
    statistic: float
    limit: float
    alarm: bool
    rising: bool
    near: float


def rows(snapshots: Iterable[Snapshot]) -> list[WatchRow]:
    """All watches: those that alarm first, then those nearest to their limits.

    Examples
    --------
    >>> from streams.telemetry.meter import Series
    >>> def said(watch, statistic, limit, alarm=0):
    ...     labels = {"watch": watch, "surface": "feed", "arm": ""}
    ...     return [Series("drift_statistic", labels, statistic), Series("drift_limit", labels, limit),
    ...         Series("drift_alarm", labels, alarm)]
    >>> one = Snapshot(role="evaluator", id="e", from_ms=0, to_ms=1, counts={}, gauges={}, sketches={},
    ...     series=said("click_rate", 50, 100_000) + said("queries", 0.0005, 0.001, 1) + said("items", 0.5, 0.001))
    >>> [(row.watch, row.alarm, round(row.near, 4)) for row in rows([one])]
    [('queries', True, 2.0), ('items', False, 0.002), ('click_rate', False, 0.0005)]
    """
    nearest: dict[tuple[str, str, str], WatchRow] = {}
    for snapshot in snapshots:
        parts: dict[tuple[str, str, str], dict[str, float]] = {}
        for series in snapshot.series:
            if series.name.startswith("drift_"):
                watch, surface, arm = (series.labels.get(label, "") for label in ("watch", "surface", "arm"))
                parts.setdefault((watch, surface, arm), {})[series.name.removeprefix("drift_")] = series.value
        for key, part in parts.items():
            row = _row(key, part)
            if row is not None and (key not in nearest or _order(row) < _order(nearest[key])):
                nearest[key] = row
    return sorted(nearest.values(), key=_order)[:MOST_ROWS]


def _row(key: tuple[str, str, str], part: dict[str, float]) -> WatchRow | None:
    statistic, limit = part.get("statistic", math.nan), part.get("limit", math.nan)
    if math.isnan(statistic) or math.isnan(limit):
        return None
    rising = key[0] in RISING
    over, under = (statistic, limit) if rising else (limit, statistic)
    near = over / under if under > 0 else math.inf
    return WatchRow(*key, statistic, limit, bool(part.get("alarm")), rising, min(near, 1e12))


def _order(row: WatchRow) -> tuple[bool, float, str, str, str]:
    return not row.alarm, -row.near, row.watch, row.surface, row.arm
