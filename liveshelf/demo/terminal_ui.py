"""What the demo shows of the system: its numbers, and one shopper's shelves before and after a click. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from streams.events.shelf import Shelf, ShelfItem
from streams.telemetry.meter import Snapshot, quantiles, total

ROWS = 8

STATE, MODELS = ("items", "challenger_ready"), ("model", "challenger")
"""Gauges and labels of a worker that change while it starts or changes models."""


@dataclass(frozen=True)
class Moment:
    """A click of the followed shopper: the feeds before and after it, and the milliseconds from sending the click until
    the new feed is in Redis."""

    shopper: str
    clicked: str
    before: Shelf | None
    after: Shelf
    took_ms: float

    @property
    def new(self) -> set[str]:
        """Items on screen that were not there before."""
        before = {item.item_id for item in _top(self.before)}
        return {item.item_id for item in _top(self.after)} - before


@dataclass(frozen=True)
class Numbers:
    """The system's rates and times over some snapshots; rates a second, times in milliseconds."""

    events: float
    shelves: float
    p50: float
    p99: float
    items: int

    @classmethod
    def of(cls, snapshots: Sequence[Snapshot]) -> "Numbers":
        """From the snapshots of one worker, oldest first; quantiles are NaN if nothing was timed.

        Examples
        --------
        >>> from streams.telemetry.meter import Meter
        >>> meter = Meter("worker", "w", now_ms=0)
        >>> meter.count("events", 30)
        >>> Numbers.of([meter.snapshot(now_ms=2_000)]).events
        15.0
        """
        span = (snapshots[-1].to_ms - snapshots[0].from_ms) / 1000 if snapshots else 0.0
        p50, p99 = quantiles(snapshots, "end_to_end", (0.5, 0.99))
        return cls(
            events=total(snapshots, "events") / max(span, 1e-3),
            shelves=total(snapshots, "shelves") / max(span, 1e-3),
            p50=p50,
            p99=p99,
            items=int(snapshots[-1].gauges.get("items", 0)) if snapshots else 0,
        )


def settled(snapshots: Iterable[Snapshot]) -> Iterator[Snapshot]:
    """The snapshots of one worker, oldest first, without its start and model changes: without the seconds in which it
    reads items or another champion or challenger serves or loads, and those until the waiting events are answered.

    Examples
    --------
    >>> from msgspec.structs import replace
    >>> calm = Snapshot(role="worker", id="w", from_ms=0, to_ms=1, counts={"events": 9}, sketches={},
    ...     gauges={"items": 9, "lag": 2}, labels={"model": "a"})
    >>> fuller, other = replace(calm, gauges={"items": 10, "lag": 50}), replace(calm, labels={"model": "b"})
    >>> behind = replace(other, gauges=fuller.gauges)
    >>> [one is calm for one in settled([calm, calm, calm, behind, behind, other, other, other])]
    [True, False]
    """
    before, waits = None, True
    for one in snapshots:
        state = [one.gauges.get(name) for name in STATE] + [one.labels.get(name) for name in MODELS]
        if state != before or one.labels.get("next"):
            before, waits = state, True
        elif not waits:
            yield one
        else:  # the last one in which the waiting events are answered
            waits = one.gauges.get("lag", 0) > one.counts.get("events", 0)


def describe(moment: Moment) -> str:
    """A click and its new feed, as one line of text."""
    return (
        f"{moment.shopper} clicks {moment.clicked!r}: {moment.took_ms:.0f} ms later the new feed is in Redis, "
        f"{len(moment.new)} of the first {len(_top(moment.after))} items are new"
    )


def _top(shelf: Shelf | None) -> list[ShelfItem]:
    return shelf.items[:ROWS] if shelf is not None else []
