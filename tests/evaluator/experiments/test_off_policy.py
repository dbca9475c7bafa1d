"""Off-policy estimates: unbiased where they promise it, intervals that cover, and logs that cannot be refused."""

import numpy as np
import pytest

from evaluator.experiments.off_policy import Logs, dr, effective_size, estimate, ips, snips

RATES = np.array([0.02, 0.05, 0.1, 0.2])
LOGGING = np.array([0.4, 0.3, 0.2, 0.1])
TARGET = np.array([0.1, 0.1, 0.3, 0.5])
TRUTH = float(TARGET @ RATES)


def logs(count: int, seed: int, model: float = 1.0) -> Logs:
    """Actions by the logging policy; the reward model is off by a factor."""
    chance = np.random.default_rng(seed)
    action = chance.choice(4, size=count, p=LOGGING)
    reward = (chance.random(count) < RATES[action]).astype(float)
    predicted = model * RATES
    return Logs(reward, LOGGING[action], TARGET[action], predicted[action], np.full(count, float(TARGET @ predicted)))


@pytest.mark.parametrize("how", [ips, snips, dr])
def test_estimates_are_right_on_average(how: object) -> None:
    found = [how(logs(2_000, seed), np.inf) for seed in range(300)]  # type: ignore[operator]
    error = np.std(found) / np.sqrt(len(found))
    assert np.mean(found) == pytest.approx(TRUTH, abs=3 * error)


def test_doubly_robust_is_right_with_a_wrong_model_and_sharper_with_a_right_one() -> None:
    wrong, right, plain = (
        [how(logs(2_000, seed, model), np.inf) for seed in range(300)]
        for how, model in ((dr, 3.0), (dr, 1.0), (ips, 1.0))
    )
    assert np.mean(wrong) == pytest.approx(TRUTH, abs=3 * np.std(wrong) / np.sqrt(300))
    assert np.std(right) < np.std(plain)


@pytest.mark.parametrize("how", [ips, snips, dr])
def test_intervals_cover(how: object) -> None:
    covered = 0
    for seed in range(120):
        found = estimate(logs(1_500, seed), how, draws=300)  # type: ignore[arg-type]
        covered += found.low <= TRUTH <= found.high
        assert found.low <= found.value <= found.high
    assert covered / 120 > 0.89, "95 %, within three errors of 120 runs"


def test_clipping_trades_variance_for_bias_downwards() -> None:
    free, clipped = ([ips(logs(500, seed), clip) for seed in range(200)] for clip in (np.inf, 2.0))
    assert np.std(clipped) < np.std(free) and np.mean(clipped) < np.mean(free)
    some = logs(1_000, 0)
    assert effective_size(some) < effective_size(some, 2.0) <= 1_000


def test_the_same_policy_is_worth_what_it_earned() -> None:
    some = logs(3_000, 1)
    same = Logs(some.reward, some.propensity, some.propensity)
    assert ips(same) == snips(same) == pytest.approx(some.reward.mean()) and effective_size(same) == 3_000


@pytest.mark.parametrize(
    ("propensity", "target", "said"),
    [([0.0], [0.5], "above zero"), ([0.5], [1.5], "in 0..1"), ([0.5, 0.5], [0.5], "length")],
)
def test_logs_that_cannot_be_are_refused(propensity: list[float], target: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Logs(np.ones(1), np.array(propensity), np.array(target))


def test_without_a_model_there_is_no_doubly_robust() -> None:
    with pytest.raises(ValueError, match="reward model"):
        dr(Logs(np.ones(2), np.full(2, 0.5), np.full(2, 0.5)))
