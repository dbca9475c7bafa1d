"""The results of a finished run: a table of its numbers, and a picture of the click rate and the share of the possible.

Knows the recorder and matplotlib; nothing of how the run is done.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from evaluator.metrics.intervals import Interval
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
    "too few examples": "#8e44ad",
    "recovered": "#2e8b57",
}

FIRST, ALARM, ROLLBACK = "a first champion", "an alarm", "the rollback of the bad model"
"""What the story waits for, as it is called where it is missed."""

LABELLED: tuple[Kind, ...] = (
    "alarm",
    "canary",
    "promoted",
    "refused",
    "too few examples",
    "rolled back",
    "gave up",
    "recovered",
)
"""The events with a label above the upper curve; chapters have theirs above the lower one."""


def draw(recorder: Recorder, path: Path) -> None:
    """Write a PNG of a run; an empty run makes an empty picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(recorder).savefig(path, dpi=110)


def picture(recorder: Recorder) -> Figure:
    """The click rate above, the share of the possible below, and the events over both."""
    end = max(recorder.seconds, default=0) + 1
    figure = Figure(figsize=(12, 6.5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    times = range(0, max(1, end - WIDTH_S), 2)
    middles = [time + WIDTH_S / 2 for time in times]
    rates = [_percent(recorder.ctr(time, time + WIDTH_S)) for time in times]
    lows, highs = [one.low for one in rates], [one.high for one in rates]
    above.fill_between(middles, lows, highs, color="#268bd2", alpha=0.2, lw=0)
    label = "clicks per impression, 95 % (independent impressions)"
    above.plot(middles, [one.rate for one in rates], color="#268bd2", label=label)
    above.set_ylabel("click rate, %")
    shares = [100 * recorder.of_oracle(time, time + WIDTH_S) for time in times]
    below.plot(middles, shares, color="#2e8b57", label="expected clicks, share of the best possible")
    chance = [100 * recorder.of_chance(time, time + WIDTH_S) for time in times]
    below.plot(middles, chance, color="#8a8f98", ls="--", label="of random shelves")
    below.set_ylabel("of the possible, %")
    below.set_xlabel("seconds since the shop opened")
    above.set_ylim(0, _top(highs))
    below.set_ylim(bottom=0)
    for axes, kinds in ((above, LABELLED), (below, ("chapter",))):
        axes.spines[["top", "right"]].set_visible(False)
        _events(axes, recorder, kinds)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(title(recorder))
    return figure


def _percent(rate: Interval) -> Interval:
    """In percent; without impressions nothing is known, so there is no interval to draw."""
    return Interval(*(100 * value if math.isfinite(rate.rate) else math.nan for value in rate))


def _top(highs: Sequence[float]) -> float:
    """The upper end of the click rate's axis: above nearly all intervals, for those of few impressions are wide."""
    known = [high for high in highs if math.isfinite(high)]
    return 1.2 * float(np.quantile(known, 0.95)) if known else 100.0


def _events(axes: Axes, recorder: Recorder, kinds: Sequence[Kind]) -> None:
    """A line for every event, and a label for those of some kinds."""
    for mark in recorder.marks:
        axes.axvline(mark.at_s, color=COLOURS[mark.kind], lw=1, ls="-" if mark.kind == "drift" else ":")
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


def title(recorder: Recorder) -> str:
    """What happened in a run.

    Examples
    --------
    >>> recorder = Recorder()
    >>> title(recorder)
    'A shop that has not learnt yet'
    >>> for at_s, kind in enumerate(("promoted", "drift", "recovered")):
    ...     recorder.mark(at_s, kind, "")
    >>> title(recorder)
    'A shop that learns, drifts and recovers'
    """
    verbs: dict[Kind, str] = {"promoted": "learns", "drift": "drifts", "recovered": "recovers"}
    happened = [verb for kind, verb in verbs.items() if recorder.first(kind) is not None]
    if not happened:
        return "A shop that has not learnt yet"
    return "A shop that " + " and ".join(filter(None, (", ".join(happened[:-1]), happened[-1])))


WINDOW_S = 12.0
"""Seconds over which a share before or after an event is averaged."""


def summary(shop: Shop, began: float, missed: Mapping[str, float], broken_off: str = "", overloaded: str = "") -> Table:
    """A table: what happened when, and how good the shop was before and after.

    Parameters
    ----------
    began
        The start, on the monotonic clock.
    missed
        What did not happen in time, and within how many seconds it was expected.
    broken_off
        The chapter in which the story was interrupted, else empty.
    overloaded
        What :func:`overload` says.
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
    for name, value in figures(shop.recorder, shop.second, missed):
        table.add_row(name, value)
    for what, limit_s in missed.items():
        table.add_row("missed", f"{what}, within {limit_s:.0f} s", style="red")
    if overloaded:
        table.add_row("load", overloaded, style="red")
    if broken_off:
        table.add_row("broken off", f"in the chapter {broken_off!r}", style="red")
    return table


def overload(load: float, cores: int) -> str:
    """A sentence where more than two processes for each core wait for it; else empty.

    Examples
    --------
    >>> overload(4.0, 2), overload(14.31, 2)
    ('', 'The machine is overloaded (load average 14.3, cores 2), which may be why something was missed.')
    """
    if load <= 2 * cores:
        return ""
    return f"The machine is overloaded (load average {load:.1f}, cores {cores}), which may be why something was missed."


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


def figures(recorder: Recorder, end: float, missed: Mapping[str, float]) -> list[tuple[str, str]]:
    """The times of the events of a run, and the share of the possible around them."""
    found: list[tuple[str, str]] = []

    def share(since: float, until: float) -> str:
        return figure(recorder.of_oracle(since, until), ".0%")

    def first(kind: Kind, after: float = 0.0) -> float | None:
        mark = recorder.first(kind, after)
        return mark.at_s if mark is not None else None

    def timed(words: str, what: str) -> str:
        return f"too late: {words}, within {missed[what]:.0f} s was expected" if what in missed else words

    opened, drift = first("promoted"), first("drift")
    untrained = min(at for at in (opened, drift, end) if at is not None)
    found.append(("of the possible, untrained", share(0, untrained)))
    if opened is not None:
        found.append(("first champion", timed(f"{opened:.0f} s after the opening", FIRST)))
    if drift is None:
        return found
    alarm = first("alarm", drift)
    found.append(("of the possible, before the drift", share(drift - WINDOW_S, drift)))
    found.append(("right after the drift", share(drift, drift + WINDOW_S)))
    if alarm is not None:
        found.append(("drift to alarm", timed(f"{alarm - drift:.0f} s", ALARM)))
        if (repaired := first("promoted", alarm)) is not None:
            found.append(("alarm to a new champion", f"{repaired - alarm:.0f} s"))
    sabotaged = next((mark.at_s for mark in recorder.marks if mark.kind == "chapter" and mark.text == "Sabotage"), None)
    if sabotaged is not None:
        reached = "after recovery" if first("recovered") is not None else "before the bad model"
        found.append((reached, share(sabotaged - WINDOW_S, sabotaged)))
        if (back := first("rolled back", sabotaged)) is not None:
            found.append(("bad model rolled back", timed(f"after {back - sabotaged:.0f} s", ROLLBACK)))
    return found
