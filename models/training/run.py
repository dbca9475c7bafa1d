"""One training run: from examples and a method to a trained scorer with its figures.

Knows examples, models and transformers' Trainer; nothing of versions, stores or streams.
"""

import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers import EarlyStoppingCallback, PrinterCallback, TrainingArguments

from models import cpu
from models.encoder import Encoder
from models.late_interaction import HeadConfig, LateInteraction
from models.scorer import INTENTS, Floats
from models.training import calibration, measures
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
from models.training.examples import Example, expected_level
from models.training.methods import RECIPES, Method, adapt
from models.training.negatives import InBatch, Open
from models.training.towers import CrossEncoderTower, LateInteractionTowers
from models.training.trainer import RankBudget, ScorerTrainer, last_checkpoint
from models.weights import quiet, resolve

log = logging.getLogger(__name__)

DEFAULT_LOSSES = {"cross_entropy": 1.0, "graded": 4.0}

Collate = Collator | PairCollator | InBatch

CROSS_TOKENS = 64
FIRST_LOOK = 500
"""Contexts that the scale of the untrained probabilities is fitted on."""

PAIRS = 256
"""Contexts in a batch that only predicts."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """What to train and how; what is None comes from the method's recipe.

    ``losses`` are weights by name. ``patience`` counts evaluations on the dev examples without improvement before it
    stops, 0 never stops early. ``contexts`` is the batch's size in queries, of at most ``most_items`` items each;
    ``accumulation`` batches make a step. ``report_to`` names trackers as transformers does. ``folder`` takes
    checkpoints and logs; with ``resume`` a run goes on from the last one there. ``items_folder`` keeps encoded items.
    ``negatives`` are what a context is filled up to with other contexts' items of its batch.
    """

    method: Method = "head"
    losses: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_LOSSES))
    epochs: float | None = None
    rate: float | None = None
    head_rate: float | None = None
    contexts: int | None = None
    most_items: int = 16
    accumulation: int = 1
    patience: int = 0
    evaluations: int = 4
    negatives: int = 0
    weight_decay: float = 0.05
    warmup: float = 0.1
    l2_sp: float = 0.0
    bf16: bool | None = None
    seed: int = 0
    folder: Path = Path(".liveshelf/training")
    items_folder: Path | None = None
    resume: bool = False
    report_to: tuple[str, ...] = ("tensorboard",)
    progress: bool = True


@dataclass(slots=True)
class Trained:
    """A trained scorer: its parts, calibrated logits and targets of the dev examples in one order, figures and seconds
    by stage."""

    method: Method
    encoder: Encoder
    tower: nn.Module
    logits: Floats
    targets: Floats
    metrics: dict[str, float]
    seconds: dict[str, float]
    calibration: calibration.Calibration

    def save(self, folder: Path) -> None:
        """Write what the method trained, as ``save_pretrained`` folders named ``head``, ``adapter``, ``encoder`` or
        ``cross_encoder``."""
        tower: Any = self.tower
        if self.method == "cross_encoder":
            tower.bert.save_pretrained(folder / "cross_encoder")
            self.encoder.tokenizer.save_pretrained(folder / "cross_encoder")
            return
        tower.head.save(folder / "head")
        if self.method == "full":
            tower.bert.save_pretrained(folder / "encoder")
            self.encoder.tokenizer.save_pretrained(folder / "encoder")
        elif self.method != "head":
            tower.bert.save_pretrained(folder / "adapter")


class Run:
    """Trains one scorer.

    Parameters
    ----------
    encoder
        The frozen encoder that serves; full fine-tuning starts from its weights.
    config
        What to train and how.
    head
        The head to go on from; by default a fresh one.
    items
        Items stored before, so that runs on one catalogue encode it once; must hold all texts.
    """

    def __init__(
        self,
        encoder: Encoder,
        config: TrainConfig,
        *,
        head: LateInteraction | None = None,
        items: FrozenItems | None = None,
    ) -> None:
        self.encoder, self.config, self.items = encoder, config, items
        self.recipe = RECIPES[config.method]
        self.head = head or LateInteraction(HeadConfig(dim=encoder.dim, token_dim=encoder.token_dim))
        self.seconds: dict[str, float] = {}

    def train(self, examples: Sequence[Example], dev: Sequence[Example]) -> Trained:
        """Train on examples, watch and calibrate on dev."""
        config = self.config
        torch.manual_seed(config.seed)
        train_set, dev_set = contexts(examples, config.most_items), contexts(dev, config.most_items)
        size = config.contexts or self.recipe.contexts
        steps = math.ceil(len(train_set) / size / config.accumulation) * (config.epochs or self.recipe.epochs)
        start = time.perf_counter()
        own = self._collator([*examples, *dev])
        collator: Collate = own
        self.seconds["encode"] = time.perf_counter() - start
        if config.negatives:
            train_set = [Open(one.number, one.examples) for one in train_set]
            collator = InBatch(own, config.negatives, examples)
        tower = self._tower(math.ceil(steps))
        if isinstance(tower, LateInteractionTowers):
            # From probabilities of the right size on, so that training need not unlearn a good order to reach them.
            some = train_set[:: max(1, len(train_set) // FIRST_LOOK)]
            logits, labels = _predict(self._predicting(tower, collator), some)
            install(tower, calibration.fit(logits, labels[:, :4]))
        trainer = self._trainer(tower, collator, train_set, dev_set, size, math.ceil(steps))
        start = time.perf_counter()
        trainer.train(resume_from_checkpoint=self._resume())
        self.seconds["train"] = time.perf_counter() - start
        return self._finish(trainer, tower, dev_set)

    def predict(self, dev: Sequence[Example]) -> Trained:
        """What the scorer says of examples before any training."""
        dev_set = contexts(dev, self.config.most_items)
        tower = self._tower(1)
        return self._finish(self._predicting(tower, self._collator(dev)), tower, dev_set)

    def logits(self, tower: nn.Module, examples: Sequence[Example]) -> tuple[Floats, Floats]:
        """A tower's logits [n, 4] of examples and their labels [n, 10], in the order of
        :func:`models.training.batches.contexts`."""
        trainer = self._predicting(tower, self._collator(examples))
        return _predict(trainer, contexts(examples, self.config.most_items))

    def _predicting(self, tower: nn.Module, collator: Collate) -> ScorerTrainer:
        return self._trainer(tower, collator, [], [], self.config.contexts or self.recipe.contexts, 1)

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
        if self.recipe.trains_items:
            return Collator(queries, ItemTokenIds(encoder))
        return Collator(queries, self.items or FrozenItems(encoder, texts, self.config.items_folder))

    def _tower(self, steps: int) -> nn.Module:
        losses = self.config.losses
        if self.config.method == "cross_encoder":
            return CrossEncoderTower(classifier(self.encoder.weights), losses)
        bert = (
            adapt(fresh_bert(self.encoder.weights), self.config.method, steps) if self.recipe.trains_queries else None
        )
        return LateInteractionTowers(self.head, bert, losses)

    def _trainer(
        self,
        tower: nn.Module,
        collator: Collate,
        train_set: list[Context],
        dev_set: list[Context],
        size: int,
        steps: int,
    ) -> ScorerTrainer:
        config = self.config
        every = max(1, steps // config.evaluations)
        rates = (
            self.recipe.rate if config.rate is None else config.rate,
            self.recipe.head_rate if config.head_rate is None else config.head_rate,
        )
        on_cpu = not torch.cuda.is_available()
        native = "bfloat16" in cpu.features() if on_cpu else torch.cuda.is_bf16_supported()
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(config.folder / "logs")
        arguments = TrainingArguments(
            output_dir=str(config.folder),
            num_train_epochs=config.epochs or self.recipe.epochs,
            per_device_train_batch_size=size,
            per_device_eval_batch_size=PAIRS if not self.recipe.trains_items else 4 * size,
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
            logging_steps=max(1, steps // 50),
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
        trainer = ScorerTrainer(
            rates=rates,
            l2_sp=config.l2_sp,
            model=tower,
            args=arguments,
            data_collator=collator,
            train_dataset=train_set,
            eval_dataset=dev_set,
            compute_metrics=lambda prediction: figures(*_flat(prediction.predictions, prediction.label_ids)),
            callbacks=callbacks,
        )
        trainer.remove_callback(PrinterCallback)  # without a bar it prints every figure
        return trainer

    def _resume(self) -> str | None:
        found = last_checkpoint(self.config.folder) if self.config.resume else None
        if found is not None:
            log.warning("going on from %s", found)
        return None if found is None else str(found)

    def _finish(self, trainer: ScorerTrainer, tower: nn.Module, dev_set: list[Context]) -> Trained:
        tower.eval()
        logits, labels = _predict(trainer, dev_set)
        fitted = calibration.fit(logits, labels[:, :4])
        calibrated = fitted(logits)
        install(tower, fitted)
        metrics = figures(calibrated, labels)
        raw = figures(logits, labels)
        metrics |= {f"uncalibrated_{name}": raw[name] for name in ("log_loss", "rmse", "ece")}
        return Trained(
            self.config.method, self.encoder, tower, calibrated, labels[:, :4], metrics, self.seconds, fitted
        )


def figures(logits: Floats, labels: npt.NDArray[np.float32]) -> dict[str, float]:
    """What is told of predictions: log loss, Spearman, RMSE (of levels, 0..1), nDCG@10, calibration error."""
    predictions = probabilities(logits)
    targets, group = labels[:, :4], labels[:, 5].astype(np.int64)
    predicted, actual = expected_level(predictions), expected_level(targets)
    curves = calibration.reliability(predictions, targets)
    return {
        "log_loss": float(-(targets * np.log(predictions.clip(1e-9))).sum(1).mean()),
        "spearman": measures.spearman(predicted, actual),
        "rmse": measures.rmse(predicted, actual),
        "ndcg_10": measures.ndcg(predicted, actual, group),
        "ece": float(np.mean([curve.error for curve in curves])),
    }


def _predict(trainer: ScorerTrainer, some: list[Context]) -> tuple[Floats, Floats]:
    logits, labels, _ = trainer.predict(some)  # type: ignore[arg-type]
    return _flat(logits, labels)


def _flat(logits: Any, labels: Any) -> tuple[Floats, Floats]:
    """Those of [contexts, longest, …] that are examples, [n, 4] and [n, 10]."""
    there = labels[..., 4] > 0
    return logits[there], labels[there]


def install(tower: nn.Module, fitted: calibration.Calibration) -> None:
    """Put a calibration into what was trained: into the head's own, or the classifier's last layer."""
    part: Any = tower
    scale, bias = torch.tensor(fitted.scale), torch.tensor(fitted.bias)
    with torch.no_grad():
        if isinstance(tower, CrossEncoderTower):
            last = part.bert.classifier
            last.weight.mul_(scale.unsqueeze(1).to(last.weight))
            last.bias.mul_(scale.to(last.bias)).add_(bias.to(last.bias))
        else:
            part.head.bias.mul_(scale.to(part.head.bias)).add_(bias.to(part.head.bias))
            part.head.scale.mul_(scale.to(part.head.scale))


def fresh_bert(weights: str) -> nn.Module:
    """The encoder of these weights in float32, ready to be trained."""
    from transformers import AutoModel

    with quiet():
        bert: Any = AutoModel.from_pretrained(resolve(weights), dtype=torch.float32, use_safetensors=True)
    bert.pooler = None
    model: nn.Module = bert
    return model


def classifier(weights: str) -> nn.Module:
    """A four-intent classifier over these weights in float32, ready to be trained."""
    from transformers import AutoModelForSequenceClassification

    with quiet():
        model: nn.Module = AutoModelForSequenceClassification.from_pretrained(
            resolve(weights), num_labels=len(INTENTS), dtype=torch.float32, use_safetensors=True
        )
    return model


def probabilities(logits: Floats) -> Floats:
    """Softmax of logits [n, 4]."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares
