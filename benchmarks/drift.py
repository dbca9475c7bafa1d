"""How soon does each detector see that clicks fell, how often does it cry wolf, and how soon could any?

Click rate 5 %: false alarms per 100,000 impressions on stable streams, with their standard error, and impressions until
a drop to 4 or 3 %, which comes after 20,000 stable ones, is seen. Ours against river's, all on the same streams. A
detector is reset after each alarm; streams in which a drop is never seen count as their length.

A Shiryaev-Roberts detector that watches for the one rate that comes has the least mean delay of all with its run length
(Pollak and Tartakovsky 2009): the rows "knows of". The facts below the table give that delay by its formula for
Brownian motion (Shiryaev 1963), (ln(run length * KL) - 1 - Euler's constant) / KL, with KL the information an
impression has about the drop.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.progress import track

from benchmarks.report import Report
from benchmarks.river_detectors import Adwin, PageHinkley
from benchmarks.smoke import smoke
from evaluator.monitoring.detectors.shiryaev_roberts import ShiryaevRoberts, reference

RATE, DROPS = 0.05, (0.04, 0.03)
STABLE, BEFORE, AFTER = 50_000, 20_000, 40_000
RUN_LENGTH = 100_000
KNOWN = (20_000, 200_000)
"""Impressions that a reference bound is taken from."""

Watcher = ShiryaevRoberts | Adwin | PageHinkley

DETECTORS: dict[str, Callable[[], Watcher]] = {
    f"Shiryaev-Roberts {RUN_LENGTH:,}": lambda: ShiryaevRoberts(RATE, RUN_LENGTH),
    "Shiryaev-Roberts 143,000": lambda: ShiryaevRoberts(RATE, 143_000),
    "Shiryaev-Roberts 60,000": lambda: ShiryaevRoberts(RATE, 60_000),
    "knows of 4 %": lambda: ShiryaevRoberts(RATE, RUN_LENGTH, (DROPS[0] / RATE,)),
    "knows of 3 %": lambda: ShiryaevRoberts(RATE, RUN_LENGTH, (DROPS[1] / RATE,)),
    **{
        f"bound from {known:,}": lambda known=known: ShiryaevRoberts(reference(int(RATE * known), known), RUN_LENGTH)  # type: ignore[misc]
        for known in KNOWN
    },
    "ADWIN 0.002 (river)": lambda: Adwin(0.002),
    "Page-Hinkley 40 (river)": lambda: PageHinkley(40),
}


def alarms(detector: Watcher, stream: Iterable[bool]) -> Iterator[int]:
    """Places at which it raises an alarm; reset after each."""
    for place, click in enumerate(stream):
        detector.update(click)
        if detector.drifted:
            yield place
            detector.reset()


def delay(detector: Watcher, drop: float, seed: int) -> int:
    """Impressions from a drop to the first alarm after it."""
    chance = np.random.default_rng(seed)
    stream = np.concatenate([chance.random(BEFORE) < RATE, chance.random(AFTER) < drop])
    return next((place - BEFORE for place in alarms(detector, stream.tolist()) if place >= BEFORE), AFTER)


def least(drop: float) -> float:
    """The least mean delay of a detector that knows the drop, about."""
    information = drop * math.log(drop / RATE) + (1 - drop) * math.log((1 - drop) / (1 - RATE))
    return (math.log(RUN_LENGTH * information) - 1 - np.euler_gamma) / information


@smoke(streams=1)
def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    streams: Annotated[int, typer.Option(help="Streams of each kind.")] = 1_000,
) -> None:
    """Measure and print; eight minutes on one core."""
    report = Report("drift", click_rate=RATE, streams=streams, stable_impressions=STABLE)
    for name, make in DETECTORS.items():
        false, delays = 0, {drop: [0] * streams for drop in DROPS}
        for seed in track(range(streams), name, transient=True):
            stable = np.random.default_rng(seed).random(STABLE) < RATE
            false += sum(1 for _ in alarms(make(), stable.tolist()))
            for drop in DROPS:
                delays[drop][seed] = delay(make(), drop, seed)
        seen = {
            f"to_{100 * drop:.0f}_percent_{how.__name__}": float(how(delays[drop]))
            for drop in DROPS
            for how in (np.median, np.mean)
        }
        scale = 1e5 / (streams * STABLE)
        report.row(detector=name, **seen, false_per_100000=scale * false, error=scale * math.sqrt(false))
    for drop in DROPS:
        report.facts[f"least_mean_to_{100 * drop:.0f}_percent"] = least(drop)
    report.write(json)


if __name__ == "__main__":
    typer.run(main)
