"""Intervals cover what they promise, and equal models are not told apart."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from evaluator.offline.resampling import Resampling, compare, holm, interval, share


def test_intervals_cover() -> None:
    """Of cases in groups: the effect of a shopper is shared by the shopper's cases."""
    chance, covered, runs = np.random.default_rng(0), 0, 1_000
    groups = np.repeat(np.arange(150), 2)
    resampling = [Resampling.of([str(group) for group in groups], 400, seed) for seed in range(5)]
    for run in range(runs):
        values = 0.6 + 0.1 * chance.normal(size=150)[groups] + 0.2 * chance.normal(size=300)
        found = interval(resampling[run % 5].mean(values))
        covered += found.low <= 0.6 <= found.high
    assert 0.93 <= covered / runs <= 0.97


def test_equal_models_are_seldom_told_apart_after_the_correction() -> None:
    chance, resampling = np.random.default_rng(1), Resampling.of([str(n) for n in range(200)], 400)
    p_values = []
    for _ in range(200):
        common = chance.normal(size=200)
        one, other = (common + 0.5 * chance.normal(size=200) for _ in range(2))
        p_values.append(compare(resampling.mean(one), resampling.mean(other)).p)
    assert sum(p < 0.05 for p in holm(p_values)) <= 10
    assert sum(p < 0.05 for p in p_values) > 2, "without the correction some are"


def test_a_true_difference_of_the_detectable_size_is_found_in_four_of_five_runs() -> None:
    chance, resampling = np.random.default_rng(2), Resampling.of([str(n) for n in range(150)], 300)
    base = chance.normal(size=(300, 150))
    detectable = compare(resampling.mean(base[0]), np.zeros(301)).detectable
    found = [compare(resampling.mean(row + detectable), np.zeros(301)).p < 0.05 for row in base]
    assert 0.7 < np.mean(found) < 0.9


def test_intervals_cover_where_shoppers_have_unlike_numbers_of_cases() -> None:
    """A tenth of the shoppers has a third of the cases, and each shopper's taste is in all of theirs."""
    chance, covered, runs = np.random.default_rng(3), 0, 1_000
    groups = np.repeat(np.arange(200), np.where(np.arange(200) % 10, 2, 9))
    resampling = [Resampling.of([str(group) for group in groups], 400, seed) for seed in range(5)]
    for run in range(runs):
        values = 0.6 + 0.15 * chance.normal(size=200)[groups] + 0.2 * chance.normal(size=len(groups))
        found = interval(resampling[run % 5].mean(values))
        covered += found.low <= 0.6 <= found.high
    assert 0.93 <= covered / runs <= 0.97


def test_equal_models_of_the_same_shoppers_are_seldom_told_apart() -> None:
    """What a shopper likes of one model is in all of the shopper's cases."""
    chance, groups = np.random.default_rng(4), np.repeat(np.arange(150), 3)
    resampling = Resampling.of([str(group) for group in groups], 400)
    p_values = []
    for _ in range(200):
        one, other = (chance.normal(size=150)[groups] + 0.5 * chance.normal(size=len(groups)) for _ in range(2))
        p_values.append(compare(resampling.mean(one), resampling.mean(other)).p)
    assert sum(p < 0.05 for p in holm(p_values)) <= 10
    assert sum(p < 0.05 for p in p_values) <= 0.05 * 200 + 2 * (200 * 0.05 * 0.95) ** 0.5


def test_intervals_of_the_most_striking_of_many_hold_together() -> None:
    """Twenty equal figures: the largest one's own interval leaves out the truth often, the common one seldom."""
    chance, resampling = np.random.default_rng(5), Resampling.of([str(n) for n in range(120)], 1_000)
    wrong = np.zeros(2)
    for _ in range(150):
        means = [resampling.mean(chance.normal(size=120)) for _ in range(20)]
        largest = max(means, key=lambda one: one[0])
        wrong += [interval(largest, looks).low > 0 for looks in (1, 20)]
    assert wrong[0] / 150 > 0.2
    assert wrong[1] / 150 <= 0.06


@pytest.mark.parametrize("count", [8, 40])
@pytest.mark.parametrize("true", [0.02, 0.3, 0.95])
def test_exact_intervals_of_shares_cover_whatever_the_share_is(count: int, true: float) -> None:
    inside = [k for k in range(count + 1) if share(k, count).low <= true <= share(k, count).high]
    assert sum(binom.pmf(k, count, true) for k in inside) >= 0.95
    ours, scipys = share(3, count), binomtest(3, count).proportion_ci(0.95)
    assert (ours.low, ours.high) == pytest.approx((scipys.low, scipys.high))
