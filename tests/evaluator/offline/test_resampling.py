"""Intervals cover what they promise, and equal models are not told apart."""

import numpy as np

from evaluator.offline.resampling import Resampling, compare, holm, interval


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
