"""What the demo shows: numbers, and one shopper's shelves before and after a click. Values in, rich renderables out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from streams.events import Item
from streams.meter import Snapshot, quantiles, total
from streams.shelf import Shelf, ShelfItem

FEED_ROWS, SEARCH_ROWS = 8, 4


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
        >>> from streams.meter import Meter
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

    def line(self) -> str:
        """As one line."""
        return (
            f"{self.events:.0f} events/s, {self.shelves:.0f} shelves/s, event to shelf {_ms(self.p50)} (median), "
            f"{_ms(self.p99)} (99 %), {self.items} items encoded"
        )


def picture(
    chapter: str,
    numbers: Numbers,
    moment: Moment | None,
    search: tuple[str, Shelf] | None,
    items: Mapping[str, Item],
) -> RenderableType:
    """The whole screen, about 22 lines high."""
    parts: list[RenderableType] = [Rule(Text(chapter, style="bold"), align="left"), _numbers(numbers)]
    if moment is not None:
        heading = Text.assemble(
            (f"{moment.took_ms:.0f} ms after {moment.shopper}'s click the new feed is in Redis: ", "bold"),
            (moment.clicked, "bold yellow"),
            no_wrap=True,
            overflow="ellipsis",
        )
        parts += [Text(), heading, _feeds(moment, items)]
    if search is not None:
        query, shelf = search
        found = Table(box=None, show_header=False, expand=True, pad_edge=False)
        found.add_column(no_wrap=True, overflow="ellipsis")
        for place, item in enumerate(shelf.items[:SEARCH_ROWS], 1):
            found.add_row(Text(f"{place}  {title(items, item.item_id)}"))
        parts += [Text(), Text.assemble(("they search ", "bold"), (query, "bold yellow")), found]
    return Group(*parts)


def told(moment: Moment) -> str:
    """A moment as one line, for a console that cannot be redrawn."""
    return (
        f"{moment.shopper} clicks {moment.clicked!r}: {moment.took_ms:.0f} ms later the new feed is in Redis, "
        f"{len(moment.new)} of the first {len(_top(moment.after))} items are new"
    )


def title(items: Mapping[str, Item], item_id: str) -> str:
    """An item's title, its id where it is unknown."""
    item = items.get(item_id)
    return item.title if item is not None else item_id


def _numbers(numbers: Numbers) -> Table:
    table = Table(box=None, expand=True, pad_edge=False, header_style="dim")
    for column in ("events/s", "shelves/s", "event to shelf, median", "99 %", "items encoded"):
        table.add_column(column)
    rates = (f"{numbers.events:.0f}", f"{numbers.shelves:.0f}")
    table.add_row(*rates, _ms(numbers.p50), _ms(numbers.p99), str(numbers.items), style="bold cyan")
    return table


def _feeds(moment: Moment, items: Mapping[str, Item]) -> Table:
    table = Table(box=None, expand=True, pad_edge=False, header_style="dim")
    table.add_column("feed before", ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("feed after", ratio=1, no_wrap=True, overflow="ellipsis")
    before, after = _top(moment.before), _top(moment.after)
    places = {item.item_id: place for place, item in enumerate(before)}
    for place in range(FEED_ROWS):
        left = title(items, before[place].item_id) if place < len(before) else ""
        right = Text()
        if place < len(after):
            was = places.get(after[place].item_id)
            mark, style = ("+", "bold green") if was is None else ("↑", "green") if was > place else (" ", "")
            right = Text(f"{mark} {title(items, after[place].item_id)}", style)
        table.add_row(Text(left, style="dim"), right)
    return table


def _top(shelf: Shelf | None) -> list[ShelfItem]:
    return shelf.items[:FEED_ROWS] if shelf is not None else []


def _ms(value: float) -> str:
    return "…" if math.isnan(value) else f"{value:.0f} ms"  # NaN: nothing was timed yet
