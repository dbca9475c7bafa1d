"""Windows of values: a shopper counts once in each, however often they return, so that stable streams stay quiet."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import pytest

from evaluator.monitoring.detectors.calibration import CalibrationShift
from evaluator.monitoring.detectors.distribution import KolmogorovSmirnov, Psi
from evaluator.monitoring.detectors.domain import DomainClassifier
from evaluator.monitoring.detectors.window import WindowTest
from evaluator.monitoring.window_monitor import LEAST, LONGEST_MS, SPACING_MS, WindowMonitor

T = TypeVar("T")

EACH_MS = 15_000
APART_MS = 3_000_000


def visits(
    chance: np.random.Generator, count: int, each: int, active_now: int, width: int = 1
) -> Iterator[tuple[str, int, np.ndarray]]:
    """Values of shoppers who come ``each`` times, fifty minutes apart on average. Their means have a standard deviation
    of 1, their values one of 0.5 around it."""
    active, known = [(f"u{one}", chance.normal(size=width), each) for one in range(active_now)], active_now
    for number in range(count):
        place = int(chance.integers(active_now))
        shopper, mean, left = active[place]
        yield shopper, number * APART_MS // active_now, mean + chance.normal(0, 0.5, size=width)
        if left == 1:
            active[place], known = (f"u{known}", chance.normal(size=width), each), known + 1
        else:
            active[place] = shopper, mean, left - 1


def windows_of(
    test: WindowTest[T], stream: Iterator[tuple[str, int, np.ndarray]], made: Callable[[np.ndarray], T]
) -> tuple[int, int]:
    """How many windows were tested, and how many of them raised an alarm."""
    monitor, windows, alarms = WindowMonitor(test), 0, 0
    for shopper, ts, value in stream:
        before = test.windows
        monitor.update(shopper, ts, made(value))
        alarmed = monitor.drifted and test.windows == 0 and test.gathered == 0
        windows += test.windows > before or alarmed
        alarms += alarmed
        if alarmed:
            monitor._alarm = None  # a window that follows may alarm anew
    return windows, alarms


@pytest.mark.parametrize("each", [5, 10])
@pytest.mark.parametrize("make", [Psi, KolmogorovSmirnov])
def test_shoppers_who_return_are_no_drift_of_scores(make: type[WindowTest[float]], each: int) -> None:
    """0.07 false alarms at most are expected; four fifths of the variance are between shoppers."""
    windows, alarms = 0, 0
    for seed in range(5):
        stream = visits(np.random.default_rng(seed), 2_200 * each, each, active_now=50)
        found = windows_of(make(400, 0.001), stream, lambda one: one[0])
        windows, alarms = windows + found[0], alarms + found[1]
    assert windows >= 25 and alarms <= 1, f"{alarms} of {windows}"


def test_shoppers_who_return_are_no_drift_of_queries() -> None:
    windows, alarms = 0, 0
    for seed in range(2):
        stream = visits(np.random.default_rng(seed), 4_000, 5, active_now=30, width=16)
        found = windows_of(DomainClassifier(100, 0.005), stream, lambda one: ("lamp", one.astype(np.float32)))
        windows, alarms = windows + found[0], alarms + found[1]
    assert windows >= 10 and alarms <= 1, f"{alarms} of {windows}"


@pytest.mark.parametrize("make", [Psi, KolmogorovSmirnov])
def test_the_same_shoppers_in_the_reference_and_in_each_window_are_no_drift(make: type[WindowTest[float]]) -> None:
    """So shoppers of the reference need not be left out: a shopper in both makes the two more alike."""
    chance, alarms = np.random.default_rng(9), 0
    for _ in range(10):
        means, monitor = chance.normal(size=250), WindowMonitor(make(200, 0.05))
        for number in range(5_000):
            who = int(chance.integers(len(means)))
            monitor.update(f"u{who}", number * EACH_MS, float(means[who] + chance.normal(0, 0.5)))
        alarms += monitor.drifted
    assert alarms == 0


def test_a_change_of_the_same_shoppers_is_seen() -> None:
    chance = np.random.default_rng(10)
    means, monitor = chance.normal(size=250), WindowMonitor(Psi(200, 0.001))
    for number in range(4_000):
        who = int(chance.integers(len(means)))
        monitor.update(f"u{who}", number * EACH_MS, float(means[who] + (number > 2_000) + chance.normal(0, 0.5)))
    assert monitor.drifted


def test_with_few_shoppers_a_window_ends_after_a_day() -> None:
    chance, monitor = np.random.default_rng(11), WindowMonitor(Psi(1_000))
    for number in range(3 * LEAST):
        monitor.update(f"u{number % LEAST}", number, chance.normal())
    assert monitor.reference() is None and monitor.test.gathered == LEAST
    monitor.update("u0", LONGEST_MS, 0.0)
    learned = monitor.reference()
    assert learned is not None and len(learned[1]) == LEAST and monitor.test.gathered == 1
    for number in range(1, LEAST):
        monitor.update(f"u{number}", LONGEST_MS + number, chance.normal(5))
    assert not monitor.drifted
    monitor.update("u0", 2 * LONGEST_MS, 5.0)
    assert monitor.drifted


def test_fewer_shoppers_than_tell_anything_end_no_window() -> None:
    monitor = WindowMonitor(Psi(1_000))
    for day in range(10):
        for number in range(LEAST - 1):
            monitor.update(f"u{number}", day * LONGEST_MS + number, float(number))
    assert monitor.reference() is None and len(monitor._counted) == LEAST - 1


def test_shoppers_are_remembered_for_one_window() -> None:
    monitor = WindowMonitor(Psi(50))
    for number in range(1_020):
        monitor.update(f"u{number}", number, float(number))
        assert len(monitor._counted) < 50
    assert len(monitor._counted) == 20


def test_a_test_that_allows_for_dependence_takes_a_shopper_once_in_ten_minutes() -> None:
    monitor = WindowMonitor(CalibrationShift(50))
    for number in range(1_000):
        monitor.update("the same", number, (0.1, False, 1))
    assert monitor.test.gathered == 1
    for number in range(1, 50):
        monitor.update("the same", number * SPACING_MS, (0.1, False, 1))
    assert monitor.reference() is not None


def test_a_reference_goes_on_and_one_of_another_format_is_refused() -> None:
    monitor, again = WindowMonitor(Psi(50)), WindowMonitor(Psi(50))
    for number in range(50):
        monitor.update(f"u{number}", number, float(number))
    learned = monitor.reference()
    assert learned is not None
    again.restore(learned)
    assert again.reference() == learned
    for other in (learned[1], [1, learned[1]], learned[1][:2], [learned[0], []], [learned[0], [0.0] * 51]):
        with pytest.raises(ValueError, match="reference"):
            WindowMonitor(Psi(50)).restore(other)
