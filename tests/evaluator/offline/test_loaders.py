"""Loaders: unjudged pairs are kept where they are ranked, and propensities where they are logged."""

from pathlib import Path

import numpy as np
import polars as pl

from evaluator.offline.loaders import load
from evaluator.offline.spec import Spec
from evaluator.preparation import run as preparation
from evaluator.preparation.spec import Spec as PreparationSpec


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


def log_of_decisions(folder: Path, name: str, clicked: int) -> str:
    """A log as bandits leave it: neither queries nor lists, a true propensity of each row."""
    rows = ["timestamp,item_id,position,click,propensity_score"]
    rows += [f"2019-11-24 00:00:{n:02d},{n % 4},{n % 3},{int(n % 4 == clicked)},0.25" for n in range(40)]
    (folder / name).write_text("\n".join(rows))
    return str(folder / name)


def test_a_log_without_queries_and_texts_is_a_list_of_decisions(tmp_path: Path) -> None:
    data = load(Spec(data=log_of_decisions(tmp_path, "log.csv", 1), task="clicks", contenders=[]))
    assert len(data.cases) == 8 and len(data.train) == 32
    for case in data.cases:
        assert case.query == "" and set(case.items) == {"0", "1", "2", "3"}
        assert case.gains[0] == float(case.items[0] == "1") and case.propensities is not None
        assert case.propensities[0] == 0.25 and len({one.group for one in data.cases}) == 8
    assert data.items["3"].text == "3", "an id stands for a text"


def test_clicks_of_another_file_may_be_learned_from(tmp_path: Path) -> None:
    files = [log_of_decisions(tmp_path, name, clicked) for clicked, name in enumerate(("log.csv", "train.csv"))]
    data = load(Spec(data=files[0], train=files[1], task="clicks", contenders=[]))
    assert len(data.cases) == 40 and len(data.train) == 40
    assert sum(case.gains[0] for case in data.train if case.items[0] == "1") == 10


def test_sellers_and_brands_are_read(tmp_path: Path) -> None:
    file = tmp_path / "judged.csv"
    file.write_text("query,id,title,grade,seller,brand\ntv,1,A,3,Ann's,Acme\ntv,2,B,1,Bob's,")
    data = load(Spec(data=str(file), task="graded", contenders=[]))
    assert [(one.seller, one.brand) for one in data.items.values()] == [("Ann's", "Acme"), ("Bob's", "")]


def test_a_list_stands_as_it_was_shown_and_an_item_shown_twice_counts_once(tmp_path: Path) -> None:
    shown = [("b", 1, "False"), ("a", 0, "True"), ("c", "", "True"), ("b", 3, "true"), ("d", 2, "")]
    rows = ["query,id,title,clicked,sess_id,rank"]
    rows += [f"q{n % 7},{item},T {item},{click},s{n},{rank}" for n in range(10) for item, rank, click in shown]
    (tmp_path / "log.csv").write_text("\n".join(rows))
    for case in load(Spec(data=str(tmp_path / "log.csv"), task="clicks", contenders=[])).cases:
        assert case.items == ("a", "b", "d", "c") and case.gains.tolist() == [1, 1, 0, 1]


RAW = [
    ("caf\u00c3\u00a9 ", " 7.0", '3.125\\ Case Fan"', "2,5"),
    ("\uff34\uff36", "8", "Black &amp; Decker <b>drill</b>", "1"),
    ("tv", "9", "zero\u200bwidth\x07", "3"),
]


def test_texts_are_those_of_a_preparation(tmp_path: Path) -> None:
    table = pl.DataFrame(RAW, schema=["query", "item_id", "title", "relevance"], orient="row")
    table.write_csv(tmp_path / "raw.csv")
    data = load(Spec(data=str(tmp_path / "raw.csv"), task="graded", contenders=[]))
    assert {item: one.text for item, one in data.items.items()} == {
        "7": '3.125" Case Fan',
        "8": "Black & Decker drill",
        "9": "zerowidth",
    }
    assert [case.query for case in data.cases] == ["caf\u00e9", "TV", "tv"] and data.span == (1.0, 3.0)
    preparation.run(PreparationSpec(files=(tmp_path / "raw.csv",), split="none"), tmp_path / "ready")
    [file] = [file for file in (tmp_path / "ready").glob("*.parquet") if file.stem != "dropped"]
    again = load(Spec(data=str(file), task="graded", contenders=[]))
    assert again.items == data.items, "a raw file and a prepared one are evaluated alike"
