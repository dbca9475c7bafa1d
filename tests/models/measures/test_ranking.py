from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.training import measures


def by_hand(predicted: np.ndarray, actual: np.ndarray, at: int) -> float:
    """nDCG with linear gain of one list; ties go against the model."""
    order = np.lexsort((actual, -predicted))
    discount = 1 / np.log2(np.arange(len(actual)) + 2)
    discount[at:] = 0
    return float((actual[order] * discount).sum() / (np.sort(actual)[::-1] * discount).sum())


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=12), st.integers(1, 12))
def test_ndcg_is_the_formula(rows: list[tuple[int, int]], at: int) -> None:
    predicted, actual = (np.array(column, float) / 3 for column in zip(*rows, strict=True))
    found = measures.ndcg(predicted, actual, np.zeros(len(rows), int), at)
    wanted = 0.0 if np.ptp(actual) == 0 else by_hand(predicted, actual, at)
    assert found == pytest.approx(wanted, abs=1e-3)  # gains are whole thousandths


def test_ndcg_is_a_mean_over_lists_that_can_be_ranked() -> None:
    predicted, actual = np.array([0.9, 0.1, 0.5, 0.4, 0.3]), np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    found = measures.ndcg(predicted, actual, np.array([5, 5, 2, 2, 8]))
    assert found == pytest.approx((1 / np.log2(3) + 1) / 2)
    assert measures.ndcg(predicted, np.ones(5), np.zeros(5, int)) == 0


def test_ties_count_against_the_model() -> None:
    assert measures.ndcg(np.zeros(2), np.array([1.0, 0.0]), np.zeros(2, int)) == pytest.approx(1 / np.log2(3))


def test_ranks_and_errors() -> None:
    rising = np.arange(9.0)
    assert measures.spearman(rising**3, rising) == 1 and measures.spearman(-rising, rising) == -1
    assert measures.spearman(np.ones(9), rising) == measures.spearman(rising, np.ones(9)) == 0
    assert measures.rmse(rising + 2, rising) == 2


def test_grades_that_differ_by_less_than_a_thousandth_are_equal() -> None:
    """The list cannot be ranked, so it is skipped; it used to count as ranked wrong."""
    actual = np.array([0.0004, 0.0, 1.0, 0.0])
    assert measures.ndcg(np.array([0.9, 0.1, 0.9, 0.1]), actual, np.array([0, 0, 1, 1])) == 1
    assert measures.ndcg(np.array([0.9, 0.1]), actual[:2], np.zeros(2, int)) == 0


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=12), st.randoms())
def test_measures_do_not_depend_on_the_order_of_examples(rows: list[tuple[int, int]], chance: Random) -> None:
    mixed = chance.sample(rows, len(rows))
    found, again = (
        (measures.ndcg(predicted, actual, np.zeros(len(rows), int)), measures.spearman(predicted, actual))
        for predicted, actual in (np.array(some, float).T for some in (rows, mixed))
    )
    assert found == pytest.approx(again)
