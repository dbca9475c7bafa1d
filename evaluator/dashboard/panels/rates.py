"""Click rates and what goes with them, each with its interval: by window, surface, arm and model, and by position.

Pure: takes the evaluators' last snapshots.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields

import msgspec

from evaluator.dashboard.sums import added
from evaluator.metrics.intervals import Interval, wilson
from evaluator.metrics.rates import BUCKETS, WINDOWS, Tally
from streams.telemetry.meter import Snapshot

MOST_ROWS = 40
MOST_LINES = 12
ALL = "*"
"""In place of a surface: all of them."""

Cut = tuple[str, str, str, str]


class RateRow(msgspec.Struct, frozen=True):
    """One slice over one window. ``arm`` and ``model`` are empty for shelves that are not Liveshelf's."""

    window: str
    surface: str
    arm: str
    model: str
    impressions: int
    clicks: int
    purchases: int
    ctr: Interval
    cvr: Interval
    revenue: Interval
    debiased: Interval


class PositionRow(msgspec.Struct, frozen=True):
    """A range of positions over the last hour; ``propensity`` is relative to the first one's."""

    position: str
    impressions: int
    clicks: int
    ctr: Interval
    propensity: float | None


def tallies(snapshots: Iterable[Snapshot]) -> dict[Cut, Tally]:
    """Sums by window, surface, arm and model over all evaluators."""
    names = {field.name for field in fields(Tally)}
    found: dict[Cut, Tally] = {}
    for cut, sums in added(snapshots, "rate_", ("window", "surface", "arm", "model"), least=0.0).items():
        window, surface, arm, model = cut
        tally = Tally(**{name: value for name, value in sums.items() if name in names})  # type: ignore[arg-type]
        tally.impressions, tally.clicks, tally.purchases = (
            int(tally.impressions),
            min(int(tally.clicks), int(tally.impressions)),
            min(int(tally.purchases), int(tally.impressions)),
        )
        found[window, surface, arm, model] = tally
    return found


def rows(found: dict[Cut, Tally]) -> list[RateRow]:
    """Of each window the slices with most impressions."""
    largest = sorted(found.items(), key=lambda pair: (-pair[1].impressions, pair[0]))
    return [
        RateRow(
            *cut,
            tally.impressions,
            tally.clicks,
            tally.purchases,
            tally.ctr,
            tally.cvr,
            tally.revenue_per_impression,
            tally.debiased_ctr,
        )
        for window in WINDOWS
        for cut, tally in [one for one in largest if one[0][0] == window and one[1].impressions][:MOST_ROWS]
    ]


def lines(found: dict[Cut, Tally]) -> Iterator[tuple[tuple[str, ...], float]]:
    """Click rate with its interval by window, surface (and all surfaces) and arm, of those with most impressions."""
    sums: dict[tuple[str, str, str], Tally] = {}
    for (window, surface, arm, _), tally in found.items():
        for where in (surface, ALL):
            sums.setdefault((window, where, arm), Tally()).add(tally)
    largest = sorted(sums.items(), key=lambda pair: -pair[1].impressions)
    for window in WINDOWS:
        for cut, tally in [one for one in largest if one[0][0] == window and one[1].impressions][:MOST_LINES]:
            for part, value in zip(Interval._fields, tally.ctr, strict=True):
                yield ("ctr", *cut, part), value


def positions(snapshots: Sequence[Snapshot]) -> list[PositionRow]:
    """Click rate by position, the first one first."""
    sums = added(snapshots, "position_", ("position",), least=0.0)
    propensity = {
        series.labels.get("position", ""): series.value
        for snapshot in snapshots
        for series in snapshot.series
        if series.name == "propensity"
    }
    found = []
    for name in BUCKETS:
        part = sums.get((name,), {})
        shown = int(part.get("impressions", 0))
        clicks = min(int(part.get("clicks", 0)), shown)
        if shown:
            found.append(PositionRow(name, shown, clicks, wilson(clicks, shown), propensity.get(name)))
    return found
