"""Loaders: unjudged pairs are kept where they are ranked, and propensities where they are logged."""

from pathlib import Path

import numpy as np

from evaluator.offline.loaders import load
from evaluator.offline.spec import Spec


def test_pairs_without_a_grade_are_candidates_that_nobody_judged(tmp_path: Path) -> None:
    rows = ["query,id,title,grade", "tv,1,A,3", "tv,2,B,", "tv,3,C,1", "tap,4,D,2", "tap,4,D,"]
    file = tmp_path / "judged.csv"
    file.write_text("\n".join(rows))
    data = load(Spec(data=str(file), train=str(file), task="graded", contenders=[]))
    np.testing.assert_array_equal(data.cases[0].gains, [3, np.nan, 1])
    assert data.cases[1].gains.tolist() == [2] and data.span == (1, 3)
    assert data.train[0].items == ("1", "3"), "nothing is learned from pairs without a grade"


def test_decisions_on_one_item_choose_among_all_that_the_log_shows(tmp_path: Path) -> None:
    rows = ["query,id,title,click,session_id,rank,propensity"]
    rows += [f"home,{n % 3},T{n % 3},{n % 2},s{n},0,{0.5 if n % 3 else 1.5}" for n in range(30)]
    file = tmp_path / "log.csv"
    file.write_text("\n".join(rows))
    data = load(Spec(data=str(file), task="clicks", contenders=[]))
    for case in data.cases:
        assert set(case.items) == {"0", "1", "2"} and np.isnan(case.gains[1:]).all() and not np.isnan(case.gains[0])
        assert case.propensities is not None and np.isnan(case.propensities[1:]).all()
        assert np.isnan(case.propensities[0]) == (case.items[0] == "0"), "1.5 is no propensity"
