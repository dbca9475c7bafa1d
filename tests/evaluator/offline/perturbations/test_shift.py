"""How far an order shifts: nothing for equal scores, everything for a reversed order, ties by chance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator.offline.data import Case
from evaluator.offline.perturbations.shift import place_of, shift

scores_of = st.lists(st.integers(-4, 4), min_size=3, max_size=30).map(lambda some: np.array(some, np.float64))


def case(count: int) -> Case:
    return Case("c", tuple(map(str, range(count))), np.arange(count, dtype=np.float64))


@settings(deadline=None)
@given(scores_of)
def test_equal_scores_shift_nothing(scores: np.ndarray) -> None:
    found = shift(case(len(scores)), scores, scores.copy(), 0.0)
    assert found[:4] == (0.0, 1.0, 0.0, 0.0)
    assert np.isnan(found.correlation) if np.ptp(scores) == 0 else found.correlation == pytest.approx(1)


@settings(deadline=None)
@given(scores_of, st.randoms())
def test_figures_are_shares_and_losses_cancel_out(before: np.ndarray, chance: object) -> None:
    after = before[::-1].copy()
    there, back = (shift(case(len(before)), *pair, 0.0) for pair in ((before, after), (after, before)))
    assert 0 <= there.overlap <= 1 and 0 <= there.flipped <= 1
    assert np.isclose(there.lost, -back.lost) and there.flipped == back.flipped and there.overlap == back.overlap


def test_a_reversed_order_flips_and_loses() -> None:
    best = np.arange(6, dtype=np.float64)
    found = shift(case(6), best, -best, 0.0)
    assert found.lost > 0.3 and found.overlap == 0 and found.flipped == 1


def test_a_tie_flips_by_chance() -> None:
    assert shift(case(4), np.array([4.0, 3, 2, 1]), np.zeros(4), 0.0).flipped == 0.75


@settings(deadline=None)
@given(scores_of)
def test_places_add_up(scores: np.ndarray) -> None:
    count = len(scores)
    assert sum(place_of(scores, place) for place in range(count)) == count * (count + 1) / 2
