"""Measures of one order, against ir-measures, scikit-learn and what they are by hand."""

import math

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import RR, nDCG
from scipy.stats import spearmanr
from sklearn.metrics import ndcg_score

from models.measures.ranking import (
    correlation,
    decided,
    ndcg,
    random_ndcg,
    rank_correlation,
    ranked,
    reciprocal_rank,
    relevant,
)
from models.training.examples import LEVELS
from models.training.figures import mean_ndcg

LISTS = st.lists(st.integers(0, 4), min_size=2, max_size=30).filter(lambda some: len(set(some)) > 1)


@given(LISTS, st.integers(1, 12))
@settings(deadline=None, max_examples=60)
def test_an_order_is_worth_what_two_libraries_say(gains: list[int], at: int) -> None:
    of = np.array(gains, float)
    scores = np.random.default_rng(len(gains)).permutation(len(gains)).astype(float)
    qrels = [ir_measures.Qrel("q", str(place), gain) for place, gain in enumerate(gains)]
    run = [ir_measures.ScoredDoc("q", str(place), score) for place, score in enumerate(scores.tolist())]
    inside = of[ranked(of, scores)]
    assert ndcg(inside, at) == pytest.approx(ir_measures.calc_aggregate([nDCG @ at], qrels, run)[nDCG @ at], abs=1e-9)
    assert ndcg(inside, at) == pytest.approx(ndcg_score([of], [scores], k=at), abs=1e-9)
    binary = [ir_measures.Qrel("q", one.doc_id, int(one.relevance > of.max() / 2)) for one in qrels]
    assert reciprocal_rank(inside) == pytest.approx(ir_measures.calc_aggregate([RR], binary, run)[RR], abs=1e-9)


@given(LISTS, st.floats(0.001, 1_000))
def test_the_unit_of_gains_does_not_matter(gains: list[int], unit: float) -> None:
    of = np.array(gains, float)
    assert ndcg(of * unit) == pytest.approx(ndcg(of)) and reciprocal_rank(of * unit) == reciprocal_rank(of)


def test_the_gains_of_intents_are_their_levels() -> None:
    """As a worker's shelves are judged: a purchase is worth three looks."""
    gains = np.array([LEVELS[intent] for intent in ("look", "ignore", "buy")])
    assert ndcg(gains) == pytest.approx((1 / 3 + 1 / 2) / (1 + 1 / 3 / math.log2(3)))
    assert relevant(gains).tolist() == [False, False, True] and reciprocal_rank(gains) == 1 / 3
    assert reciprocal_rank(np.array([LEVELS["ignore"], LEVELS["look"]])) == 1 / 2


def test_where_nothing_is_above_the_others_an_order_is_worth_nothing_known() -> None:
    for gains in (np.zeros(3), np.ones(1), np.zeros(0), np.array([0.5, 0.5 + 1e-7])):
        assert not decided(gains)
        assert all(math.isnan(measure(gains)) for measure in (ndcg, reciprocal_rank, random_ndcg))


def test_a_random_order_is_the_mean_of_all() -> None:
    chance, gains = np.random.default_rng(0), np.array([0.0, 1.0, 2.0, 0.0, 1.0])
    found = np.mean([ndcg(chance.permutation(gains), 3) for _ in range(20_000)])
    assert random_ndcg(gains, 3) == pytest.approx(found, abs=0.005)


def test_ties_count_against_the_model() -> None:
    gains = np.array([1.0, 0.0])
    assert ndcg(gains[ranked(gains, np.zeros(2))]) == pytest.approx(1 / np.log2(3))


def test_ranks() -> None:
    rising = np.arange(9.0)
    assert rank_correlation(rising**3, rising) == 1 and rank_correlation(-rising, rising) == -1
    assert rank_correlation(np.ones(9), rising) == rank_correlation(rising, np.ones(9)) == 0
    assert math.isnan(correlation(np.ones(9), rising)) and correlation(rising, np.ones(9)) == 0


def test_training_tells_the_mean_over_lists_that_can_be_ranked() -> None:
    predicted = np.array([0.9, 0.1, 0.5, 0.4, 0.3], np.float32)
    actual = np.array([0.0, 1.0, 1.0, 0.0, 1.0], np.float32)
    found = mean_ndcg(predicted, actual, np.array([5, 5, 2, 2, 8]))
    assert found == pytest.approx((1 / np.log2(3) + 1) / 2)
    assert mean_ndcg(predicted, np.ones(5, np.float32), np.zeros(5, int)) == 0


@given(st.lists(st.tuples(st.integers(-3, 3), st.floats(-1e300, 1e300)), min_size=2, max_size=40))
@settings(deadline=None, max_examples=60)
def test_rank_correlation_is_scipys(pairs: list[tuple[int, float]]) -> None:
    one, other = np.array(pairs, np.float64).T
    wanted = 0.0 if len(set(one)) == 1 or len(set(other)) == 1 else spearmanr(one, other).statistic
    assert rank_correlation(one, other) == pytest.approx(wanted, abs=1e-12)
    one[0] = math.nan
    assert math.isnan(rank_correlation(one, other)) or len(set(other)) == 1
