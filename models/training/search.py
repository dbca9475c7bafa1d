"""A search for a run's learning rates, weight decay and epochs, by Trainer's own Optuna backend.

Minimises the log loss on the dev examples. Knows a run and its data; nothing of where they come from.
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
"""Rates are searched between the recipe's rate divided and multiplied by this; both parts' rates move together."""

DECAYS = (0.001, 0.3)
LENGTHS = (0.5, 1.0, 2.0)
"""Multiples of the recipe's epochs."""


@dataclass(frozen=True, slots=True)
class Searched:
    """The configuration with the best trial's parameters, and the parameters and log loss of each trial."""

    config: TrainConfig
    trials: list[tuple[dict[str, float], float]]


def search(run: Run, examples: Sequence[Example], dev: Sequence[Example], trials: int) -> Searched:
    """Run ``trials`` trials; the first one has the recipe's own parameters."""
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
    parameters = best.hyperparameters
    factor = parameters["learning_rate"] / peak
    chosen = replace(
        config,
        rate=rate * factor,
        head_rate=head_rate * factor,
        weight_decay=parameters["weight_decay"],
        epochs=parameters["num_train_epochs"],
    )
    return Searched(chosen, [(one.params, float(one.value)) for one in study.trials if one.value is not None])
