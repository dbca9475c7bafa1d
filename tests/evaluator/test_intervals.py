"""Wilson's interval: bounds, order, and how often it covers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.intervals import wilson


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_bounds_hold_the_rate(successes: int, more: int) -> None:
    found = wilson(successes, successes + more)
    if successes + more:
        assert 0 <= found.low <= found.rate <= found.high <= 1
        wider = wilson(successes, successes + more, z=3)
        assert wider.low <= found.low and found.high <= wider.high


@pytest.mark.parametrize(("rate", "trials"), [(0.05, 500), (0.05, 5_000), (0.01, 2_000), (0.2, 300)])
def test_95_percent_intervals_cover_94_to_96_percent(rate: float, trials: int) -> None:
    counts = np.random.default_rng(0).binomial(trials, rate, size=40_000)
    known = {count: wilson(int(count), trials) for count in set(counts.tolist())}
    covered = np.mean([known[count].low <= rate <= known[count].high for count in counts.tolist()])
    assert 0.94 < covered < 0.965, "binomial counts are whole numbers: coverage is off by what one count is worth"


@pytest.mark.parametrize(("successes", "trials"), [(2, 1), (-1, 3)])
def test_impossible_counts_are_refused(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="successes"):
        wilson(successes, trials)
