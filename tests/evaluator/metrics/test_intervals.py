"""Intervals: bounds, order, and how often they cover, Wilson's and those of weighted sums."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evaluator.metrics.intervals import Interval, ratio, wilson
from evaluator.metrics.rates import Tally

RUNS = 4_000
ERROR = math.sqrt(0.05 * 0.95 / RUNS)
"""Standard error of a coverage from so many runs: 0.34 %."""


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_bounds_hold_the_rate(successes: int, more: int) -> None:
    found = wilson(successes, successes + more)
    if successes + more:
        assert 0 <= found.low <= found.rate <= found.high <= 1
        wider = wilson(successes, successes + more, z=3)
        assert wider.low <= found.low and found.high <= wider.high


def covered(trials: int, rate: float) -> float:
    """How often Wilson's interval holds a rate: exact, the sum of the probabilities of the counts for which it does."""
    spread = 8 * math.sqrt(trials * rate * (1 - rate)) + 10
    counts = np.arange(max(0, int(trials * rate - spread)), min(trials, int(trials * rate + spread)) + 1)
    holds = [(found := wilson(int(count), trials)).low <= rate <= found.high for count in counts]
    return float((stats.binom.pmf(counts, trials, rate) * holds).sum())


@pytest.mark.parametrize("trials", [50, 200, 1_000, 5_000, 50_000])
def test_wilsons_95_percent_intervals_cover_94_to_96_percent(trials: int) -> None:
    """On average over rates from 1 to 30 %. At one rate counts are whole numbers, so coverage swings with it."""
    found = [covered(trials, rate) for rate in np.linspace(0.01, 0.3, 30)]
    assert 0.94 < np.mean(found) < 0.96
    assert trials < 1_000 or 0.94 < min(found) <= max(found) < 0.97


def holds(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


@pytest.mark.parametrize(
    ("rate", "impressions", "sigma"),
    [(0.005, 80_000, 0.5), (0.02, 20_000, 1.0), (0.05, 10_000, 1.0), (0.05, 50_000, 0.5)],
)
def test_revenue_intervals_cover_94_to_96_percent(rate: float, impressions: int, sigma: float) -> None:
    """With 400 purchases or more of log-normal prices; with few and unlike ones they cover less."""
    chance, truth, hits = np.random.default_rng(0), rate * 30 * math.exp(sigma**2 / 2), 0
    for bought in chance.binomial(impressions, rate, size=RUNS).tolist():
        prices = 30 * chance.lognormal(0, sigma, bought)
        sums = Tally(impressions, revenue=float(prices.sum()), revenue_squared=float((prices**2).sum()))
        hits += holds(sums.revenue_per_impression, truth)
    assert 0.94 - 2 * ERROR < hits / RUNS < 0.96 + 2 * ERROR


@pytest.mark.parametrize(("rate", "impressions"), [(0.02, 80_000), (0.05, 20_000), (0.1, 8_000)])
def test_debiased_intervals_cover_94_to_96_percent(rate: float, impressions: int) -> None:
    """With 300 clicks or more on eight places, the last seen by a tenth."""
    seen = np.array([1, 0.7, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1])
    clicks = np.random.default_rng(1).binomial(impressions // 8, rate * seen, size=(RUNS, 8))
    hits = 0
    for sums, squares in zip(clicks @ (1 / seen), clicks @ (1 / seen**2), strict=True):
        found = Tally(impressions, debiased=float(sums), debiased_squared=float(squares)).debiased_ctr
        hits += holds(found, rate)
    assert 0.94 - 2 * ERROR < hits / RUNS < 0.96 + 2 * ERROR


@pytest.mark.parametrize(("successes", "trials"), [(2, 1), (-1, 3)])
def test_impossible_counts_are_refused(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="successes"):
        wilson(successes, trials)


@pytest.mark.parametrize(
    ("unlike", "each", "least", "most"), [(0, 200, 0.92, 0.98), (0.5, 200, 0.6, 0.8), (1, 50, 0.6, 0.8)]
)
def test_wilsons_intervals_are_for_independent_impressions(unlike: float, each: int, least: float, most: float) -> None:
    """Rates of shoppers vary by ``unlike`` times their mean, 5 %: what docs/evaluator.md says of 20,000 impressions."""
    chance, shoppers, runs = np.random.default_rng(7), 20_000 // each, 500
    factors = chance.gamma(1 / unlike**2, unlike**2, (runs, shoppers)) if unlike else np.ones((runs, shoppers))
    clicks = chance.binomial(each, np.minimum(0.05 * factors, 1)).sum(axis=1)
    found = [wilson(int(count), 20_000) for count in clicks]
    assert least < np.mean([one.low <= 0.05 <= one.high for one in found]) < most


def test_intervals_of_a_ratio_cover_95_percent() -> None:
    """Twenty groups of different sizes; of 2,000 draws, within four standard errors and a percent for so few groups."""
    chance = np.random.default_rng(1)
    visits = chance.poisson(20, (2_000, 20))
    shown = visits * (0.6 + 0.1 * chance.standard_normal(visits.shape)) + chance.standard_normal(visits.shape)
    found = [ratio(above.tolist(), below.tolist()) for above, below in zip(shown, visits, strict=True)]
    covered = np.mean([one.low <= 0.6 <= one.high for one in found])
    assert abs(covered - 0.95) < 4 * (0.95 * 0.05 / 2_000) ** 0.5 + 0.01


def test_a_ratio_of_nothing_and_of_one_group_has_no_interval() -> None:
    assert all(math.isnan(one) for one in ratio([], []))
    share, low, high = ratio([1.0], [2.0])
    assert share == 0.5 and math.isnan(low) and math.isnan(high)
