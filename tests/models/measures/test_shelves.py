"""Shares of exposure and how far apart they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.measures.shelves import shares, total_variation

SHELVES = st.lists(st.lists(st.sampled_from("abcdef"), unique=True, min_size=1), min_size=1, max_size=5)


@given(SHELVES, SHELVES)
def test_a_distance_of_shares(one: list[list[str]], other: list[list[str]]) -> None:
    apart = total_variation(shares(one), shares(other))
    assert 0 <= apart <= 1 + 1e-9 and apart == pytest.approx(total_variation(shares(other), shares(one)))
    assert total_variation(shares(one), shares(one)) == 0 and sum(shares(one).values()) == pytest.approx(1)
