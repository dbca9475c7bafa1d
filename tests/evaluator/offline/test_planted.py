"""Defects are found in those that have them, and in nobody else: an honest contender on twenty shops."""

from pathlib import Path

import pytest

from evaluator.offline.dimensions import dimension
from evaluator.offline.dimensions.dimension import Finding
from evaluator.offline.loaders import load
from tests.evaluator.offline import planted

SHOPS = 20

FALSE = 1
"""Of twenty honest runs at most so many may have a finding: one in twenty, as the documentation states."""

SLOW = "cost"
"""It times calls, and has no findings."""


def findings(kind: type[planted.Honest], folder: Path, seed: int) -> list[Finding]:
    """Of all dimensions, in this process."""
    spec = planted.spec_of(folder, seed)
    bench = planted.bench(kind(), load(spec), spec)
    return [
        found for name in dimension.names() if name != SLOW for found in dimension.named(name).measure(bench).findings
    ]


def test_an_honest_contender_is_accused_in_one_of_twenty_shops_at_most(tmp_path: Path) -> None:
    accused = {}
    for seed in range(SHOPS):
        if found := findings(planted.Honest, tmp_path, seed):
            accused[seed] = [one.sentence for one in found]
    assert len(accused) <= FALSE, accused


NAMES = {
    planted.IgnoresTheQuery: "ignores the query",
    planted.ReadsTheBrand: "brand only",
    planted.SawTheTest: "too good",
    planted.CrashesOnEmptyText: "empty text",
    planted.Overconfident: "miscalibrated",
    planted.CountsWords: "stuffing",
    planted.DistrustsTheNew: "unfair_to_new",
}


@pytest.mark.parametrize("kind", planted.DEFECTS, ids=lambda kind: kind.__name__)
def test_each_defect_is_found_in_another_shop_too(
    kind: type[planted.Honest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(planted.LEAKED, str(tmp_path / "dev.csv"))
    found = {one.name: one for one in findings(kind, tmp_path, seed=100)}
    assert found[NAMES[kind]].severity >= 0.7
    assert found[NAMES[kind]].sentence == " ".join(map(str, found[NAMES[kind]].said))
