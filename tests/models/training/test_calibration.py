import numpy as np
import pytest
import torch

from models.intents import INTENTS
from models.late_interaction import LateInteraction
from models.training import calibration
from models.training.figures import probabilities
from models.training.towers import CrossEncoderTower, LateInteractionTowers, classifier, install
from models.weights import PACKAGED

SCALE, BIAS = np.array([0.5, 2.0, 1.0, 1.5]), np.array([0.3, -0.4, 0.0, 0.1])


def simulated(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a model that is wrong by a scale and a bias an intent, and what came of it."""
    chance = np.random.default_rng(seed)
    truth = chance.normal(0, 1.5, (count, 4))
    intents = (truth + chance.gumbel(size=truth.shape)).argmax(1)
    return ((truth - BIAS) / SCALE).astype(np.float32), np.eye(4, dtype=np.float32)[intents]


def test_it_finds_what_was_wrong() -> None:
    logits, targets = simulated(40_000)
    found = calibration.fit(logits, targets)
    np.testing.assert_allclose(found.scale, SCALE, rtol=0.06)  # three standard errors at this size
    bias = np.array(found.bias) - np.mean(np.array(found.bias) - BIAS)  # a bias for all alike changes nothing
    np.testing.assert_allclose(bias, BIAS, atol=0.06)


def test_the_error_falls_on_examples_it_has_not_seen() -> None:
    (logits, targets), (fresh, outcomes) = simulated(20_000), simulated(20_000, seed=1)
    found = calibration.fit(logits, targets)

    def error(rows: np.ndarray) -> float:
        return float(np.mean([c.error for c in calibration.reliability(probabilities(rows), outcomes)]))

    assert error(found(fresh)) < 0.01 < error(fresh)


def test_a_calibration_flatters_itself_and_not_what_is_cross_fitted() -> None:
    def loss(logits: np.ndarray, targets: np.ndarray) -> float:
        return float(-np.log((probabilities(logits) * targets).sum(1)).mean())

    fresh, outcomes = simulated(20_000, seed=1_000)
    reported, unseen, flattering = [], [], []
    for seed in range(40):
        logits, targets = simulated(40, seed)
        found = calibration.fit(logits, targets)
        reported.append(loss(calibration.cross_fitted(logits, targets, np.arange(40) // 2), targets))
        unseen.append(loss(found(fresh), outcomes))
        flattering.append(loss(found(logits), targets))
    assert np.mean(flattering) + 0.05 < np.mean(unseen) < np.mean(reported)


@pytest.mark.parametrize("count", [1, 4, 16])
def test_from_few_examples_sizes_are_learned_and_the_order_stays(count: int) -> None:
    for seed in range(20):
        logits, targets = simulated(count, seed)
        found = calibration.fit(logits, targets)
        assert max(found.scale) < 1.35 * min(found.scale), "one intent against another"
        assert np.abs(np.log(found.scale)).max() < 1 and np.abs(found.bias).max() < 3.5


def test_curves_count_every_example_once() -> None:
    logits, targets = simulated(1_000)
    for curve, intent in zip(calibration.reliability(probabilities(logits), targets), INTENTS, strict=True):
        assert curve.intent == intent and sum(curve.counts) == 1_000
        assert 0 <= curve.error <= 1
        weighted = np.average(curve.observed, weights=curve.counts)
        assert weighted == pytest.approx(targets[:, INTENTS.index(intent)].mean())


def test_installed_it_is_what_the_head_computes() -> None:
    head = LateInteraction()
    features = torch.rand(50, len(head.config.features))
    for seed in (1, 2):  # the second on top of the first
        fitted = calibration.Calibration(tuple(SCALE * seed), tuple(BIAS))
        with torch.inference_mode():
            wanted = fitted(head.eval()(features).numpy())
        install(LateInteractionTowers(head, None, {}), fitted)
        with torch.inference_mode():
            np.testing.assert_allclose(head(features).numpy(), wanted, rtol=1e-5, atol=1e-5)


def test_installed_it_is_what_the_classifier_computes() -> None:
    tower = CrossEncoderTower(classifier(PACKAGED).eval(), {})
    texts = {"input_ids": torch.arange(101, 131).view(3, 10), "attention_mask": torch.ones(3, 10, dtype=torch.long)}
    for seed in (1, 2):
        fitted = calibration.Calibration(tuple(SCALE * seed), tuple(BIAS))
        with torch.inference_mode():
            wanted = fitted(tower._classify(dict(texts)).numpy())
        install(tower, fitted)
        with torch.inference_mode():
            np.testing.assert_allclose(tower._classify(dict(texts)).numpy(), wanted, rtol=1e-5, atol=1e-5)


def test_what_is_calibrated_already_stays() -> None:
    logits, targets = simulated(20_000)
    once = calibration.fit(logits, targets)
    again = calibration.fit(once(logits), targets)
    np.testing.assert_allclose(again.scale, 1, atol=0.02)  # the prior pulls again
    np.testing.assert_allclose(again.bias, 0, atol=0.02)
