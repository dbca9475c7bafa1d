"""Shoppers who differ: how much clicks vary, and that evidence takes it into account."""

import json
import math

import numpy as np
import pytest

from evaluator.experiments.dispersion import GROUPS, Dispersion
from evaluator.experiments.experiment import Experiment
from evaluator.metrics.impression import AttributedImpression, JoinEvent

CLICKED = (JoinEvent(1, "click", "e"),)
SHOPPERS, EACH = 150, 60


def rates(chance: np.random.Generator, spread: float, count: int) -> np.ndarray:
    """Click rates of shoppers around 10 %, with this coefficient of variation."""
    return np.minimum(1, 0.1 * chance.gamma(1 / spread**2, spread**2, count))


@pytest.mark.parametrize("spread", [0.01, 1.0])
def test_the_multiple_is_that_of_clusters(spread: float) -> None:
    """For shoppers with as many impressions each it is 1 + (m - 1) rho (Kish); 20 runs of 63 degrees of freedom."""
    chance, found = np.random.default_rng(0), []
    for _ in range(20):
        dispersion = Dispersion()
        for shopper, rate in enumerate(rates(chance, spread, 1_000)):
            for clicked in (chance.random(20) < rate).tolist():
                dispersion.update(shopper, clicked)
        found.append(dispersion.get())
    variance = (0.1 * spread) ** 2
    expected = 1 + 19 * variance / (0.1 * 0.9)
    assert np.mean(found) == pytest.approx(expected, abs=0.08 * expected), "1.0 and 3.1, within three errors"


def test_equal_arms_of_unlike_shoppers_are_not_told_apart() -> None:
    """80 experiments, looked at twenty times each: without the dispersion far more err than may."""
    chance, errors, naive, runs = np.random.default_rng(1), 0, 0, 80
    for run in range(runs):
        experiment, own = Experiment({"a": 0.5, "b": 0.5}), rates(chance, 1.0, SHOPPERS)
        arms = chance.choice(["a", "b"], size=SHOPPERS).tolist()
        who = chance.integers(SHOPPERS, size=SHOPPERS * EACH).tolist()
        clicks = (chance.random(len(who)) < own[who]).tolist()
        erred = erred_naive = False
        for number, (shopper, clicked) in enumerate(zip(who, clicks, strict=True)):
            ts = 60_000 * (20 * number // len(who))
            closed = AttributedImpression(f"{run}.{shopper}", "i", "s", "feed", 0, ts, CLICKED if clicked else ())
            experiment.update(closed, arms[shopper])
            if number % (len(who) // 20) == 0:
                test = experiment.clicks["b"]
                erred |= test.get() >= 20
                test.dispersion, kept = 1.0, test.dispersion
                erred_naive |= test.get() >= 20
                test.dispersion = kept
        errors, naive = errors + erred, naive + erred_naive
    assert errors / runs <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / runs)
    assert naive / runs > 0.15


def test_few_shoppers_are_allowed_for() -> None:
    """Ten shoppers with as many impressions each: the estimate is right on average, its inverse only with caution."""
    chance, found = np.random.default_rng(2), []
    for _ in range(4_000):
        dispersion = Dispersion()
        dispersion._impressions = [500] * 10 + [0] * (GROUPS - 10)
        dispersion._clicks = [*chance.binomial(500, 0.1, 10).tolist(), *[0] * (GROUPS - 10)]
        found.append((dispersion.get(), 1 / dispersion.get(), 1 / dispersion.cautious()))
    plain, inverse, cautious = np.mean(found, axis=0)
    assert plain == pytest.approx(1, abs=0.03) and inverse > 1.2 and cautious == pytest.approx(1, abs=0.04)
    few = Dispersion()
    for number in range(300):
        few.update(number % 3, number % 9 == 0)
    assert few.cautious() > 1e6, "of three shoppers nothing is known"


def test_a_small_canary_in_short_blocks_is_not_told_apart() -> None:
    """100 experiments over three minutes in blocks of 3 s: of 300 shoppers about 15 are the canary's."""
    chance, errors, runs, length = np.random.default_rng(3), 0, 100, 180_000
    for run in range(runs):
        experiment = Experiment({"champion": 0.95, "canary": 0.05}, block_ms=3_000)
        own, arms = rates(chance, 1.0, 300), np.where(chance.random(300) < 0.05, "canary", "champion").tolist()
        who = chance.choice(300, size=9_000, p=chance.dirichlet(np.ones(300))).tolist()
        clicks, erred = (chance.random(len(who)) < own[who]).tolist(), False
        for number, (shopper, clicked) in enumerate(zip(who, clicks, strict=True)):
            ts = length * number // len(who)
            experiment.update(
                AttributedImpression(f"{run}.{shopper}", "i", "s", "feed", 0, ts, CLICKED if clicked else ()),
                arms[shopper],
            )
            erred |= number % 150 == 0 and experiment.clicks["canary"].get() >= 20
        errors += erred
    assert errors / runs <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / runs)


def test_nothing_known_is_one_and_what_is_saved_goes_on() -> None:
    dispersion = Dispersion()
    assert dispersion.get() == 1
    dispersion.update(3, False)
    assert dispersion.get() == 1
    for shopper in range(500):
        dispersion.update(shopper, shopper % 7 == 0)
    other = Dispersion.load(json.loads(json.dumps(dispersion.save())))
    assert other.get() == dispersion.get() != 1
    with pytest.raises(ValueError, match=f"{GROUPS} are in use"):
        Dispersion.load({"impressions": [1], "clicks": [0]})
