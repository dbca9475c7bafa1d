"""Added-up sketches give the quantiles that the library's own merge gives."""

import math
import random

import pytest
from ddsketch import DDSketch
from ddsketch.pb.ddsketch_pb2 import DDSketch as SketchMessage
from ddsketch.pb.proto import DDSketchProto

from streams.telemetry.meter import Meter, Snapshot, quantiles
from streams.telemetry.sketch import ACCURACY, Sketch

LEVELS = (0.0, 0.1, 0.5, 0.9, 0.99, 1.0)


def snapshots(seed: int, count: int) -> list[Snapshot]:
    chance, found = random.Random(seed), []
    for number in range(count):
        one = Meter("worker", f"w{number}", 0)
        for _ in range(chance.randrange(1, 80)):
            one.time("score", chance.choice([0.0, chance.lognormvariate(chance.randrange(-3, 8), 1.5)]))
        found.append(one.snapshot(1))
    return found


def by_the_library(taken: list[Snapshot]) -> list[float]:
    """Quantiles of the snapshots' sketches, merged by ddsketch."""
    together = DDSketch(ACCURACY)
    for snapshot in taken:
        together.merge(DDSketchProto.from_proto(SketchMessage.FromString(snapshot.sketches["score"])))
    return [together.get_quantile_value(level) for level in LEVELS]


@pytest.mark.parametrize("seed", range(5))
def test_quantiles_are_those_of_the_library(seed: int) -> None:
    taken = snapshots(seed, 30)
    sketch, other = Sketch(), Sketch()
    for snapshot in taken[:20]:
        sketch.add(snapshot.sketches["score"])
    for snapshot in taken[20:]:
        other.add(snapshot.sketches["score"])
    sketch.merge(other)
    assert sketch.quantiles(LEVELS) == pytest.approx(by_the_library(taken), rel=1e-9)
    assert sketch.quantiles(LEVELS) == quantiles(taken, "score", LEVELS)


def test_nothing_is_nan_and_rubbish_is_refused_whole() -> None:
    sketch = Sketch()
    assert all(math.isnan(value) for value in sketch.quantiles((0.5,)))
    with pytest.raises(Exception, match="parsing"):
        sketch.add(b"\xff\xff\xff")
    huge = SketchMessage()
    huge.mapping.gamma = 1.02
    huge.positiveValues.contiguousBinCounts.extend([1.0, 2.0])
    huge.positiveValues.contiguousBinIndexOffset = 1_000_000
    sketch.add(huge.SerializeToString())
    assert sketch.count == 3.0 and math.isfinite(sketch.quantiles((0.5,))[0])


def test_what_was_merged_is_left_as_it_was() -> None:
    one, other, together = (Sketch() for _ in range(3))
    first, second = (snapshot.sketches["score"] for snapshot in snapshots(0, 2))
    one.add(first)
    other.add(second)
    before = one.count, one.quantiles(LEVELS)
    together.merge(one)
    together.merge(other)
    assert (one.count, one.quantiles(LEVELS)) == before and together.count == one.count + other.count
    assert together.sum == pytest.approx(one.sum + other.sum)
