"""The story in numbers, once it is told: a table.

Knows the shop and its tape; nothing of who told the story.
"""

from collections.abc import Sequence

from rich.table import Table

from liveshelf.demo.recorder import Kind, Tape
from liveshelf.demo.shop import Shop
from liveshelf.demo.terminal_ui import Numbers
from liveshelf.demo.terminal_ui import Numbers, settled
from liveshelf.demo.shop import Shop
from liveshelf.demo.recorder import Kind, Tape
from liveshelf.terminal import figure
from streams.telemetry.meter import Snapshot

WINDOW_S = 12.0
"""Seconds that a share before or after something is the mean of."""


def summary(shop: Shop, began: float, missed: Sequence[str], broken_off: str = "") -> Table:
    """What happened when, and how good the shop was before and after.

    Parameters
    ----------
    began
        On the monotonic clock.
    broken_off
        The chapter in which the story was, where it was not told to its end.
    """
    table = Table("", "", title="The story in numbers", show_header=False)
    workers = list(shop.watching.workers)
    numbers = Numbers.of([snapshot for snapshot in workers if snapshot.counts.get("events")])
    first = shop.first_shelf_at
    table.add_row("first shelf", f"{first - began:.1f} s after the start" if first is not None else "none")
    table.add_row("events", ", ".join(f"{count:,} {kind}" for kind, count in shop.sent.most_common()))
    table.add_row("rate", f"{numbers.events:.0f} events/s, {numbers.shelves:.0f} shelves/s")
    for name, value in latency(workers):
        table.add_row(name, value)
    if shop.took_ms:
        middle = sorted(shop.took_ms)[len(shop.took_ms) // 2]
        table.add_row("click to new feed", f"median {middle:.1f} ms over {len(shop.took_ms)} watched clicks")
    for name, value in figures(shop.tape, shop.second):
        table.add_row(name, value)
    for what in missed:
        table.add_row("missed", what, style="red")
    if broken_off:
        table.add_row("broken off", f"in the chapter {broken_off!r}", style="red")
    return table


def latency(workers: Sequence[Snapshot]) -> list[tuple[str, str]]:
    """How long events took to their shelves: while the worker neither starts nor changes models, and all the while.

    Examples
    --------
    >>> latency([])
    [('event to shelf', 'median - ms, 99 % - ms, but for the start and changes of models'),
     ('… with these', 'median - ms, 99 % - ms')]
    """
    calm, every = Numbers.of(list(settled(workers))), Numbers.of(workers)
    but = "but for the start and changes of models"
    return [
        ("event to shelf", f"{_times(calm)}, {but}"),
        ("… with these", _times(every)),
    ]


def _times(numbers: Numbers) -> str:
    return f"median {figure(numbers.p50, '.1f')} ms, 99 % {figure(numbers.p99, '.1f')} ms"


def figures(tape: Tape, end: float) -> list[tuple[str, str]]:
    """The moments of a run, and the share of the possible around them."""
    found: list[tuple[str, str]] = []

    def share(since: float, until: float) -> str:
        return figure(tape.of_oracle(since, until), ".0%")

    def first(kind: Kind, after: float = 0.0) -> float | None:
        mark = tape.first(kind, after)
        return mark.at_s if mark is not None else None

    opened, drift = first("promoted"), first("drift")
    found.append(("of the possible, untrained", share(0, opened or end)))
    if opened is not None:
        found.append(("first model in charge", f"{opened:.0f} s after the opening"))
    if drift is None:
        return found
    alarm, repaired = first("alarm", drift), first("promoted", drift)
    found.append(("of the possible, before the drift", share(drift - WINDOW_S, drift)))
    found.append(("in the trough", share(drift, drift + WINDOW_S)))
    if alarm is not None:
        found.append(("drift to alarm", f"{alarm - drift:.0f} s"))
    if alarm is not None and repaired is not None:
        found.append(("alarm to a new model in charge", f"{repaired - alarm:.0f} s"))
    sabotaged = next((mark.at_s for mark in tape.marks if mark.kind == "chapter" and mark.text == "Sabotage"), None)
    if sabotaged is not None:
        found.append(("after recovery", share(sabotaged - WINDOW_S, sabotaged)))
        if (back := first("rolled back", sabotaged)) is not None:
            found.append(("bad model taken back", f"after {back - sabotaged:.0f} s"))
    return found
