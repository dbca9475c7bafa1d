"""A search for a run's rates, decay and length, by Trainer's own Optuna backend.

Knows a run and its data; nothing of where they come from. Its judge is the log loss on the dev examples.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers.trainer_utils import SaveStrategy

from models.training.config import TrainConfig
from models.training.examples import Example
from models.training.run import Run

RATE_FACTOR = 8.0
"""Rates are looked for between the recipe's divided and multiplied by this; both parts' move together."""

DECAYS = (0.001, 0.3)
LENGTHS = (0.5, 1.0, 2.0)
"""Of the recipe's epochs."""


@dataclass(frozen=True, slots=True)
class Searched:
    """The configuration with the best draw in it, and each trial's draw with the log loss that it reached."""

    config: TrainConfig
    trials: list[tuple[dict[str, float], float]]


def search(run: Run, examples: Sequence[Example], dev: Sequence[Example], trials: int) -> Searched:
    """Try ``trials`` draws, the recipe as it is the first of them."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    config, recipe = run.config, run.recipe
    rate = recipe.rate if config.rate is None else config.rate
    head_rate = recipe.head_rate if config.head_rate is None else config.head_rate
    epochs = config.epochs or recipe.epochs
    peak = rate or head_rate
    lengths = [share * epochs for share in LENGTHS]

    def space(trial: Any) -> dict[str, float]:
        return {
            "learning_rate": trial.suggest_float("learning_rate", peak / RATE_FACTOR, peak * RATE_FACTOR, log=True),
            "weight_decay": trial.suggest_float("weight_decay", *DECAYS, log=True),
            "num_train_epochs": trial.suggest_categorical("num_train_epochs", lengths),
        }

    names: dict[str, Any] = {"storage": optuna.storages.InMemoryStorage(), "study_name": "search"}
    study = optuna.create_study(direction="minimize", **names)
    study.enqueue_trial({"learning_rate": peak, "weight_decay": config.weight_decay, "num_train_epochs": epochs})
    data = run.prepare(examples, dev)
    with tempfile.TemporaryDirectory() as folder:
        run.config = replace(config, folder=Path(folder), resume=False, report_to=(), patience=0, evaluations=1)
        try:
            trainer = run.trainer(data, model_init=lambda _trial=None: run.start(data))
            trainer.args.save_strategy = SaveStrategy.NO
            best: Any = trainer.hyperparameter_search(
                hp_space=space,
                compute_objective=lambda metrics: metrics["eval_log_loss"],
                n_trials=trials,
                direction="minimize",
                backend="optuna",
                sampler=optuna.samplers.TPESampler(seed=config.seed),
                pruner=optuna.pruners.NopPruner(),
                load_if_exists=True,
                **names,
            )
        finally:
            run.config = config
    drawn = best.hyperparameters
    factor = drawn["learning_rate"] / peak
    chosen = replace(
        config,
        rate=rate * factor,
        head_rate=head_rate * factor,
        weight_decay=drawn["weight_decay"],
        epochs=drawn["num_train_epochs"],
    )
    return Searched(chosen, [(one.params, float(one.value)) for one in study.trials if one.value is not None])
