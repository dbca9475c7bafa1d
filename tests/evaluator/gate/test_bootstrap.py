"""Intervals cover what they say, groups stay together, and enough is enough."""

import numpy as np
import pytest

from evaluator.gate.bootstrap import Bootstrap, Estimate

HOW = Bootstrap(draws=400)


@pytest.mark.parametrize("skewed", [False, True])
def test_intervals_cover_the_truth(skewed: bool) -> None:
    """About 95 %: between 92 and 97.5 % of 500 draws of 300 groups of many sizes, where the error is 1 %."""
    covered = 0
    for seed in range(500):
        chance = np.random.default_rng(seed)
        weights = chance.integers(1, 12, 300).astype(float)
        errors = chance.exponential(1, 300) - 1 if skewed else chance.normal(size=300)
        found = HOW.ratio(weights * errors, weights, [str(number) for number in range(300)])
        assert found is not None and found.low <= found.value <= found.high
        covered += found.low <= 0 <= found.high
    assert 0.92 < covered / 500 < 0.975


def test_what_belongs_together_is_drawn_together() -> None:
    """Ten copies of every row tell no more than one."""
    chance = np.random.default_rng(0)
    values, names = chance.normal(size=200), [str(number) for number in range(200)]
    once = HOW.ratio(values, np.ones(200), names)
    copied = HOW.ratio(np.repeat(values, 10), np.ones(2_000), np.repeat(names, 10).tolist())
    apart = HOW.ratio(np.repeat(values, 10), np.ones(2_000), [str(number) for number in range(2_000)])
    assert once is not None and copied is not None and apart is not None
    assert copied == pytest.approx(once)
    assert apart.high - apart.low < 0.4 * (once.high - once.low)


def test_the_same_seed_gives_the_same_interval_and_another_another() -> None:
    values, names = np.random.default_rng(0).normal(size=100), [str(number) for number in range(100)]
    one, again, other = (Bootstrap(draws=300, seed=seed).ratio(values, np.ones(100), names) for seed in (1, 1, 2))
    assert one == again != other


def test_nothing_that_varies_has_an_interval_of_no_width() -> None:
    assert HOW.ratio([0.25, 0.5], [1, 2], ["a", "b"]) == Estimate(0.25, 0.25, 0.25, 2)
    assert HOW.ratio([0.0] * 9, [1] * 9, list("abcdefghi")) == Estimate(0, 0, 0, 9)


def test_without_two_groups_that_weigh_anything_nothing_is_told() -> None:
    assert HOW.ratio([], [], []) is None
    assert HOW.ratio([1, 2], [1, 1], ["a", "a"]) is None
    assert HOW.ratio([1, 0], [1, 0], ["a", "b"]) is None
