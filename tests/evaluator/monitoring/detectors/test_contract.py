"""What every detector keeps: the same stream gives the same readings, pickled or not, and stable streams stay quiet."""

import math
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from benchmarks.river_detectors import Adwin, PageHinkley
from evaluator.monitoring.detectors.calibration import CalibrationShift
from evaluator.monitoring.detectors.detector import Detector
from evaluator.monitoring.detectors.distribution import KolmogorovSmirnov, Psi
from evaluator.monitoring.detectors.domain import DomainClassifier
from evaluator.monitoring.detectors.holdback import BelowHoldback
from evaluator.monitoring.detectors.shiryaev_roberts import ShiryaevRoberts

Chance = np.random.Generator


@dataclass(frozen=True)
class Case:
    """A detector, a stable stream for it and a drifted one; one false alarm in so many values may come."""

    make: Callable[[], Detector[Any]]
    stable: Callable[[Chance], Any]
    drifted: Callable[[Chance], Any]
    run_length: float
    values: int = 6_000


def clicks(rate: float) -> Callable[[Chance], bool]:
    return lambda chance: bool(chance.random() < rate)


def scores(mean: float) -> Callable[[Chance], float]:
    return lambda chance: float(chance.normal(mean))


def predicted(factor: float) -> Callable[[Chance], tuple[float, bool, int]]:
    def draw(chance: Chance) -> tuple[float, bool, int]:
        p = float(chance.uniform(0.02, 0.3))
        return p, bool(chance.random() < factor * p), int(chance.integers(1 << 32))

    return draw


def texts(mean: float) -> Callable[[Chance], tuple[str, np.ndarray]]:
    return lambda chance: ("lamp", chance.normal(mean, size=12).astype(np.float32))


def blocks(ratio: float) -> Callable[[Chance], tuple[int, int, int, int]]:
    def draw(chance: Chance) -> tuple[int, int, int, int]:
        shown, others, rate = int(chance.integers(20, 200)), int(chance.integers(200, 900)), chance.uniform(0.02, 0.1)
        return shown, int(chance.binomial(shown, ratio * rate)), others, int(chance.binomial(others, rate))

    return draw


CASES = {
    "shiryaev_roberts": Case(lambda: ShiryaevRoberts(0.05, 20_000), clicks(0.05), clicks(0.02), 20_000),
    "shiryaev_roberts, rise": Case(
        lambda: ShiryaevRoberts(0.02, 20_000, shifts=(1.5, 3.0)), clicks(0.02), clicks(0.05), 20_000
    ),
    "below_holdback": Case(lambda: BelowHoldback(20_000), blocks(1.0), blocks(0.5), 20_000, values=2_000),
    "adwin": Case(Adwin, clicks(0.05), clicks(0.3), 20_000),
    "page_hinkley": Case(PageHinkley, clicks(0.05), clicks(0.01), 20_000),
    "psi": Case(lambda: Psi(300, 0.02), scores(0), scores(0.6), 300 / 0.02),
    "kolmogorov_smirnov": Case(lambda: KolmogorovSmirnov(300, 0.02), scores(0), scores(0.6), 300 / 0.02),
    "calibration": Case(lambda: CalibrationShift(1_000, 0.02), predicted(1), predicted(0.3), 1_000 / 0.02),
    "domain": Case(lambda: DomainClassifier(60, 0.02), texts(0), texts(0.6), 60 / 0.02, values=900),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = CASES[request.param]
    return found


def stream(draw: Callable[[Chance], Any], count: int, seed: int) -> Iterator[Any]:
    chance = np.random.default_rng(seed)
    return (draw(chance) for _ in range(count))


def test_the_same_stream_gives_the_same_readings_pickled_or_not(case: Case) -> None:
    one, other = case.make(), case.make()
    half = case.values // 2
    for number, value in enumerate(stream(case.stable, case.values, 1)):
        if number == half:
            other = pickle.loads(pickle.dumps(other))
        one.update(value)
        other.update(value)
    assert one.get() == other.get() == one.get(), "and reading changes nothing"


def test_a_change_raises_an_alarm_that_stays_until_reset(case: Case) -> None:
    detector = case.make()
    for value in stream(case.stable, case.values // 2, 2):
        detector.update(value)
    assert not detector.get().drifted
    for value in stream(case.drifted, case.values, 3):
        detector.update(value)
    reading = detector.get()
    assert reading.drifted and reading.evidence
    for value in stream(case.stable, case.values // 6, 4):
        detector.update(value)
    assert detector.get().drifted, "an alarm stays"
    detector.reset()
    assert not detector.get().drifted
    for value in stream(case.stable, case.values // 6, 5):
        detector.update(value)
    assert not detector.get().drifted


def test_stable_streams_raise_no_more_false_alarms_than_stated(case: Case) -> None:
    """Over some expected false alarms' worth of values, at most what a Poisson count of that mean exceeds once in a
    thousand."""
    values, alarms, detector = (
        int(6 * case.run_length) if case.values > 1_000 else int(4 * case.run_length),
        0,
        case.make(),
    )
    for value in stream(case.stable, values, 6):
        detector.update(value)
        if detector.get().drifted:
            alarms += 1
            detector.reset()
    expected = values / case.run_length
    assert alarms <= expected + 3.1 * math.sqrt(expected) + 1, f"{alarms} where {expected:g} may be"
