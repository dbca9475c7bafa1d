"""One training run: trains a scorer on examples with a method, and computes its figures.

Knows examples, models and transformers' Trainer; nothing of versions, stores or streams.
"""

import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from torch import nn
from transformers import EarlyStoppingCallback, PrinterCallback, TrainingArguments

from models.conventions import PLAIN
from models.encoded import fold
from models.encoder import Encoder, choose_device, choose_dtype
from models.late_interaction import HeadConfig, LateInteraction
from models.scorer import Floats
from models.training import calibration
from models.training.batches import (
    Collator,
    Context,
    FrozenItems,
    FrozenQueries,
    ItemTokenIds,
    PairCollator,
    QueryTokenIds,
    contexts,
)
from models.training.config import TrainConfig
from models.training.examples import Example
from models.training.figures import figures
from models.training.method import Method
from models.training.methods import RECIPES, adapt
from models.training.negatives import InBatch, Open
from models.training.query_encoder import PASSES, distil
from models.training.towers import CrossEncoderTower, LateInteractionTowers, classifier, fresh_bert, install
from models.training.trainer import ProgressCallback, RankBudget, ScorerTrainer, last_checkpoint
from models.weights import WeightsError

log = logging.getLogger(__name__)

Collate = Collator | PairCollator | InBatch

CROSS_TOKENS = 64
START_CONTEXTS = 500
"""Contexts on which the scale of the untrained probabilities is fitted."""

PAIRS = 256
"""Contexts in a batch for prediction."""


@dataclass(slots=True)
class Trained:
    """A trained scorer: its parts; logits and targets of the dev examples in one order; figures; seconds by stage.

    The ``calibration`` is fitted on all dev examples, and ``logits`` include it. Figures are of ``cross_fitted``: there
    each example is calibrated by a fit that has not seen it.
    """

    method: Method
    encoder: Encoder
    tower: nn.Module
    logits: Floats
    cross_fitted: Floats
    targets: Floats
    metrics: dict[str, float]
    seconds: dict[str, float]
    calibration: calibration.Calibration

    def save(self, folder: Path) -> None:
        """Write the parts that the method trained, as ``save_pretrained`` folders named ``head``, ``adapter``,
        ``query_encoder``, ``encoder`` or ``cross_encoder``, and what else its queries were encoded by."""
        tower: Any = self.tower
        if self.method == "cross_encoder":
            tower.bert.save_pretrained(folder / "cross_encoder")
            self.encoder.tokenizer.save_pretrained(folder / "cross_encoder")
            return
        tower.head.save(folder / "head")
        if self.method == "full":
            tower.bert.save_pretrained(folder / "encoder")
            self.encoder.tokenizer.save_pretrained(folder / "encoder")
        elif tower.bert is not None:
            tower.bert.save_pretrained(folder / "adapter")
        elif self.encoder.adapter is not None:
            shutil.copytree(self.encoder.adapter, folder / self.encoder.adapter.name)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run's data: contexts for training and evaluation, their collator, the batch's size, and optimiser steps."""

    train: list[Context]
    dev: list[Context]
    collator: Collate
    size: int
    steps: int


def trainable(encoder: Encoder, method: Method) -> bool:
    """Whether a method that trains an encoder's own weights can train this one: it reads texts without prefixes, and
    takes the mean of the token states as they are. A cross-encoder reads pairs of texts, so any BERT will do."""
    plain = replace(encoder.conventions, max_tokens=None) == PLAIN
    return encoder.config.model_type == "bert" and (plain or method == "cross_encoder")


class Run:
    """Trains one scorer.

    Parameters
    ----------
    encoder
        The frozen encoder that serves; full fine-tuning starts from its weights.
    config
        What to train and how.
    head
        The head to continue from, which is copied; by default a fresh one.
    items
        Items that are encoded already, so that runs on one catalogue encode it once; must include all texts.
    progress
        Called during training with the finished share of its steps.

    Raises
    ------
    models.weights.WeightsError
        When the method cannot train this encoder.
    """

    def __init__(
        self,
        encoder: Encoder,
        config: TrainConfig,
        *,
        head: LateInteraction | None = None,
        items: FrozenItems | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        self.encoder, self.config, self.items, self.progress = encoder, config, items, progress
        self.recipe = RECIPES[config.method]
        changes = self.recipe.trains_queries or config.method == "query_encoder"
        if changes and not trainable(encoder, config.method):
            raise WeightsError(
                f"the method {config.method} cannot train {encoder.weights}, a {encoder.config.model_type} model with "
                f"{encoder.conventions}: the method head can"
            )
        self.head = head or LateInteraction(HeadConfig(dim=encoder.dim, token_dim=encoder.token_dim))
        self.seconds: dict[str, float] = {}
        self._distilled: dict[str, float] = {}

    def train(self, examples: Sequence[Example], dev: Sequence[Example]) -> Trained:
        """Train on examples; evaluate during training, calibrate and measure on dev."""
        torch.manual_seed(self.config.seed)
        data = self.prepare(examples, dev)
        tower = self.start(data)
        trainer = self.trainer(data, model=tower)
        start, cpu = time.perf_counter(), time.process_time()
        trainer.train(resume_from_checkpoint=self._resume())
        self.seconds |= {"train": time.perf_counter() - start, "train_cpu": time.process_time() - cpu}
        return self._finish(trainer, tower, data.dev)

    def predict(self, dev: Sequence[Example]) -> Trained:
        """The scorer's predictions for examples before any training."""
        dev_set = contexts(dev, self.config.most_items)
        tower = self.tower()
        return self._finish(self._predicting(tower, self._collator(dev)), tower, dev_set)

    def logits(self, tower: nn.Module, examples: Sequence[Example]) -> tuple[Floats, Floats]:
        """A tower's logits [n, 4] of examples and their labels [n, 10], in the order of
        :func:`models.training.batches.contexts`."""
        trainer = self._predicting(tower, self._collator(examples))
        return _predict(trainer, contexts(examples, self.config.most_items))

    def prepare(self, examples: Sequence[Example], dev: Sequence[Example]) -> Prepared:
        """Encode what stays frozen."""
        config = self.config
        train_set, dev_set = contexts(examples, config.most_items), contexts(dev, config.most_items)
        size = config.contexts or self.recipe.contexts
        at_once = size * config.accumulation * PartialState(cpu=not torch.cuda.is_available()).num_processes
        steps = math.ceil(math.ceil(len(train_set) / at_once) * (config.epochs or self.recipe.epochs))
        if config.method == "query_encoder" and not self._distilled:
            self._distil(examples)
        start = time.perf_counter()
        own = self._collator([*examples, *dev])
        self.seconds["encode"] = time.perf_counter() - start
        if not config.negatives:
            return Prepared(train_set, dev_set, own, size, steps)
        train_set = [Open(one.number, one.examples) for one in train_set]
        return Prepared(train_set, dev_set, InBatch(own, config.negatives, examples), size, steps)

    def _distil(self, examples: Sequence[Example]) -> None:
        """Put a smaller encoder of queries in the place of the encoder's own."""
        folder, start = self.config.folder / "query_encoder", time.perf_counter()
        self.encoder, self._distilled = distil(
            self.encoder,
            (text for one in examples for text in (one.query, *one.asked) if text),
            (one.item for one in examples),
            folder,
            layers=self.config.layers,
            rate=self.recipe.rate if self.config.rate is None else self.config.rate,
            passes=PASSES if self.config.passes is None else self.config.passes,
            seed=self.config.seed,
            bf16=self.config.bf16,
            bar=self.config.progress,
            progress=self.progress,
        )
        self.seconds["distil"] = time.perf_counter() - start

    def start(self, data: Prepared) -> nn.Module:
        """The scorer that training starts from, calibrated to the data's own probabilities, so that training does not
        lose a good order to reach them."""
        tower = self.tower(data.steps)
        if isinstance(tower, LateInteractionTowers):
            if not tower.head.knows_rarity:
                texts = {example.item for one in data.train for example in one.examples}
                ids = self.encoder.token_ids(sorted(texts), self.encoder.max_item_tokens)
                tower.head.learn_rarity(fold(row[1:-1]) for row in ids)
            some = data.train[:: max(1, len(data.train) // START_CONTEXTS)]
            logits, labels = _predict(self._predicting(tower, data.collator), some)
            install(tower, calibration.fit(logits, labels[:, :4]))
        return tower

    def tower(self, steps: int = 1) -> nn.Module:
        """The untrained scorer, for training of so many steps."""
        losses = self.config.losses
        if self.config.method == "cross_encoder":
            return CrossEncoderTower(classifier(self.encoder.weights), losses)
        bert = (
            adapt(fresh_bert(self.encoder.weights), self.config.method, steps) if self.recipe.trains_queries else None
        )
        return LateInteractionTowers(deepcopy(self.head), bert, losses)

    def _predicting(self, tower: nn.Module, collator: Collate) -> ScorerTrainer:
        size = self.config.contexts or self.recipe.contexts
        return self.trainer(Prepared([], [], collator, size, 1), model=tower)

    def _collator(self, examples: Sequence[Example]) -> Collator | PairCollator:
        encoder = self.encoder
        if self.config.method == "cross_encoder":
            return PairCollator(encoder, CROSS_TOKENS)
        texts = {example.item for example in examples} | {text for example in examples for text in example.history}
        queries: Any = (
            QueryTokenIds(encoder)
            if self.recipe.trains_queries
            else FrozenQueries(encoder, (example.query for example in examples))
        )
        past = {text for example in examples for text in example.asked}
        asked = FrozenQueries(encoder, past) if past else None
        if self.recipe.trains_items:
            return Collator(queries, ItemTokenIds(encoder), asked)
        return Collator(queries, self.items or FrozenItems(encoder, texts, self.config.items_folder), asked)

    def trainer(self, data: Prepared, **kwargs: Any) -> ScorerTrainer:
        """A trainer of ``model``, or of the model that ``model_init`` makes."""
        config = self.config
        every = max(1, data.steps // config.evaluations)
        rates = (
            self.recipe.rate if config.rate is None else config.rate,
            self.recipe.head_rate if config.head_rate is None else config.head_rate,
        )
        on_cpu = not torch.cuda.is_available()
        native = choose_dtype("auto", choose_device("auto")) is torch.bfloat16
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(config.folder / "logs")
        arguments = TrainingArguments(
            output_dir=str(config.folder),
            num_train_epochs=config.epochs or self.recipe.epochs,
            per_device_train_batch_size=data.size,
            per_device_eval_batch_size=PAIRS if not self.recipe.trains_items else 4 * data.size,
            gradient_accumulation_steps=config.accumulation,
            learning_rate=rates[0] or rates[1],
            weight_decay=config.weight_decay,
            warmup_steps=config.warmup,
            lr_scheduler_type="linear",
            bf16=self.recipe.trains_queries and (native if config.bf16 is None else config.bf16),
            use_cpu=on_cpu,
            eval_strategy="steps",
            eval_steps=every,
            save_strategy="steps",
            save_steps=every,
            save_total_limit=2,
            load_best_model_at_end=config.patience > 0,
            metric_for_best_model="eval_loss",
            logging_steps=max(1, data.steps // 50),
            report_to=list(config.report_to),
            seed=config.seed,
            remove_unused_columns=False,
            label_names=["labels"],
            disable_tqdm=not config.progress,
            dataloader_pin_memory=not on_cpu,
        )
        callbacks: list[Any] = [EarlyStoppingCallback(config.patience)] if config.patience else []
        if config.method == "adalora":
            callbacks.append(RankBudget())
        if self.progress is not None:
            callbacks.append(ProgressCallback(self.progress))
        trainer = ScorerTrainer(
            rates=rates,
            l2_sp=config.l2_sp,
            args=arguments,
            data_collator=data.collator,
            train_dataset=data.train,
            eval_dataset=data.dev,
            compute_metrics=lambda prediction: figures(*_flat(prediction.predictions, prediction.label_ids)),
            callbacks=callbacks,
            **kwargs,
        )
        trainer.remove_callback(PrinterCallback)  # without a progress bar it prints all figures
        return trainer

    def _resume(self) -> str | None:
        found = last_checkpoint(self.config.folder) if self.config.resume else None
        if found is not None:
            log.warning("going on from %s", found)
        return None if found is None else str(found)

    def _finish(self, trainer: ScorerTrainer, tower: nn.Module, dev_set: list[Context]) -> Trained:
        tower.eval()
        logits, labels = _predict(trainer, dev_set)
        targets = labels[:, :4]
        fitted = calibration.fit(logits, targets)
        install(tower, fitted)
        unseen = calibration.cross_fitted(logits, targets, labels[:, 5].astype(np.int64))
        raw = figures(logits, labels)
        return Trained(
            method=self.config.method,
            encoder=self.encoder,
            tower=tower,
            logits=fitted(logits),
            cross_fitted=unseen,
            targets=targets,
            metrics=self._distilled
            | figures(unseen, labels)
            | {f"uncalibrated_{name}": raw[name] for name in ("log_loss", "rmse", "ece")},
            seconds=self.seconds,
            calibration=fitted,
        )


def _predict(trainer: ScorerTrainer, some: list[Context]) -> tuple[Floats, Floats]:
    logits, labels, _ = trainer.predict(some)  # type: ignore[arg-type]
    return _flat(logits, labels)


def _flat(logits: Any, labels: Any) -> tuple[Floats, Floats]:
    """The examples in [contexts, longest, …] without padding, [n, 4] and [n, 10]."""
    there = labels[..., 4] > 0
    return logits[there], labels[there]
