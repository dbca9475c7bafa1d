"""What single detectors promise: run length, uniform p-values, and evidence that names what changed."""

import numpy as np
import pytest
from scipy import stats

from evaluator.drift.calibration import CalibrationShift
from evaluator.drift.domain import DomainClassifier, changed
from evaluator.drift.kolmogorov_smirnov import KolmogorovSmirnov
from evaluator.drift.psi import Psi
from evaluator.drift.shiryaev_roberts import ShiryaevRoberts, reference
from evaluator.drift.window import WindowTest


def test_the_mean_time_to_a_false_alarm_is_at_least_the_promised() -> None:
    """300 runs at the reference itself, the hardest rate on its right side; the bound is on the mean."""
    chance, promised, lengths = np.random.default_rng(0), 1_000, []
    for _ in range(300):
        detector, length = ShiryaevRoberts(0.1, promised), 0
        while not detector.get().drifted and length < 20 * promised:
            detector.update(bool(chance.random() < 0.1))
            length += 1
        lengths.append(length)
    error = np.std(lengths) / np.sqrt(len(lengths))
    assert np.mean(lengths) > promised + 2 * error, "it is a bound, not the mean itself"


def test_evidence_says_since_when_and_how_far_the_rate_fell() -> None:
    chance, detector = np.random.default_rng(1), ShiryaevRoberts(0.05)
    for _ in range(10_000):
        detector.update(bool(chance.random() < 0.05))
    assert not detector.get().drifted
    after = 0
    while not detector.get().drifted:
        detector.update(bool(chance.random() < 0.03))
        after += 1
    evidence = detector.get().evidence
    assert after < 2_500
    assert abs(float(evidence["outcomes since"]) - after) < 1_000
    assert float(evidence["low"]) < 0.03 < float(evidence["high"]) < 0.05


@pytest.mark.parametrize(("rate", "shifts"), [(0, (0.8,)), (1, (0.8,)), (0.1, ()), (0.1, (0.5, 2)), (0.5, (2.5,))])
def test_references_and_shifts_that_make_no_sense_are_refused(rate: float, shifts: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="reference"):
        ShiryaevRoberts(rate, shifts=shifts)


def test_a_reference_is_on_the_safe_side_of_the_true_rate() -> None:
    chance = np.random.default_rng(2)
    counts = chance.binomial(5_000, 0.05, size=5_000)
    below = np.mean([reference(int(count), 5_000) > 0.05 for count in counts])
    above = np.mean([reference(int(count), 5_000, above=True) < 0.05 for count in counts])
    assert below < 0.003 and above < 0.003, "one in a thousand each, within the error of 5,000 draws"


def p_values(make: WindowTest[object], draw: object, windows: int, seed: int) -> list[float]:
    """Of independent pairs of windows."""
    found, chance = [], np.random.default_rng(seed)
    for _ in range(windows):
        detector = type(make)(make.size, make.significance)
        for _ in range(2 * make.size):
            detector.update(draw(chance))  # type: ignore[operator]
        found.append(detector.get().statistic)
    return found


def test_p_values_of_input_drift_are_uniform_where_nothing_changed() -> None:
    found = p_values(
        DomainClassifier(40, 0.005), lambda chance: ("lamp", chance.normal(size=24).astype(np.float32)), 250, 3
    )
    assert stats.kstest(found, "uniform").pvalue > 0.01


@pytest.mark.parametrize(
    ("make", "draw"),
    [
        (Psi(500, 0.01), lambda chance: float(chance.normal())),
        (KolmogorovSmirnov(500, 0.01), lambda chance: float(chance.normal())),
        (
            CalibrationShift(2_000, 0.01),
            lambda chance: (p := float(chance.uniform(0.05, 0.3)), bool(chance.random() < p)),
        ),
    ],
)
def test_p_values_of_the_others_are_no_smaller_than_uniform(make: WindowTest[object], draw: object) -> None:
    found = np.array(p_values(make, draw, 120, 4))
    for level in (0.01, 0.05, 0.2):
        assert (found < level).mean() <= level + 3 * np.sqrt(level * (1 - level) / len(found)), level


def test_words_that_changed_are_named() -> None:
    before = ["red lamp", "desk lamp", "led lamp", "oak desk"] * 50
    now = ["red lamp", "winter parka", "parka men", "oak desk"] * 50
    more, less = changed(before, now)
    assert more[0] == "parka" and set(more) == {"parka", "winter", "men"} and less[0] == "lamp"


def test_too_fine_a_significance_is_refused() -> None:
    with pytest.raises(ValueError, match="permutations"):
        DomainClassifier(100, 1e-5)
    with pytest.raises(ValueError, match="tests nothing"):
        Psi(1)
