"""Ranking measures equal ir-measures and scikit-learn on random cases."""

import math

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import AP, RR, R, nDCG
from sklearn.metrics import average_precision_score, ndcg_score, roc_auc_score

from evaluator.offline.data import Case
from evaluator.offline.measures.measure import every, judged

BY_NAME = {measure.name: measure.of for measure in every()}


@st.composite
def cases(draw: st.DrawFn, most: int = 3) -> tuple[Case, np.ndarray]:
    """Gains of which at least two differ, and scores without ties, in random order."""
    gains = draw(st.lists(st.integers(0, most), min_size=2, max_size=40).filter(lambda some: len(set(some)) > 1))
    order = draw(st.permutations(range(len(gains))))
    items = tuple(f"d{place}" for place in range(len(gains)))
    return Case("c", items, np.array(gains, np.float64)), np.array(order, np.float64)


@given(cases())
@settings(max_examples=60, deadline=None)
def test_measures_equal_ir_measures(found: tuple[Case, np.ndarray]) -> None:
    case, scores = found
    one = judged(case, scores, 0.0)
    half = case.gains.max() / 2
    graded = [ir_measures.Qrel("c", item, int(gain)) for item, gain in zip(case.items, case.gains, strict=True)]
    binary = [ir_measures.Qrel("c", item, int(gain > half)) for item, gain in zip(case.items, case.gains, strict=True)]
    run = [ir_measures.ScoredDoc("c", item, float(score)) for item, score in zip(case.items, scores, strict=True)]
    for name, metric, qrels in (
        ("ndcg@10", nDCG @ 10, graded),
        ("ndcg@20", nDCG @ 20, graded),
        ("mrr", RR, binary),
        ("map", AP, binary),
        ("recall@5", R @ 5, binary),
        ("recall@20", R @ 20, binary),
    ):
        expected = ir_measures.calc_aggregate([metric], qrels, run)[metric]
        assert BY_NAME[name](one) == pytest.approx(expected, abs=1e-9), name


@given(cases(most=1))
@settings(max_examples=60, deadline=None)
def test_measures_equal_scikit_learn(found: tuple[Case, np.ndarray]) -> None:
    case, scores = found
    one, relevant = judged(case, scores, 0.0), case.gains > 0
    assert BY_NAME["auc"](one) == pytest.approx(roc_auc_score(relevant, scores))
    assert BY_NAME["map"](one) == pytest.approx(average_precision_score(relevant, scores))
    assert BY_NAME["ndcg@10"](one) == pytest.approx(ndcg_score([case.gains], [scores], k=10))


@given(cases(most=5))
@settings(max_examples=60, deadline=None)
def test_area_under_the_curve_is_the_share_of_pairs_in_the_right_order(found: tuple[Case, np.ndarray]) -> None:
    case, scores = found
    pairs = [(i, j) for i, a in enumerate(case.gains) for j, b in enumerate(case.gains) if a > b]
    right = sum(scores[i] > scores[j] for i, j in pairs)
    assert BY_NAME["auc"](judged(case, scores, 0.0)) == pytest.approx(right / len(pairs))


@given(cases())
@settings(max_examples=30, deadline=None)
def test_equal_scores_are_worth_no_more_than_any_order(found: tuple[Case, np.ndarray]) -> None:
    case, scores = found
    tied, ordered = judged(case, np.zeros(len(scores)), 0.0), judged(case, scores, 0.0)
    for name in ("ndcg@10", "mrr", "map", "auc", "recall@5"):
        assert BY_NAME[name](tied) <= BY_NAME[name](ordered) + 1e-12


def test_where_nothing_differs_measures_are_undefined() -> None:
    one = judged(Case("c", ("a", "b"), np.ones(2)), np.arange(2.0), 0.0)
    assert all(math.isnan(of(one)) for of in BY_NAME.values())
