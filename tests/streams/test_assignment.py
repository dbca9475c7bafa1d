"""Arms that stay: who is in which, with nothing stored."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from streams.assignment import assign, place


def test_places_are_uniform_and_salts_are_independent() -> None:
    one, other = ([place(f"user-{number}", salt) for number in range(20_000)] for salt in ("a", "b"))
    assert stats.kstest(one, "uniform").pvalue > 0.01 and stats.kstest(other, "uniform").pvalue > 0.01
    assert abs(stats.spearmanr(one, other).statistic) < 0.03


@given(st.text(max_size=20), st.text(max_size=10), st.floats(0, 0.5), st.floats(0, 0.4))
def test_growing_the_first_arm_moves_nobody_out_of_it(shopper: str, salt: str, share: float, more: float) -> None:
    small = assign(shopper, salt, {"canary": share, "champion": 1 - share})
    large = assign(shopper, salt, {"canary": share + more, "champion": 1 - share - more})
    assert small == assign(shopper, salt, {"canary": share, "champion": 1 - share})
    assert small == "champion" or large == "canary"


@pytest.mark.parametrize("shares", [{"a": 0.5}, {"a": 1.5, "b": -0.5}, {}])
def test_shares_that_make_no_whole_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="sum to one"):
        assign("u", "s", shares)
