"""Bins and the expected calibration error, against what they are by hand."""

import math

import numpy as np
import pytest

from models.training.reliability import TENTHS, Reliability, bins_of, expected_calibration_error


def test_ten_equal_bins_are_the_tenths_in_the_precision_of_scorers() -> None:
    tenths = np.array([0.0, *TENTHS, 1.0], np.float32)
    near = [tenths, np.nextafter(tenths, np.float32(0)), np.nextafter(tenths, np.float32(1))]
    probabilities = np.concatenate([*near, np.random.default_rng(0).random(10_000, np.float32)])
    assert (bins_of(probabilities) == np.minimum((probabilities * 10).astype(int), 9)).all()


def test_what_was_taken_in_apart_adds_up_and_the_error_is_the_mean_gap() -> None:
    chance, edges = np.random.default_rng(0), (0.1, 0.25, 0.6)
    predicted = chance.random(500)
    came = chance.random(500) < predicted**2
    apart, together = (Reliability(edges), Reliability(edges)), Reliability(edges)
    apart[0].update(predicted[:200], came[:200])
    for probability, outcome in zip(predicted[200:], came[200:], strict=True):
        apart[1].update(probability, outcome)
    apart[0].add(apart[1])
    together.update(predicted, came)
    parts = [(low <= predicted) & (predicted < high) for low, high in ((0, 0.1), (0.1, 0.25), (0.25, 0.6), (0.6, 1))]
    wanted = sum(part.mean() * abs(predicted[part].mean() - came[part].mean()) for part in parts)
    assert apart[0].ece == pytest.approx(wanted) and together.ece == pytest.approx(wanted)
    assert together.counts.tolist() == [part.sum() for part in parts]
    assert math.isnan(Reliability().ece)


def test_whole_numbers_are_probabilities_too() -> None:
    assert bins_of(np.array([0, 1])).tolist() == [0, 9]
    assert expected_calibration_error(np.array([1.0, -1.0]), 8) == 0.25
