"""The results of a finished run: a table of its numbers, and a picture of the click rate and the share of the possible.

Knows the recorder and matplotlib; nothing of how the run is done.
"""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from rich.table import Table

from liveshelf.demo.recorder import Kind, Recorder
from liveshelf.demo.shop import Shop
from liveshelf.demo.terminal_ui import Numbers, settled
from liveshelf.terminal import figure
from streams.telemetry.meter import Snapshot

WIDTH_S = 6
"""Seconds over which a point of a curve is averaged."""

COLOURS: dict[Kind, str] = {
    "chapter": "#8a8f98",
    "drift": "#c0392b",
    "alarm": "#e67e22",
    "trigger": "#b58900",
    "gate": "#6c71c4",
    "canary": "#268bd2",
    "promoted": "#2e8b57",
    "refused": "#8e44ad",
    "rolled back": "#8e44ad",
    "gave up": "#8a8f98",
}

LABELLED: tuple[Kind, ...] = ("alarm", "canary", "promoted", "refused", "rolled back", "gave up")
"""The events with a label above the upper curve; chapters have theirs above the lower one."""


def draw(recorder: Recorder, path: Path, title: str) -> None:
    """Write a PNG of a run; an empty run makes an empty picture."""
    end = max(recorder.seconds, default=0) + 1
    figure = Figure(figsize=(12, 6.5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    times = range(0, max(1, end - WIDTH_S), 2)
    middles = [time + WIDTH_S / 2 for time in times]
    rates = [recorder.ctr(time, time + WIDTH_S) for time in times]
    above.fill_between(
        middles, [100 * one.low for one in rates], [100 * one.high for one in rates], color="#268bd2", alpha=0.2, lw=0
    )
    above.plot(
        middles,
        [100 * one.rate for one in rates],
        color="#268bd2",
        label="clicks per impression, 95 % (independent impressions)",
    )
    above.set_ylabel("click rate, %")
    above.set_ylim(bottom=0)
    shares = [100 * recorder.of_oracle(time, time + WIDTH_S) for time in times]
    below.plot(middles, shares, color="#2e8b57", label="expected clicks, share of the best possible")
    chance = [100 * recorder.of_chance(time, time + WIDTH_S) for time in times]
    below.plot(middles, chance, color="#8a8f98", ls="--", label="of random shelves")
    below.set_ylabel("of the possible, %")
    below.set_ylim(0, 100)
    below.set_xlabel("seconds since the shop opened")
    for axes in (above, below):
        for mark in recorder.marks:
            axes.axvline(mark.at_s, color=COLOURS[mark.kind], lw=1, ls="-" if mark.kind == "drift" else ":")
        axes.legend(loc="lower left", frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    for axes, kinds in ((above, LABELLED), (below, ("chapter",))):
        for mark in recorder.marks:
            if mark.kind in kinds:
                axes.annotate(
                    mark.text if mark.kind == "chapter" else mark.kind,
                    (mark.at_s, 1.0),
                    xycoords=("data", "axes fraction"),
                    rotation=30,
                    ha="left",
                    va="bottom",
                    fontsize=8,
                    color=COLOURS[mark.kind],
                )
    figure.suptitle(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


WINDOW_S = 12.0
"""Seconds over which a share before or after an event is averaged."""


def summary(shop: Shop, began: float, missed: Sequence[str], broken_off: str = "") -> Table:
    """A table: what happened when, and how good the shop was before and after.

    Parameters
    ----------
    began
        The start, on the monotonic clock.
    broken_off
        The chapter in which the story was interrupted, else empty.
    """
    table = Table("", "", title="The story in numbers", show_header=False)
    workers = list(shop.listener.workers)
    numbers = Numbers.of([snapshot for snapshot in workers if snapshot.counts.get("events")])
    first = shop.first_shelf_at
    table.add_row("first shelf", f"{first - began:.1f} s after the start" if first is not None else "none")
    table.add_row("events", ", ".join(f"{count:,} {kind}" for kind, count in shop.sent.most_common()))
    table.add_row("rate", f"{numbers.events:.0f} events/s, {numbers.shelves:.0f} shelves/s")
    for name, value in latency(workers):
        table.add_row(name, value)
    if shop.took_ms:
        middle = sorted(shop.took_ms)[len(shop.took_ms) // 2]
        table.add_row("click to new feed", f"median {middle:.1f} ms over {len(shop.took_ms)} followed clicks")
    for name, value in figures(shop.recorder, shop.second):
        table.add_row(name, value)
    for what in missed:
        table.add_row("missed", what, style="red")
    if broken_off:
        table.add_row("broken off", f"in the chapter {broken_off!r}", style="red")
    return table


def latency(workers: Sequence[Snapshot]) -> list[tuple[str, str]]:
    """The time from event to shelf: without the start and model changes of the worker, and over the whole run.

    Examples
    --------
    >>> latency([])
    [('event to shelf', 'median - ms, 99 % - ms'),
     ('… with start and model changes', 'median - ms, 99 % - ms')]
    """
    calm, every = Numbers.of(list(settled(workers))), Numbers.of(workers)
    return [("event to shelf", _times(calm)), ("… with start and model changes", _times(every))]


def _times(numbers: Numbers) -> str:
    return f"median {figure(numbers.p50, '.1f')} ms, 99 % {figure(numbers.p99, '.1f')} ms"


def figures(recorder: Recorder, end: float) -> list[tuple[str, str]]:
    """The times of the events of a run, and the share of the possible around them."""
    found: list[tuple[str, str]] = []

    def share(since: float, until: float) -> str:
        return figure(recorder.of_oracle(since, until), ".0%")

    def first(kind: Kind, after: float = 0.0) -> float | None:
        mark = recorder.first(kind, after)
        return mark.at_s if mark is not None else None

    opened, drift = first("promoted"), first("drift")
    found.append(("of the possible, untrained", share(0, opened or end)))
    if opened is not None:
        found.append(("first champion", f"{opened:.0f} s after the opening"))
    if drift is None:
        return found
    alarm, repaired = first("alarm", drift), first("promoted", drift)
    found.append(("of the possible, before the drift", share(drift - WINDOW_S, drift)))
    found.append(("right after the drift", share(drift, drift + WINDOW_S)))
    if alarm is not None:
        found.append(("drift to alarm", f"{alarm - drift:.0f} s"))
    if alarm is not None and repaired is not None:
        found.append(("alarm to a new champion", f"{repaired - alarm:.0f} s"))
    sabotaged = next((mark.at_s for mark in recorder.marks if mark.kind == "chapter" and mark.text == "Sabotage"), None)
    if sabotaged is not None:
        found.append(("after recovery", share(sabotaged - WINDOW_S, sabotaged)))
        if (back := first("rolled back", sabotaged)) is not None:
            found.append(("bad model rolled back", f"after {back - sabotaged:.0f} s"))
    return found
