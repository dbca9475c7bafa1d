"""The story in numbers, once it is told: a table.

Knows the shop and its tape; nothing of who told the story.
"""

from collections.abc import Sequence

from rich.table import Table

from liveshelf.demo.recorder import Kind, Tape
from liveshelf.demo.shop import Shop
from liveshelf.demo.terminal_ui import Numbers

WINDOW_S = 12.0
"""Seconds that a share before or after something is the mean of."""


def summary(shop: Shop, began: float, missed: Sequence[str]) -> Table:
    """What happened when, and how good the shop was before and after; ``began`` on the monotonic clock."""
    table = Table("", "", title="The story in numbers", show_header=False)
    numbers = Numbers.of([snapshot for snapshot in shop.watching.workers if snapshot.counts.get("events")])
    first = shop.first_shelf_at
    table.add_row("first shelf", f"{first - began:.1f} s after the start" if first is not None else "none")
    table.add_row("events", ", ".join(f"{count:,} {kind}" for kind, count in shop.sent.most_common()))
    table.add_row("rate", f"{numbers.events:.0f} events/s, {numbers.shelves:.0f} shelves/s")
    table.add_row("event to shelf", f"median {numbers.p50:.1f} ms, 99 % {numbers.p99:.1f} ms")
    if shop.took_ms:
        middle = sorted(shop.took_ms)[len(shop.took_ms) // 2]
        table.add_row("click to new feed", f"median {middle:.1f} ms over {len(shop.took_ms)} watched clicks")
    for name, value in figures(shop.tape, shop.second):
        table.add_row(name, value)
    for what in missed:
        table.add_row("missed", what, style="red")
    return table


def figures(tape: Tape, end: float) -> list[tuple[str, str]]:
    """The moments of a run, and the share of the possible around them."""
    found: list[tuple[str, str]] = []
    of_oracle = tape.of_oracle

    def first(kind: Kind, after: float = 0.0) -> float | None:
        mark = tape.first(kind, after)
        return mark.at_s if mark is not None else None

    opened, drift = first("promoted"), first("drift")
    found.append(("of the possible, untrained", f"{of_oracle(0, (opened or end)):.0%}"))
    if opened is not None:
        found.append(("first model in charge", f"{opened:.0f} s after the opening"))
    if drift is None:
        return found
    alarm, repaired = first("alarm", drift), first("promoted", drift)
    found.append(("of the possible, before the drift", f"{of_oracle(drift - WINDOW_S, drift):.0%}"))
    found.append(("in the trough", f"{of_oracle(drift, drift + WINDOW_S):.0%}"))
    if alarm is not None:
        found.append(("drift to alarm", f"{alarm - drift:.0f} s"))
    if alarm is not None and repaired is not None:
        found.append(("alarm to a new model in charge", f"{repaired - alarm:.0f} s"))
    sabotaged = next((mark.at_s for mark in tape.marks if mark.kind == "chapter" and mark.text == "Sabotage"), None)
    if sabotaged is not None:
        found.append(("after recovery", f"{of_oracle(sabotaged - WINDOW_S, sabotaged):.0%}"))
        if (back := first("rolled back", sabotaged)) is not None:
            found.append(("bad model taken back", f"after {back - sabotaged:.0f} s"))
    return found
