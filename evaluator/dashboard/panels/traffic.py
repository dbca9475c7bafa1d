"""What shoppers see and do: click rates, ranking measures, exposure, calibration and the running experiment.

Pure: takes the evaluators' last snapshots. Every rate has its interval.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields

import msgspec
import numpy as np
import numpy.typing as npt

from evaluator.metrics.intervals import Interval, wilson
from evaluator.metrics.rates import BUCKETS, WINDOWS, Tally
from models.measures.names import COVERAGE, DIVERSITY, ECE, EXPOSURE_BY_BRAND, MRR, NDCG, ONLINE
from models.measures.probabilities import FINE, ece
from streams.telemetry.meter import Series, Snapshot, added

MOST_ROWS = 40
MOST_LINES = 12

ALL = "*"
"""Stands for all surfaces."""

Cut = tuple[str, str, str, str]
Gaps = npt.NDArray[np.float64]


class RateRow(msgspec.Struct, frozen=True):
    """One slice over one window. ``arm`` and ``model`` are empty for shelves that are not Liveshelf's."""

    window: str
    surface: str
    arm: str
    model: str
    impressions: int
    clicks: int
    purchases: int
    ctr: Interval
    cvr: Interval
    revenue: Interval
    debiased: Interval


class PositionRow(msgspec.Struct, frozen=True):
    """A range of positions over the last hour; ``propensity`` is relative to the first one's."""

    position: str
    impressions: int
    clicks: int
    ctr: Interval
    propensity: float | None


def tallies(snapshots: Iterable[Snapshot]) -> dict[Cut, Tally]:
    """Sums by window, surface, arm and model over all evaluators."""
    names = {field.name for field in fields(Tally)}
    found: dict[Cut, Tally] = {}
    for cut, sums in added(snapshots, "rate_", ("window", "surface", "arm", "model"), least=0.0).items():
        window, surface, arm, model = cut
        tally = Tally(**{name: value for name, value in sums.items() if name in names})  # type: ignore[arg-type]
        tally.impressions, tally.clicks, tally.purchases = (
            int(tally.impressions),
            min(int(tally.clicks), int(tally.impressions)),
            min(int(tally.purchases), int(tally.impressions)),
        )
        found[window, surface, arm, model] = tally
    return found


def rate_rows(found: dict[Cut, Tally]) -> list[RateRow]:
    """The slices with most impressions, for each window."""
    largest = sorted(found.items(), key=lambda pair: (-pair[1].impressions, pair[0]))
    return [
        RateRow(
            *cut,
            tally.impressions,
            tally.clicks,
            tally.purchases,
            tally.ctr,
            tally.cvr,
            tally.revenue_per_impression,
            tally.debiased_ctr,
        )
        for window in WINDOWS
        for cut, tally in [one for one in largest if one[0][0] == window and one[1].impressions][:MOST_ROWS]
    ]


def lines(found: dict[Cut, Tally]) -> Iterator[tuple[tuple[str, ...], float]]:
    """Click rates with intervals by window, surface (and all surfaces) and arm, for those with most impressions."""
    sums: dict[tuple[str, str, str], Tally] = {}
    for (window, surface, arm, _), tally in found.items():
        for where in (surface, ALL):
            sums.setdefault((window, where, arm), Tally()).add(tally)
    largest = sorted(sums.items(), key=lambda pair: -pair[1].impressions)
    for window in WINDOWS:
        for cut, tally in [one for one in largest if one[0][0] == window and one[1].impressions][:MOST_LINES]:
            for part, value in zip(Interval._fields, tally.ctr, strict=True):
                yield ("ctr", *cut, part), value


def positions(snapshots: Sequence[Snapshot]) -> list[PositionRow]:
    """Click rate by position, the first one first."""
    sums = added(snapshots, "position_", ("position",), least=0.0)
    propensity = {
        series.labels.get("position", ""): series.value
        for snapshot in snapshots
        for series in snapshot.series
        if series.name == "propensity"
    }
    found = []
    for name in BUCKETS:
        part = sums.get((name,), {})
        shown = int(part.get("impressions", 0))
        clicks = min(int(part.get("clicks", 0)), shown)
        if shown:
            found.append(PositionRow(name, shown, clicks, wilson(clicks, shown), propensity.get(name)))
    return found


MOST_ARMS = 60


class ArmRow(msgspec.Struct, frozen=True):
    """An arm of the running experiment; e-values are powers of ten, None where nothing is tested.

    ``ratio`` is its click rate over the champion's, with bounds that are valid at all looks together. Of several
    evaluators, the report with most impressions is used. None where it is unknown; an open bound is infinite.
    """

    arm: str
    challenger: str
    shoppers: int
    impressions: int
    clicks: int
    ctr: Interval
    clicks_log10: float | None
    traffic_log10: float | None
    ratio: Interval | None


def evalues(snapshots: Sequence[Snapshot]) -> dict[tuple[str, str], float]:
    """Evidence by test and arm, as powers of ten; a test of all arms at once has an empty arm."""
    _, reports = _experiment(snapshots)
    found = added(reports, "experiment_log10_", ("test", "arm"))
    return {(test, arm): values["evalue"] for (test, arm), values in found.items() if "evalue" in values}


def arms(snapshots: Sequence[Snapshot]) -> list[ArmRow]:
    """The running experiment, arm by arm."""
    (challenger, reports), tests = _experiment(snapshots), evalues(snapshots)
    found = []
    for (arm,), values in sorted(added(reports, "experiment_", ("arm",)).items()):
        if "impressions" in values or "shoppers" in values:
            shown = max(0, int(values.get("impressions", 0)))
            clicks = max(0, min(int(values.get("clicks", 0)), shown))
            found.append(
                ArmRow(
                    arm,
                    challenger,
                    int(values.get("shoppers", 0)),
                    shown,
                    clicks,
                    wilson(clicks, shown),
                    tests.get(("clicks", arm), tests.get(("clicks", ""))),
                    tests.get(("traffic", arm), tests.get(("traffic", ""))),
                    _ratio(values),
                )
            )
    return found[:MOST_ARMS]


def _experiment(snapshots: Sequence[Snapshot]) -> tuple[str, list[Snapshot]]:
    """The newest snapshot's challenger, since evaluators switch to the next experiment one by one; and the snapshot
    with most impressions of that experiment, without other experiments."""
    newest = sorted(snapshots, key=lambda one: -one.to_ms)
    about = [one.labels.get("challenger", "") for each in newest for one in each.series if _of_experiment(one)]
    if not about:
        return "", []
    kept = [
        msgspec.structs.replace(
            each,
            series=[one for one in each.series if _of_experiment(one) and one.labels.get("challenger", "") == about[0]],
        )
        for each in newest
    ]
    return about[0], [max(kept, key=_impressions)]


def _of_experiment(series: Series) -> bool:
    return series.name.startswith("experiment_")


def _impressions(snapshot: Snapshot) -> float:
    return sum(one.value for one in snapshot.series if one.name == "experiment_impressions")


def _ratio(values: Mapping[str, float]) -> Interval | None:
    if "ratio" not in values:
        return None
    return Interval(values["ratio"], values.get("ratio_low", 0.0), values.get("ratio_high", float("inf")))


MOST_BRANDS = 12
BINS = tuple(str(number) for number in range(len(FINE) + 1))
"""Labels of the bins of predictions."""

EQUAL = 1e-9
"""What is left of a sum of exposures by rounding."""

CALIBRATION_ROWS = 60

BOUNDED = {MRR, NDCG, DIVERSITY}
"""Measures that lie between 0 and 1, for which Hoeffding's interval holds whatever their distribution."""


class MeasureRow(msgspec.Struct, frozen=True):
    """A measure's mean over the last hour on one surface; the interval is None where it is unknown."""

    measure: str
    surface: str
    count: int
    mean: float
    interval: tuple[float, float] | None


class BrandRow(msgspec.Struct, frozen=True):
    """A brand's share of the exposure of the last hour; "" is all other brands, and items without one."""

    brand: str
    exposure: float
    share: Interval


class BinRow(msgspec.Struct, frozen=True):
    """Impressions with about the same predicted probability: the mean prediction, and the observed rate."""

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
    """An interval of the mean of values in 0..1, valid for any distribution (Hoeffding 1963).

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
    shown = [series.value for snapshot in snapshots for series in snapshot.series if series.name == ONLINE[COVERAGE]]
    if shown:  # items of several evaluators overlap by an unknown part: the union is between the largest and the sum
        bounds = (max(shown), min(1.0, sum(shown)))
        found.append(MeasureRow(COVERAGE, "", len(shown), bounds[0], bounds if len(shown) > 1 else None))
    return found[:CALIBRATION_ROWS]


def exposure(snapshots: Sequence[Snapshot]) -> list[BrandRow]:
    """The brands shown most, and the rest.

    Places count by their exposure. The interval is Wilson's for the effective number of equal places.
    """
    sums: dict[str, float] = {}
    seen = squares = 0.0
    for (brand,), part in added(snapshots, f"{ONLINE[EXPOSURE_BY_BRAND]}_", ("brand",), least=0.0).items():
        sums[brand] = part.get("sum", 0.0)
        seen, squares = seen + part.get("sum", 0.0), squares + part.get("squared", 0.0)
    places = seen * (seen / squares) if squares else 0.0
    if not 0 < places < math.inf:
        return []
    largest = sorted((name for name in sums if name), key=lambda name: (-sums[name], name))[:MOST_BRANDS]
    found = {name: sums[name] for name in largest}
    found[""] = max(0.0, seen - sum(found.values()))
    return [
        BrandRow(name, own, wilson(places * min(1.0, own / seen), places)) for name, own in found.items() if own > EQUAL
    ]


def calibration(snapshots: Sequence[Snapshot]) -> list[Calibration]:
    """Reliability of each intent, with bins sorted by predicted probability; the error is of ten equal bins."""
    bins: dict[str, list[BinRow]] = {}
    gaps: dict[str, Gaps] = {}
    for (intent, number), sums in added(snapshots, f"{ONLINE[ECE]}_", ("intent", "bin"), least=0.0).items():
        count = int(sums.get("count", 0))
        if count > 0 and number in BINS:
            observed = min(sums.get("observed", 0.0), count)
            predicted = sums.get("predicted", 0.0)
            bins.setdefault(intent, []).append(BinRow(count, predicted / count, wilson(observed, count)))
            gaps.setdefault(intent, np.zeros(len(BINS)))[int(number)] = predicted - observed
    return [
        Calibration(
            intent,
            count := sum(row.count for row in found),
            ece(gaps[intent], count, FINE),
            sorted(found, key=lambda row: row.predicted),
        )
        for intent, found in sorted(bins.items())
    ]
