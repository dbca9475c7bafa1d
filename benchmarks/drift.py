"""How soon does each detector see that clicks fell, and how often does it cry wolf?

Click rate 5 %: false alarms per 100,000 impressions on stable streams, and the median number of impressions until a
drop to 4 or 3 %, which comes after 20,000 stable ones, is seen. Ours against river's, all on the same streams. A
detector is reset after each alarm; streams in which it is never seen count as their length.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.progress import track

from benchmarks.report import Report
from evaluator.drift.adwin import Adwin
from evaluator.drift.detector import Detector
from evaluator.drift.page_hinkley import PageHinkley
from evaluator.drift.shiryaev_roberts import ShiryaevRoberts, reference

RATE, DROPS = 0.05, (0.04, 0.03)
STABLE, BEFORE, AFTER = 50_000, 20_000, 40_000
KNOWN = 200_000
"""Impressions that a reference bound is taken from."""

DETECTORS: dict[str, Callable[[], Detector[Any]]] = {
    "Shiryaev-Roberts": lambda: ShiryaevRoberts(RATE, 100_000),
    "Shiryaev-Roberts, 60,000": lambda: ShiryaevRoberts(RATE, 60_000),
    f"the same, bound from {KNOWN:,}": lambda: ShiryaevRoberts(reference(int(RATE * KNOWN), KNOWN), 60_000),
    "ADWIN 0.002 (river)": lambda: Adwin(0.002),
    "Page-Hinkley 40 (river)": lambda: PageHinkley(40),
}


def alarms(detector: Detector[Any], stream: Iterable[bool]) -> list[int]:
    """Places at which it raised an alarm; reset after each."""
    found = []
    for place, click in enumerate(stream):
        detector.update(int(click))
        if detector.get().drifted:
            found.append(place)
            detector.reset()
    return found


def delay(make: Callable[[], Detector[Any]], drop: float, seed: int) -> int:
    """Impressions from a drop to the first alarm after it."""
    chance = np.random.default_rng(seed)
    stream = np.concatenate([chance.random(BEFORE) < RATE, chance.random(AFTER) < drop])
    return next((place - BEFORE for place in alarms(make(), stream.tolist()) if place >= BEFORE), AFTER)


def main(
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    streams: Annotated[int, typer.Option(help="Streams of each kind.")] = 20,
) -> None:
    """Measure and print; ten minutes on two cores."""
    report = Report("drift", click_rate=RATE, streams=streams, stable_impressions=STABLE)
    for name, make in DETECTORS.items():
        false = 0
        for seed in track(range(streams), f"{name}: stable", transient=True):
            false += len(alarms(make(), (np.random.default_rng(seed).random(STABLE) < RATE).tolist()))
        seen = {
            f"to_{100 * drop:.0f}_percent": float(np.median([delay(make, drop, seed) for seed in range(streams)]))
            for drop in DROPS
        }
        report.row(detector=name, **seen, false_per_100000=1e5 * false / (streams * STABLE))
    report.write(json)


if __name__ == "__main__":
    typer.run(main)
