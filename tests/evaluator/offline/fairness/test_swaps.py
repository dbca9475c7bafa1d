"""Swapped words: what is changed, for which cases, and that plans repeat."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from evaluator.offline.data import Case, Document, EvaluationData
from evaluator.offline.fairness.swaps import GENDER, PAIRS, flips, plan, swapped
from tests.evaluator.offline.dimensions.benches import shop


@given(st.lists(st.sampled_from(["boots", "red", "men", "Women", "GIRLS", "boy's", "lamp"]), max_size=6))
def test_swapping_twice_restores_a_text(words: list[str]) -> None:
    text = " ".join(words)
    assert swapped(swapped(text, GENDER), GENDER) == text


def test_every_pair_goes_both_ways() -> None:
    assert len(GENDER) == 2 * len(PAIRS)
    assert all(GENDER[GENDER[word]] == word for word in GENDER)


def test_plans_repeat_and_keep_queries_that_name_a_brand_out() -> None:
    data = shop(60)
    named = [replace(case, query="acme hose") if at % 2 else case for at, case in enumerate(data.cases)]
    swaps, documents = plan(replace(data, cases=named), 3)
    again, _ = plan(replace(data, cases=named), 3)
    assert [one.place for one in swaps] == [one.place for one in again]
    assert {one.place % 2 for one in swaps} == {0}
    for one in swaps:
        assert one.before.id == one.after.id == f"c{one.place}"
        assert np.isnan(one.after.gains).all()
        for old, new, changed in zip(one.before.items, one.after.items, one.changed, strict=True):
            assert (documents[old].text != documents[new].text) == changed


def test_words_of_gender_are_swapped_where_neither_query_nor_past_names_one() -> None:
    items = {
        "a": Document("Men's boots"),
        "b": Document("Boots for women"),
        "c": Document("Lamp"),
        "h": Document("Hat for girls"),
    }
    gains = np.array([1.0, 0.0, 0.0])
    plain = Case("1", ("a", "b", "c"), gains, "boots")
    asked = Case("2", ("a", "b", "c"), gains, "boots for men")
    past = Case("3", ("a", "b", "c"), gains, history=("h",))
    swaps, documents = plan(EvaluationData("d", "graded", [plain, asked, past], [], items), 0)
    [one] = swaps
    assert one.place == 0
    assert sorted(documents[item].text for item in one.after.items) == ["Boots for men", "Lamp", "Women's boots"]


def test_flips_are_nothing_for_equal_orders_and_all_for_opposite_ones() -> None:
    scores, changed = np.arange(5.0), np.ones(5, bool)
    assert flips(scores, scores * 3 - 1, changed) == 0.0
    assert flips(scores, -scores, changed) == 1.0
    assert np.isnan(flips(scores, scores, ~changed))
