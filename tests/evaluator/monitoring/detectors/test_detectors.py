"""What single detectors promise: run length, uniform p-values, and evidence that names what changed."""

import json
import lzma
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from evaluator.monitoring.detectors.calibration import CalibrationShift, Predicted
from evaluator.monitoring.detectors.distribution import KolmogorovSmirnov, Psi
from evaluator.monitoring.detectors.domain import DomainClassifier, changed
from evaluator.monitoring.detectors.holdback import BelowHoldback
from evaluator.monitoring.detectors.shiryaev_roberts import ShiryaevRoberts, reference
from evaluator.monitoring.detectors.window import WindowTest
from models.encoder import Encoder


def run_length(detector: ShiryaevRoberts, rate: float, chance: np.random.Generator, most: int) -> int:
    """Outcomes until a false alarm, or ``most``."""
    for number, clicked in enumerate((chance.random(most) < rate).tolist()):
        detector.update(clicked)
        if detector.drifted:
            return number + 1
    return most


def error(values: list[int]) -> float:
    """Standard error of their mean."""
    return float(np.std(values) / np.sqrt(len(values)))


@pytest.mark.parametrize("shifts", [(0.8, 0.6), (0.8,), (1.25, 1.5)])
def test_the_mean_time_to_a_false_alarm_is_the_promised(shifts: tuple[float, ...]) -> None:
    """1,000 runs at the reference itself, where the bound is tight: the sum at the alarm is just above the limit."""
    chance, promised = np.random.default_rng(0), 1_000
    lengths = [run_length(ShiryaevRoberts(0.1, promised, shifts), 0.1, chance, 20 * promised) for _ in range(1_000)]
    assert promised - 2 * error(lengths) < np.mean(lengths) < 1.1 * promised + 2 * error(lengths)


def test_it_is_longer_for_any_rate_on_the_right_side_and_for_a_learned_reference() -> None:
    chance, promised = np.random.default_rng(1), 1_000
    better = [run_length(ShiryaevRoberts(0.1, promised), 0.11, chance, 20 * promised) for _ in range(200)]
    assert np.mean(better) > 1.2 * promised
    learned = []
    for count in chance.binomial(20_000, 0.1, size=200).tolist():
        learned.append(run_length(ShiryaevRoberts(reference(count, 20_000), promised), 0.1, chance, 20 * promised))
    assert np.mean(learned) > 1.2 * promised, "a lower bound lies below the rate, but for one in a thousand"


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


def test_shoppers_who_differ_raise_no_more_false_alarms_if_the_dispersion_is_known() -> None:
    """Twelve impressions a shopper, whose rates vary by their own mean, 10 %: a dispersion of 1 + 11 / 9."""
    chance, promised, values = np.random.default_rng(2), 2_000, 600_000
    rates = np.minimum(1, 0.1 * chance.gamma(1, 1, values // 12))
    stream = (chance.random((len(rates), 12)) < rates[:, None]).ravel().tolist()
    alarms = []
    for dispersion in (1.0, 1 + 11 / 9):
        detector, count = ShiryaevRoberts(rates.mean(), promised, dispersion=dispersion), 0
        for clicked in stream:
            detector.update(clicked)
            if detector.drifted:
                count += 1
                detector.reset()
        alarms.append(count)
    expected = values / promised
    assert alarms[1] <= expected + 2 * math.sqrt(expected) and alarms[0] > 1.5 * expected


def test_state_goes_on_stays_finite_and_another_ones_is_refused() -> None:
    one, other = ShiryaevRoberts(0.05), ShiryaevRoberts(0.05)
    for place in range(100_000):
        one.update(place % 20 == 0 and place < 3_000)
        if place == 2_500:
            other.load(json.loads(json.dumps(one.save())))
        elif place > 2_500:
            other.update(place % 20 == 0 and place < 3_000)
    assert other.get() == one.get() and other.save() == one.save()
    assert math.isfinite(one.get().statistic) and one.get().evidence["outcomes since"] == 100_000 - 2_981
    with pytest.raises(ValueError, match="detector of 1 shifts"):
        ShiryaevRoberts(0.05, shifts=(0.8,)).load(one.save())


@pytest.mark.parametrize(("rate", "shifts"), [(0, (0.8,)), (1, (0.8,)), (0.1, ()), (0.1, (0.5, 2)), (0.5, (2.5,))])
def test_references_and_shifts_that_make_no_sense_are_refused(rate: float, shifts: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="reference"):
        ShiryaevRoberts(rate, shifts=shifts)
    with pytest.raises(ValueError, match="dispersion"):
        ShiryaevRoberts(0.1, dispersion=0.5)


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
        DomainClassifier(40, 0.005), lambda chance: ("lamp", chance.normal(size=24).astype(np.float32)), 120, 3
    )
    assert stats.kstest(found, "uniform").pvalue > 0.01


@pytest.mark.data
def test_p_values_are_uniform_for_real_queries_and_small_for_real_change(data_folder: Path) -> None:
    """Home Depot's queries, the packaged encoder. Windows drawn from one pool: given the pool their order is chance
    alone, so p-values are independent and uniform."""
    with lzma.open(data_folder / "homedepot" / "dev.jsonl.xz", "rt", encoding="utf-8") as lines:
        queries = list(dict.fromkeys(json.loads(line)["query"] for line in lines))[:400]
    encoded = Encoder().encode_queries(queries)
    pool = [(query, one.pooled) for query, one in zip(queries, encoded, strict=True)]
    chance, found = np.random.default_rng(4), []
    for _ in range(100):
        detector = DomainClassifier(40)
        for place in chance.permutation(len(pool))[:80]:
            detector.update(pool[place])
        found.append(detector.get().statistic)
    assert stats.kstest(found, "uniform").pvalue > 0.01
    changed_to = sorted(pool, key=lambda one: "door" in one[0] or "light" in one[0], reverse=True)
    detector = DomainClassifier(40)
    for one in (*changed_to[-40:], *changed_to[:40]):
        detector.update(one)
    reading = detector.get()
    assert reading.drifted and float(reading.evidence["auc"]) > 0.8


@pytest.mark.parametrize(
    ("make", "draw"),
    [
        (Psi(500, 0.01), lambda chance: float(chance.normal())),
        (KolmogorovSmirnov(500, 0.01), lambda chance: float(chance.normal())),
        (
            CalibrationShift(2_000, 0.01),
            lambda chance: (
                p := float(chance.uniform(0.05, 0.3)),
                bool(chance.random() < p),
                int(chance.integers(9_999)),
            ),
        ),
    ],
)
def test_p_values_of_the_others_are_no_smaller_than_uniform(make: WindowTest[object], draw: object) -> None:
    found = np.array(p_values(make, draw, 120, 4))
    for level in (0.01, 0.05, 0.2):
        assert (found < level).mean() <= level + 3 * np.sqrt(level * (1 - level) / len(found)), level


def dealt(chance: np.random.Generator, size: int, factor: float, shoppers: int, unlike: float) -> list[Predicted]:
    """Predictions around 5 % that are off by a factor, for shoppers who differ from it by their own share."""
    moods = chance.gamma(1 / unlike**2, unlike**2, shoppers) if unlike else np.ones(shoppers)
    who, p = chance.integers(shoppers, size=size), chance.lognormal(math.log(0.05), 0.8, size).clip(0, 0.3)
    came = chance.random(size) < factor * p * moods[who]
    return list(zip(p.tolist(), came.tolist(), (who + chance.integers(1 << 32)).tolist(), strict=True))


def calibration_alarms(runs: int, factor: float, then: float, *, shoppers: int = 5_000, unlike: float = 0.0) -> int:
    """In how many runs a window of 2,000 differs at 1 in 100 from its reference, whose predictions were off by
    ``factor``; now they are by ``then``. Both windows' shoppers are others."""
    chance, found = np.random.default_rng(5), 0
    for _ in range(runs):
        detector = CalibrationShift(2_000, 0.01)
        for off in (factor, then):
            for one in dealt(chance, detector.size, off, shoppers, unlike):
                detector.update(one)
        found += detector.drifted
    return found


@pytest.mark.parametrize("factor", [0.3, 1.0, 2.5, 3.0])
def test_predictions_off_by_as_much_as_before_are_no_shift(factor: float) -> None:
    """The count of false alarms that one in 100 may exceed once in a thousand times; a shift is seen all the same."""
    runs = 200
    assert calibration_alarms(runs, factor, factor) <= stats.poisson.ppf(0.999, runs / 100)
    assert calibration_alarms(20, factor, 2 * factor) >= (8 if factor < 0.5 else 18)
    assert factor < 1 or calibration_alarms(20, factor, factor / 2) >= 10


def test_shoppers_who_differ_are_no_shift_of_the_calibration() -> None:
    """Windows of 40 shoppers with rates that vary by their own mean: half of them alarm if all values are taken for
    independent."""
    runs = 60
    assert calibration_alarms(runs, 1.0, 1.0, shoppers=40, unlike=1.0) <= stats.poisson.ppf(0.999, runs / 100)


def test_windows_without_outcomes_are_no_shift() -> None:
    detector = CalibrationShift(50)
    for number in range(100):
        detector.update((0.01, False, number))
    assert detector.get().statistic == 1.0 and not detector.drifted


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


def test_below_holdback_keeps_its_run_length_while_rates_and_shares_drift() -> None:
    """Mean time to a false alarm in 300 runs of at most 4,000 blocks; promised are 400 at least."""
    times = []
    for seed in range(300):
        chance, detector = np.random.default_rng(seed), BelowHoldback(400)
        for block in range(4_000):
            rate, share = 0.05 + 0.03 * math.sin(block / 50), 0.1 + 0.4 * (block % 500) / 500
            shown = int(200 * share)
            others = 200 - shown
            detector.update((shown, int(chance.binomial(shown, rate)), others, int(chance.binomial(others, rate))))
            if detector.drifted:
                break
        times.append(block + 1)
    error = np.std(times) / math.sqrt(len(times))
    assert np.mean(times) + 2 * error > 400, "within the error of 300 runs"
    assert np.mean(times) < 1_200, "and it is no detector that never alarms"


def test_below_holdback_refuses_what_it_cannot_use() -> None:
    with pytest.raises(ValueError, match="within 0 and 1"):
        BelowHoldback(shifts=(1.2,))
    with pytest.raises(ValueError, match="no state"):
        BelowHoldback().load([1.0])
    detector = BelowHoldback()
    detector.update((0, 0, 10, 3))
    again = BelowHoldback()
    again.load(detector.save())
    assert again.get() == detector.get(), "a minute without both arms says nothing"
