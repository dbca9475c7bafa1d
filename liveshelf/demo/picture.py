"""A run as a picture: the click rate and the share of the possible over time, with what happened when.

Knows a tape and matplotlib; nothing of who wrote the tape.
"""

from pathlib import Path

from matplotlib.figure import Figure

from liveshelf.demo.recorder import Kind, Tape

WIDTH_S = 6
"""Seconds that a point of a curve is the mean of."""

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


TOLD: tuple[Kind, ...] = ("alarm", "canary", "promoted", "refused", "rolled back", "gave up")
"""What is named above the curves; chapters are between them, drifts among these."""


def draw(tape: Tape, path: Path, title: str) -> None:
    """Write a PNG of a run; an empty one makes an empty picture."""
    end = max(tape.seconds, default=0) + 1
    figure = Figure(figsize=(12, 6.5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    times = range(0, max(1, end - WIDTH_S), 2)
    middles = [time + WIDTH_S / 2 for time in times]
    rates = [tape.ctr(time, time + WIDTH_S) for time in times]
    above.fill_between(
        middles, [100 * one.low for one in rates], [100 * one.high for one in rates], color="#268bd2", alpha=0.2, lw=0
    )
    above.plot(middles, [100 * one.rate for one in rates], color="#268bd2", label="clicks per impression, 95 %")
    above.set_ylabel("click rate, %")
    above.set_ylim(bottom=0)
    shares = [100 * tape.of_oracle(time, time + WIDTH_S) for time in times]
    below.plot(middles, shares, color="#2e8b57", label="expected clicks, share of the best possible")
    chance = [100 * tape.of_chance(time, time + WIDTH_S) for time in times]
    below.plot(middles, chance, color="#8a8f98", ls="--", label="of random shelves")
    below.set_ylabel("of the possible, %")
    below.set_ylim(0, 100)
    below.set_xlabel("seconds since the shop has opened")
    for axes in (above, below):
        for mark in tape.marks:
            axes.axvline(mark.at_s, color=COLOURS[mark.kind], lw=1, ls="-" if mark.kind == "drift" else ":")
        axes.legend(loc="lower left", frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    for axes, told in ((above, TOLD), (below, ("chapter",))):
        for mark in tape.marks:
            if mark.kind in told:
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
