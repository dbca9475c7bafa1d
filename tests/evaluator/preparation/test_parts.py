"""What decides in a preparation: numbers, times, duplicates, splits, drift and leakage, each against plain Python."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.preparation import duplicates, leakage, numbers, splits, text, times
from evaluator.preparation.distributions import psi

AMOUNTS = st.decimals(min_value=0, max_value=10**9, places=2)


@given(AMOUNTS, st.sampled_from(["£{}", "{} €", "USD {}", "{}", "-{}"]), st.booleans())
def test_prices_are_read_however_they_are_written(amount: float, form: str, comma: bool) -> None:
    written = f"{amount:,.2f}"
    if comma:
        written = written.translate(str.maketrans(",.", ".,"))
    sign = -1 if form.startswith("-") else 1
    [found] = numbers.parsed(pl.Series([form.format(written)]))
    assert found == pytest.approx(sign * float(amount))


def test_a_doubtful_mark_is_read_as_the_column_shows() -> None:
    column = pl.Series(["1.234", "2,50", "7,25"])
    assert numbers.parsed(column, numbers.marks(column).decimal).to_list() == [1234.0, 2.5, 7.25]
    column = pl.Series(["1,234", "2.50", "1,234,567"])
    assert numbers.parsed(column, numbers.marks(column).decimal).to_list() == [1234.0, 2.5, 1234567.0]


@pytest.mark.parametrize("written", ["", "abc", "1 2 lamps", "1..2.", "--1", "nan", "inf", "1.2.3,4,5"])
def test_what_is_no_number_is_none(written: str) -> None:
    assert numbers.parsed(pl.Series([written])).to_list() == [None]


@given(st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1)))
def test_times_are_read_however_they_are_written(moment: datetime) -> None:
    moment = moment.replace(second=0, microsecond=0)
    forms = ["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%SZ", "%d.%m.%Y %H:%M", "%d/%m/%Y %I:%M %p", "%Y/%m/%d %H:%M:%S.000"]
    column = pl.Series([moment.strftime(form) for form in forms])
    assert times.parsed(column).to_list() == [moment.replace(tzinfo=UTC)] * len(forms)


def test_american_dates_are_seen() -> None:
    """As the original Online Retail file writes them."""
    column = pl.Series(["12/1/2010 8:26", "12/13/2010 9:00"])
    found = times.parsed(column, "Europe/London", times.orders(column).order)
    assert [f"{one:%Y-%m-%d %H:%M}" for one in found] == ["2010-12-01 08:26", "2010-12-13 09:00"]


def test_hours_that_clocks_skip_or_show_twice() -> None:
    column = pl.Series(["2011-03-27 01:30:00", "2011-10-30 01:30:00"])
    assert times.parsed(column, "Europe/London").to_list() == [None, datetime(2011, 10, 30, 0, 30, tzinfo=UTC)]


def test_impossible_dates_are_none() -> None:
    assert times.parsed(pl.Series(["2011-02-30", "31.11.2011", "2011-13-01 10:00"])).to_list() == [None] * 3


@given(st.lists(st.text(max_size=20), min_size=1, max_size=8))
def test_texts_in_one_form_stay_as_they_are(values: list[str]) -> None:
    once, _ = text.normalised(pl.Series(values, dtype=pl.String))
    plain = [value or "" for value in once]
    assert all("  " not in value and value == value.strip() for value in plain)
    assert all("\u3000" not in value for value in plain)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=40))
def test_repeats_are_those_of_a_set(rows: list[tuple[int, int]]) -> None:
    first, second = (np.array([row[side] for row in rows], np.uint64) for side in (0, 1))
    seen: set[tuple[int, int]] = set()
    expected = [row in seen or seen.add(row) is not None for row in rows]
    assert duplicates.repeats(first, second).tolist() == expected


def test_near_pairs_are_those_of_comparing_all() -> None:
    chance = np.random.default_rng(5)
    words = ["red", "lantern", "holder", "vintage", "drawer", "cabinet", "pantry", "spotty", "charlotte", "recycling"]
    texts = [" ".join(chance.choice(words, 6)) for _ in range(60)]
    texts += [f"{one}s" for one in texts[:30]]
    texts = list(dict.fromkeys(texts))
    sets = [duplicates.shingles(one) for one in texts]
    expected = {
        (one, other)
        for other in range(len(texts))
        for one in range(other)
        if len(sets[one] & sets[other]) / len(sets[one] | sets[other]) >= duplicates.SIMILAR
    }
    found = {(one, other) for one, other, _ in duplicates.near_pairs(texts)}
    assert found <= expected and len(found) >= 0.9 * len(expected) > 20


def test_sizes_are_no_near_duplicates() -> None:
    assert duplicates.near_pairs(["PAPER LANTERN 9 POINT HOLLY STAR S", "PAPER LANTERN 9 POINT HOLLY STAR L"]) == []


def test_a_sample_of_values_is_bounded() -> None:
    batches = (pl.Series([f"t{number}" for number in range(start, start + 100)]) for start in range(0, 3_000, 50))
    values, seen = duplicates.sampled(batches, 200)
    assert len(values) == 200 and 2_400 < seen < 3_700


@given(st.lists(st.integers(0, 30), min_size=3, max_size=80))
def test_a_cut_in_time_separates(moments: list[int]) -> None:
    found = np.array(moments, np.int64)
    split = splits.by_time(found, splits.cuts(found, (0.6, 0.2, 0.2)))
    for number in range(2):
        before, after = found[split <= number], found[split > number]
        assert not len(before) or not len(after) or before.max() < after.min()


def test_shares_by_place_are_about_those_asked() -> None:
    found = splits.places(pl.Series([f"user {number}" for number in range(20_000)]), 0).to_numpy()
    shares = np.bincount(splits.by_place(found, (0.8, 0.1, 0.1))) / len(found)
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.01)


def test_planted_leaks_are_found(tmp_path: Path) -> None:
    rows = {"query": ["a", "b"], "shopper": ["1", "2"], "item": ["x", "y"], "time": [datetime(2011, 1, 1)] * 2}
    train, test = pl.DataFrame(rows), pl.DataFrame(rows | {"query": ["A", "c"], "shopper": ["1", "2"]})
    for name, table in (("train", train), ("test", pl.concat([test, train.head(1)]))):
        table.write_parquet(tmp_path / f"{name}.parquet")
    files = {name: tmp_path / f"{name}.parquet" for name in ("train", "test")}
    found = {check.name: check for check in leakage.checks(files, "query")}
    assert {name: check.found for name, check in found.items()} == {
        "query": 1, "user": 2, "item": 2, "equal rows": 1, "time": 3,
    }  # fmt: skip
    assert [name for name, check in found.items() if not check.passed] == ["query", "equal rows"]


def test_without_drift_a_strong_index_is_rare() -> None:
    """Of equal distributions one in a thousand has a p-value below that, whatever the sizes."""
    chance = np.random.default_rng(3)
    shares = np.full(12, 1 / 12)
    p = [
        psi(chance.multinomial(5_000, shares).tolist(), chance.multinomial(400, shares).tolist())[1]
        for _ in range(2_000)
    ]
    assert 0.03 < np.mean(np.array(p) < 0.05) < 0.08 and np.mean(np.array(p) < 0.001) < 0.006
