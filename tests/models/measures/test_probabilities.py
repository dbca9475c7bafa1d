"""Bins and the expected calibration error, against what they are by hand."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from models.measures.probabilities import (
    FINE,
    TENTHS,
    Reliability,
    bins_of,
    cross_entropies,
    expected_calibration_error,
)


def test_ten_equal_bins_are_the_tenths_in_the_precision_of_scorers() -> None:
    tenths = np.array([0.0, *TENTHS, 1.0], np.float32)
    near = [tenths, np.nextafter(tenths, np.float32(0)), np.nextafter(tenths, np.float32(1))]
    probabilities = np.concatenate([*near, np.random.default_rng(0).random(10_000, np.float32)])
    assert (bins_of(probabilities) == np.minimum((probabilities * 10).astype(int), 9)).all()


def test_what_was_taken_in_apart_adds_up_and_the_error_is_the_mean_gap_of_tenths() -> None:
    chance, edges = np.random.default_rng(0), FINE
    predicted = chance.random(500)
    came = chance.random(500) < predicted**2
    apart, together = (Reliability(edges), Reliability(edges)), Reliability(edges)
    apart[0].update(predicted[:200], came[:200])
    for probability, outcome in zip(predicted[200:], came[200:], strict=True):
        apart[1].update(probability, outcome)
    apart[0].add(apart[1])
    together.update(predicted, came)
    bounds = (0.0, *FINE, 1.0)
    bins, parts = (
        [(low <= predicted) & (predicted < high) for low, high in pairwise(some)]
        for some in (bounds, (0.0, *TENTHS, 1.0))
    )
    wanted = sum(part.mean() * abs(predicted[part].mean() - came[part].mean()) for part in parts)
    assert apart[0].ece == pytest.approx(wanted) and together.ece == pytest.approx(wanted)
    assert together.counts.tolist() == [part.sum() for part in bins]
    assert math.isnan(Reliability().ece)


def test_whole_numbers_are_probabilities_too() -> None:
    assert bins_of(np.array([0, 1])).tolist() == [0, 9]
    assert expected_calibration_error(np.array([1.0, -1.0]), 8) == 0.25


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 2)), min_size=1, max_size=30))
def test_log_loss_is_scikit_learns(rows: list[tuple[float, int]]) -> None:
    given_ = np.array([[p, (1 - p) / 2, (1 - p) / 2] for p, _ in rows])
    truth = np.array([label for _, label in rows])
    wanted = log_loss(truth, given_.clip(1e-9) / given_.clip(1e-9).sum(1, keepdims=True), labels=[0, 1, 2])
    assert cross_entropies(given_, np.eye(3)[truth]).mean() == pytest.approx(wanted, abs=1e-7)
