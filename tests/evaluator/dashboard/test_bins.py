"""Added-up bins give the quantiles that the sketches' own merge gives."""

import math
import random

import pytest
from ddsketch.pb.ddsketch_pb2 import DDSketch as SketchMessage

from evaluator.dashboard.series import Bins
from streams.telemetry import meter
from streams.telemetry.meter import Meter, Snapshot

LEVELS = (0.0, 0.1, 0.5, 0.9, 0.99, 1.0)


def snapshots(seed: int, count: int) -> list[Snapshot]:
    chance, found = random.Random(seed), []
    for number in range(count):
        one = Meter("worker", f"w{number}", 0)
        for _ in range(chance.randrange(1, 80)):
            one.time("score", chance.choice([0.0, chance.lognormvariate(chance.randrange(-3, 8), 1.5)]))
        found.append(one.snapshot(1))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_quantiles_are_those_of_the_library(seed: int) -> None:
    taken = snapshots(seed, 30)
    bins, other = Bins(), Bins()
    for snapshot in taken[:20]:
        bins.add(snapshot.sketches["score"])
    for snapshot in taken[20:]:
        other.add(snapshot.sketches["score"])
    bins.merge(other)
    assert bins.quantiles(LEVELS) == pytest.approx(meter.quantiles(taken, "score", LEVELS), rel=1e-9)


def test_nothing_is_nan_and_rubbish_is_refused_whole() -> None:
    bins = Bins()
    assert all(math.isnan(value) for value in bins.quantiles((0.5,)))
    with pytest.raises(Exception, match="parsing"):
        bins.add(b"\xff\xff\xff")
    huge = SketchMessage()
    huge.mapping.gamma = 1.02
    huge.positiveValues.contiguousBinCounts.extend([1.0, 2.0])
    huge.positiveValues.contiguousBinIndexOffset = 1_000_000
    bins.add(huge.SerializeToString())
    assert bins.count == 3.0 and math.isfinite(bins.quantiles((0.5,))[0])
