"""What the demo tells of the system: its numbers, and one shopper's shelves before and after a click. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from streams.events.shelf import Shelf, ShelfItem
from streams.telemetry.meter import Snapshot, quantiles, total

ROWS = 8


@dataclass(frozen=True)
class Moment:
    """A click of the followed shopper: the feed before it, the feed after it, and the milliseconds between the click's
    sending and the new feed's being there to read in Redis."""

    shopper: str
    clicked: str
    before: Shelf | None
    after: Shelf
    took_ms: float

    @property
    def new(self) -> set[str]:
        """Items on screen that were not on screen before."""
        before = {item.item_id for item in _top(self.before)}
        return {item.item_id for item in _top(self.after)} - before


@dataclass(frozen=True)
class Numbers:
    """The system's rate and speed over some snapshots; rates a second, times in milliseconds."""

    events: float
    shelves: float
    p50: float
    p99: float
    items: int

    @classmethod
    def of(cls, snapshots: Sequence[Snapshot]) -> "Numbers":
        """Of the snapshots of one worker, oldest first; quantiles are NaN while nothing was timed.

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


def told(moment: Moment) -> str:
    """A moment as one line, for a console that cannot be redrawn."""
    return (
        f"{moment.shopper} clicks {moment.clicked!r}: {moment.took_ms:.0f} ms later the new feed is in Redis, "
        f"{len(moment.new)} of the first {len(_top(moment.after))} items are new"
    )


def _top(shelf: Shelf | None) -> list[ShelfItem]:
    return shelf.items[:ROWS] if shelf is not None else []
