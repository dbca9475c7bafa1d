"""Exposure of the evaluation is that of shelves; ties share; Gini's coefficient; bounds by Hypothesis."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from evaluator.offline.data import Case, Document, EvaluationData
from evaluator.offline.fairness.exposure import centred, gini, shares_of
from evaluator.offline.resampling import Resampling
from models.measures.shelves import shared, shares, total_variation

AMOUNTS = st.lists(st.floats(0, 100), min_size=1, max_size=30).map(np.array)


def lists(draw: np.random.Generator, count: int) -> tuple[EvaluationData, list[np.ndarray]]:
    items = {f"i{number}": Document("", brand="abc"[number % 3]) for number in range(30)}
    cases, scores = [], []
    for number in range(count):
        shown = draw.choice(30, draw.integers(2, 15), replace=False)
        gains = draw.integers(0, 3, len(shown)).astype(float)
        gains[:2] = 0.0, 1.0
        cases.append(Case(f"c{number}", tuple(f"i{at}" for at in shown), gains, f"q{number}"))
        scores.append(draw.permutation(len(shown)).astype(float))
    return EvaluationData("d", "graded", cases, [], items), scores


@given(st.integers(0, 10_000))
def test_shares_equal_those_of_shelves(seed: int) -> None:
    data, scores = lists(np.random.default_rng(seed), 6)
    brands = {item: document.brand for item, document in data.items.items()}
    found = shares_of(data, scores, brands)
    exposure, merit, _ = found.replicates(Resampling.of([case.id for case in data.cases], draws=3))
    shelves = [
        [brands[case.items[place]] for place in np.argsort(-own)[:10]]
        for case, own in zip(data.cases, scores, strict=True)
    ]
    gate = shares(shelves)
    ours = dict(zip(found.names, exposure[0].tolist(), strict=True))
    assert total_variation(gate, ours) < 1e-12
    assert abs(merit[0].sum() - 1) < 1e-12


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=14), st.randoms())
def test_exposure_of_ties_is_its_mean_over_orders(scores: list[float], chance: object) -> None:
    seen = shared(np.array(scores))
    generator = np.random.default_rng(len(scores))
    tries = [shared(np.array(scores) + 1e-6 * generator.permutation(len(scores))) for _ in range(3)]
    for level in set(scores):
        inside = np.array(scores) == level
        assert np.ptp(seen[inside]) < 1e-12
        for one in tries:
            assert abs(one[inside].sum() - seen[inside].sum()) < 1e-9


@given(AMOUNTS)
def test_gini_is_between_zero_and_one_and_ignores_scale(amounts: np.ndarray) -> None:
    value = gini(amounts)
    if amounts.sum() > 1e-6:
        assert -1e-9 <= value < 1
        assert abs(gini(amounts * 7) - value) < 1e-9
        pairs = np.abs(amounts[:, None] - amounts[None, :]).sum() / (2 * len(amounts) * amounts.sum())
        assert abs(value - pairs) < 1e-9


def test_centred_replicates_cover_a_gini() -> None:
    """Resampling makes exposure less equal; the moved replicates cover the truth about as often as they say."""
    chance, hits, runs = np.random.default_rng(1), 0, 60
    truth = gini(np.arange(1.0, 9.0))
    for seed in range(runs):
        picks = chance.choice(8, 400, p=np.arange(1, 9) / 36)
        rows = np.eye(8)[picks]
        drawn = Resampling.of([str(at) for at in range(400)], draws=200, seed=seed)
        low, high = np.quantile(
            centred(np.array([gini(weights @ rows) for weights in drawn.weights]))[1:], (0.025, 0.975)
        )
        hits += bool(low <= truth <= high)
    assert hits >= 0.85 * runs
