"""Propensities of positions, found back where they are known."""

import numpy as np
import pytest

from evaluator.metrics.position_bias import PositionBiasModel

THETA = (1.0, 0.6, 0.35, 0.2, 0.1)


def simulated(seed: int, biased: bool) -> PositionBiasModel:
    """Twenty items over five places; where biased, the good ones stand high most of the time."""
    chance = np.random.default_rng(seed)
    relevance = np.linspace(0.6, 0.05, 20)
    positions = PositionBiasModel()
    for _ in range(20_000):
        drawn = chance.choice(20, size=5, replace=False)
        if biased and chance.random() < 0.7:
            drawn = np.sort(drawn)
        for place, item in enumerate(drawn):
            positions.update("tv", str(item), place, float(chance.random() < relevance[item] * THETA[place]))
    return positions


@pytest.mark.parametrize("biased", [False, True])
def test_propensities_are_found_back_however_things_were_ranked(biased: bool) -> None:
    found = simulated(1, biased).get()
    assert list(found) == [0, 1, 2, 3, 4]
    assert np.allclose(list(found.values()), THETA, atol=0.03)


def test_positions_that_nothing_links_keep_their_click_rates() -> None:
    positions = PositionBiasModel()
    positions.update("tv", "a", 0, 400, 1000)
    positions.update("tv", "b", 1, 100, 1000)
    assert positions.get()[1] == pytest.approx(0.25, rel=0.01)


def test_weights_are_clipped_and_nothing_known_weighs_one() -> None:
    positions = PositionBiasModel(most=4.0)
    assert positions.get() == {} and positions.weight(3) == 1.0
    for place, clicks in ((0, 500), (1, 250), (2, 0)):
        positions.update("tv", "a", place, clicks, 1000)
    assert [round(positions.weight(place), 2) for place in (0, 1, 2, 9)] == [1.0, 2.0, 4.0, 1.0]
