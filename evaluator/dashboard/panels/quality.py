"""How good shelves are besides being clicked: ranking measures, exposure of brands, calibration.

Pure: takes the evaluators' last snapshots.
"""

import math
from collections.abc import Sequence

import msgspec

from evaluator.dashboard.sums import added
from evaluator.metrics.intervals import Interval, wilson
from streams.telemetry.meter import Snapshot

MOST_BRANDS = 12
MOST_ROWS = 60
BOUNDED = {"mrr", "ndcg_10", "diversity"}
"""Measures that lie between 0 and 1, for which Hoeffding's interval holds whatever their distribution."""


class MeasureRow(msgspec.Struct, frozen=True):
    """A measure's mean over the last hour on one surface; the interval is empty where none can be given."""

    measure: str
    surface: str
    count: int
    mean: float
    interval: tuple[float, float] | None


class BrandRow(msgspec.Struct, frozen=True):
    """How much of what was shown in the last hour was a brand's; "" are all other brands."""

    brand: str
    impressions: int
    share: Interval


class BinRow(msgspec.Struct, frozen=True):
    """Impressions for which about the same probability was predicted: what was predicted, and what came."""

    count: int
    predicted: float
    observed: Interval


class Calibration(msgspec.Struct, frozen=True):
    """An intent's reliability over the last hour; ``error`` is the expected calibration error."""

    intent: str
    count: int
    error: float
    bins: list[BinRow]


def hoeffding(mean: float, count: float, level: float = 0.95) -> tuple[float, float]:
    """An interval of the mean of values in 0..1 that holds for any distribution (Hoeffding 1963).

    Examples
    --------
    >>> [round(value, 3) for value in hoeffding(0.5, 1_000)]
    [0.457, 0.543]
    """
    half = math.sqrt(math.log(2 / (1 - level)) / (2 * count))
    return max(0.0, mean - half), min(1.0, mean + half)


def measures(snapshots: Sequence[Snapshot]) -> list[MeasureRow]:
    """Ranking measures by surface, then the share of the catalogue that was shown."""
    found = []
    for (measure, surface), sums in sorted(added(snapshots, "measure_", ("measure", "surface"), least=0.0).items()):
        count = sums.get("count", 0.0)
        if count > 0:
            mean = sums.get("sum", 0.0) / count
            interval = hoeffding(mean, count) if measure in BOUNDED else None
            found.append(MeasureRow(measure, surface, int(count), mean, interval))
    shown = [series.value for snapshot in snapshots for series in snapshot.series if series.name == "coverage"]
    if shown:  # what several showed overlaps by an unknown part: between the largest and the sum
        bounds = (max(shown), min(1.0, sum(shown)))
        found.append(MeasureRow("coverage", "", len(shown), bounds[0], bounds if len(shown) > 1 else None))
    return found[:MOST_ROWS]


def exposure(snapshots: Sequence[Snapshot]) -> list[BrandRow]:
    """The brands shown most, and the rest."""
    sums = {
        key[0]: part.get("impressions", 0.0)
        for key, part in added(snapshots, "exposure_", ("brand",), least=0.0).items()
    }
    shown = int(sum(sums.values()))
    if not shown:
        return []
    largest = sorted((name for name in sums if name), key=lambda name: (-sums[name], name))[:MOST_BRANDS]
    counts = {name: int(sums[name]) for name in largest}
    counts[""] = shown - sum(counts.values())
    return [BrandRow(name, count, wilson(count, shown)) for name, count in counts.items() if 0 < count <= shown]


def calibration(snapshots: Sequence[Snapshot]) -> list[Calibration]:
    """Reliability of each intent, its bins from the least probable on."""
    bins: dict[str, list[BinRow]] = {}
    errors: dict[str, float] = {}
    for (intent, _), sums in sorted(added(snapshots, "calibration_", ("intent", "bin"), least=0.0).items()):
        count = int(sums.get("count", 0))
        if count > 0:
            observed = min(sums.get("observed", 0.0), count)
            predicted = sums.get("predicted", 0.0)
            bins.setdefault(intent, []).append(BinRow(count, predicted / count, wilson(observed, count)))
            errors[intent] = errors.get(intent, 0.0) + abs(predicted - observed)
    return [
        Calibration(
            intent,
            count := sum(row.count for row in rows),
            errors[intent] / count,
            sorted(rows, key=lambda row: row.predicted),
        )
        for intent, rows in bins.items()
    ]
