"""Times by a clock that the scorers move: what is slow is refused, and noise that falls on both is not."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from evaluator.gate.bootstrap import Bootstrap
from evaluator.gate.config import GateConfig
from evaluator.gate.dataset import GateRequest, Score
from evaluator.gate.figures.latency import latency_figures, measure
from evaluator.gate.thresholds import Check, Figure
from models.measures.names import candidates
from models.scorer import Floats
from tests.evaluator.gate.world import asked

CALLS = [GateRequest(str(number), (), ("x",)) for number in range(60)]


class Clock:
    """Time that passes only in calls."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order = ""

    def __call__(self) -> float:
        return self.now

    def scorer(self, name: str, takes: Callable[[], float]) -> Score:
        def score(asks: Sequence[GateRequest]) -> list[Floats]:
            self.now += takes()
            self.order += name
            return []

        return score


def checks(champion: Callable[[], float], challenger: Callable[[], float], seed: int = 0) -> list[tuple[Figure, Check]]:
    clock = Clock()
    times = measure(clock.scorer("a", champion), clock.scorer("b", challenger), CALLS, 5, seed, clock)
    assert clock.order.count("a") == clock.order.count("b") == 5 * len(CALLS) + 3
    pairs = [clock.order[start : start + 2] for start in range(6, len(clock.order), 2)]
    assert set(pairs) == {"ab", "ba"} and 0.35 < pairs.count("ab") / len(pairs) < 0.65
    figures = latency_figures(*times, candidates(100), Bootstrap(draws=300))
    return [(figure, *asked(GateConfig(), figure).values()) for figure in figures]


def test_equal_scorers_on_a_busy_machine_pass() -> None:
    """Log-normal times whose spread is that of a machine with other work, 40 times over."""
    refused = 0
    for seed in range(40):
        chance = np.random.default_rng(seed)

        def takes(chance: np.random.Generator = chance) -> float:
            return float(0.01 * chance.lognormal(0, 0.5))

        refused += not all(check.outcome == "passed" for _, check in checks(takes, takes, seed))
    assert refused == 0


@pytest.mark.parametrize(("slower", "passed"), [(1.1, True), (1.6, False)])
def test_the_median_may_rise_by_a_quarter(slower: float, passed: bool) -> None:
    chance = np.random.default_rng(0)
    (median, check), _ = checks(
        lambda: 0.01 * chance.uniform(0.9, 1.1), lambda: 0.01 * slower * chance.uniform(0.9, 1.1)
    )
    assert check.outcome == ("passed" if passed else "failed")
    assert median.value is not None and median.reference is not None
    assert median.value / median.reference == pytest.approx(slower, rel=0.03)
    assert ("as a ratio none of it is ≤ 1.25" in check.said) is not passed


def test_a_challenger_that_is_seldom_very_slow_breaks_the_99_percent_budget_alone() -> None:
    chance = np.random.default_rng(0)
    (_, median), (figure, p99) = checks(lambda: 0.01, lambda: 0.01 if chance.random() > 0.04 else 0.05)
    assert (median.outcome, p99.outcome, p99.measure) == ("passed", "failed", "latency p99")
    assert (figure.reference, figure.value, figure.unit) == (pytest.approx(10), pytest.approx(50), "ms")
