"""A search by Optuna: the recipe is its first trial, the best draw is what a run is then made with."""

import dataclasses

import pytest

from models.encoder import Encoder
from models.training.examples import Example
from models.training.method import Method
from models.training.methods import RECIPES
from models.training.run import Run
from models.training.search import LENGTHS, RATE_FACTOR, search
from tests.models.training.conftest import Configure


@pytest.mark.parametrize("method", ["head", "prefix"])
def test_the_best_of_several_draws_is_taken(
    method: Method, encoder: Encoder, examples: list[Example], configure: Configure
) -> None:
    config = configure(method=method, epochs=1, rate=None, head_rate=None)
    run = Run(encoder, config)
    found = search(run, examples, examples[:30], 3)
    assert len(found.trials) == 3 and run.config is config and not config.folder.exists()
    recipe = RECIPES[method]
    first, losses = found.trials[0][0], [loss for _, loss in found.trials]
    peak = recipe.rate or recipe.head_rate
    assert first == {"learning_rate": peak, "weight_decay": config.weight_decay, "num_train_epochs": 1}
    assert len(set(losses)) == 3, "each draw was trained with"
    best = found.trials[losses.index(min(losses))][0]
    factor = best["learning_rate"] / peak
    assert 1 / RATE_FACTOR <= factor <= RATE_FACTOR and best["num_train_epochs"] in LENGTHS
    chosen = dataclasses.replace(
        config,
        rate=pytest.approx(recipe.rate * factor),
        head_rate=pytest.approx(recipe.head_rate * factor),
        weight_decay=best["weight_decay"],
        epochs=best["num_train_epochs"],
    )
    assert found.config == chosen
    again = dataclasses.replace(found.config, evaluations=1)
    trained = Run(encoder, again).train(examples, examples[:30])
    assert trained.metrics["uncalibrated_log_loss"] == pytest.approx(
        min(losses), abs=0.03
    )  # dropout and prefix are drawn anew


def test_a_search_is_repeatable(encoder: Encoder, examples: list[Example], configure: Configure) -> None:
    found = [
        search(Run(encoder, configure(method="head", epochs=1)), examples[:40], examples[:20], 2) for _ in range(2)
    ]
    assert found[0].trials == found[1].trials
