"""The running experiment: arms with their click rates, evidence, and the ratio of the rates.

Pure: takes the evaluators' last snapshots. Each sees other shoppers, so counts and evidence add up.
"""

from collections.abc import Sequence

import msgspec

from evaluator.dashboard.sums import added
from evaluator.metrics.intervals import Interval, wilson
from streams.telemetry.meter import Snapshot

MOST = 60


class ArmRow(msgspec.Struct, frozen=True):
    """An arm of the running experiment; e-values as powers of ten, None where nothing is tested.

    ``ratio`` is that of its click rate to the champion's, with bounds that hold at all looks together; of several
    evaluators, as the one tells it that saw most of the arm. None where nothing is known; an open end is infinite.
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
    """Evidence by test and arm, as powers of ten; a test of all arms at once stands under no arm."""
    challenger = _challenger(snapshots)
    found = added(snapshots, "experiment_log10_", ("challenger", "test", "arm"))
    return {
        (test, arm): sums["evalue"] for (of, test, arm), sums in found.items() if of == challenger and "evalue" in sums
    }


def arms(snapshots: Sequence[Snapshot]) -> list[ArmRow]:
    """The running experiment, arm by arm."""
    challenger, tests = _challenger(snapshots), evalues(snapshots)
    found = []
    for (of, arm), sums in sorted(added(snapshots, "experiment_", ("challenger", "arm")).items()):
        if of == challenger and ("impressions" in sums or "shoppers" in sums):
            shown = max(0, int(sums.get("impressions", 0)))
            clicks = max(0, min(int(sums.get("clicks", 0)), shown))
            found.append(
                ArmRow(
                    arm,
                    of,
                    int(sums.get("shoppers", 0)),
                    shown,
                    clicks,
                    wilson(clicks, shown),
                    tests.get(("clicks", arm), tests.get(("clicks", ""))),
                    tests.get(("traffic", arm), tests.get(("traffic", ""))),
                    _ratio(snapshots, of, arm),
                )
            )
    return found[:MOST]


def _challenger(snapshots: Sequence[Snapshot]) -> str:
    """Whom the newest snapshot that tells of an experiment is about: evaluators go over to the next one by one."""
    for snapshot in sorted(snapshots, key=lambda one: -one.to_ms):
        for series in snapshot.series:
            if series.name.startswith("experiment_"):
                return series.labels.get("challenger", "")
    return ""


def _ratio(snapshots: Sequence[Snapshot], challenger: str, arm: str) -> Interval | None:
    told = [added([one], "experiment_", ("challenger", "arm")).get((challenger, arm), {}) for one in snapshots]
    known = [sums for sums in told if "ratio" in sums]
    if not known:
        return None
    most = max(known, key=lambda sums: sums.get("impressions", 0.0))
    return Interval(most["ratio"], most.get("ratio_low", 0.0), most.get("ratio_high", float("inf")))
