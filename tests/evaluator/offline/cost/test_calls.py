"""Timing: kinds in turn, limits of time and number, what is skipped, paired draws, and what intervals say."""

from collections.abc import Sequence

import numpy as np
import pytest

from evaluator.offline.contenders.contender import Scores
from evaluator.offline.cost.calls import LEAST_CALLS, LONGEST, Kind, measure, resampled
from evaluator.offline.data import Case, EvaluationData


class Clock:
    """Time that only calls move."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow:
    """Takes a fixed time a candidate."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock, self.seconds, self.sizes = clock, seconds, list[int]()

    def fit(self, data: EvaluationData) -> None:
        """Nothing."""

    def score(self, cases: Sequence[Case]) -> list[Scores]:
        self.sizes.append(len(cases))
        self.clock.now += self.seconds * sum(len(case.items) for case in cases)
        return [np.zeros(len(case.items)) for case in cases]


def kinds(seconds: float = 1.0, most: int = 40) -> list[Kind]:
    case = Case("c", tuple("abcd"), np.zeros(4))
    return [Kind(str(size), lambda size=size: [case] * size, seconds, most) for size in (1, 8, 64)]  # type: ignore[misc]


def run(pace: float, **limits: float) -> tuple[list[Kind], Slow]:
    clock, made = Clock(), kinds(**limits)  # type: ignore[arg-type]
    slow = Slow(clock, pace)
    measure(slow, made, None, clock=clock)
    return made, slow


def test_fast_calls_end_by_number_slow_ones_by_time() -> None:
    fast, _ = run(1e-6)
    assert [len(kind.times) for kind in fast] == [40, 40, 40]
    slow, _ = run(1e-3, seconds=0.5)
    assert len(slow[0].times) == 40
    assert LEAST_CALLS <= len(slow[2].times) < 40
    assert sum(slow[2].times) < 1.0


def test_what_would_take_too_long_is_skipped_and_says_so() -> None:
    made, slow = run(0.05)
    assert [bool(kind.times) for kind in made] == [True, True, False]
    assert str(made[2].skipped) == "one call takes about 12.8 s: not measured"
    assert 64 not in slow.sizes
    assert slow.clock.now < 3 * LONGEST * LEAST_CALLS


def test_one_very_slow_call_is_enough() -> None:
    made, slow = run(10.0)
    assert len(slow.sizes) == 1
    assert made[0].times == [40.0]


def test_kinds_take_turns() -> None:
    _, slow = run(1e-6)
    assert slow.sizes[-6:] == [1, 8, 64, 1, 8, 64]


def test_draws_of_as_many_calls_are_the_same_and_cover_the_median() -> None:
    assert (resampled(30, 50, 1) == resampled(30, 50, 1)).all()
    chance, hits = np.random.default_rng(0), 0
    for seed in range(200):
        times = chance.exponential(1.0, 60)
        drawn = np.median(times[resampled(60, 300, seed)], axis=-1)
        low, high = np.quantile(drawn[1:], (0.025, 0.975))
        hits += bool(low <= np.log(2) <= high)
    assert 0.90 <= hits / 200 <= 0.99


def test_paired_calls_give_a_narrow_interval_of_the_difference() -> None:
    """Calls differ in size, and the same sizes are drawn for both contenders."""
    sizes = np.random.default_rng(0).exponential(1.0, 200)
    places = resampled(200, 300, 0)
    one, other = (np.mean((pace * sizes)[places], axis=-1) for pace in (1.0, 1.05))
    assert np.std(one - other) < 0.2 * np.std(one)
    assert np.mean(one < other) == pytest.approx(1.0)
