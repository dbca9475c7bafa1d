"""Knowing how often is no learning: what was never calibrated is judged as if it had been."""

from collections.abc import Sequence

import numpy as np

from evaluator.gate.config import GateConfig
from evaluator.gate.dataset import GateRequest
from evaluator.gate.figures.quality import calibrated
from evaluator.gate.gate import decide
from models.scorer import Floats, utility
from models.training.examples import Example

CONFIG = GateConfig(draws=200, latency_calls=5, latency_repeats=1, latency_median=100, latency_p99=100)
WEIGHTS = {"look": 1.0}


def shown(seed: int) -> list[Example]:
    """Lists of six items each; one in eight is clicked, one in four of those whose name is good."""
    chance = np.random.default_rng(seed)
    made = []
    for number in range(600):
        for place, clicked in enumerate(chance.random(6) < (0.25, 0.25, 0.0625, 0.0625, 0.0625, 0.0625)):
            name = f"{'good' if place < 2 else 'poor'} {place}"
            made.append(Example(query=f"{seed} {number}", item=name, intent="look" if clicked else "ignore"))
    return made


def unsure(asks: Sequence[GateRequest]) -> list[Floats]:
    """Ranks by what matters little, and knows nothing of how often anything is clicked."""
    return [np.array([[0.2, 0.2, _liking(item), 0.6 - _liking(item)] for item in ask.items], "f4") for ask in asks]


def usual(asks: Sequence[GateRequest]) -> list[Floats]:
    """Knows how often anything is clicked, and a little of the order, from noise."""
    rows = {item: 0.1 + 0.0001 * _liking(item) for ask in asks for item in ask.items}
    return [np.array([[0.001, 0.001, rows[item], 0.998 - rows[item]] for item in ask.items], "f4") for ask in asks]


def knowing(asks: Sequence[GateRequest]) -> list[Floats]:
    """Knows how often each item is clicked."""
    found = []
    for ask in asks:
        rates = [0.25 if item.startswith("good") else 0.0625 for item in ask.items]
        found.append(np.array([[0.001, 0.001, rate, 0.998 - rate] for rate in rates], "f4"))
    return found


def _liking(item: str) -> float:
    return 0.31 if int(item[-1]) % 2 else 0.3


def test_what_knows_only_how_often_is_better_than_nothing_calibrated_but_not_than_the_same_calibrated() -> None:
    decided = {
        (baseline is unsure, challenger): decide(unsure, challenger, shown(1), CONFIG, baseline=baseline).decision
        for baseline in (unsure, calibrated(unsure, shown(0), 1_000))
        for challenger in (usual, knowing)
    }
    assert decided == {
        (True, usual): "passed",
        (True, knowing): "passed",
        (False, usual): "refused",
        (False, knowing): "passed",
    }


def test_calibrating_leaves_the_order() -> None:
    asks = [GateRequest(f"q{number}", (), ("good 0", "poor 3", "poor 4")) for number in range(3)]
    for part, before in zip(calibrated(unsure, shown(0), 1_000)(asks), unsure(asks), strict=True):
        assert np.allclose(part.sum(1), 1, atol=1e-6)
        assert utility(part, WEIGHTS).argmax() == utility(before, WEIGHTS).argmax() == 1
