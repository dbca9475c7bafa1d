"""The configuration of one training run.

Knows names and numbers; nothing of data or models.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from models.training.method import Method

DEFAULT_LOSSES = {"cross_entropy": 1.0, "graded": 4.0}


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """What to train and how; the method's recipe gives values that are None.

    ``losses`` are weights by name. Training stops early after ``patience`` evaluations on the dev examples without
    improvement; 0 never stops early. ``contexts`` is the batch's size in queries, of at most ``most_items`` items
    each; ``accumulation`` batches make a step. ``report_to`` names trackers as transformers does. ``folder`` is for
    checkpoints and logs; with ``resume`` a run resumes from the last checkpoint there. ``items_folder`` is for
    encoded items. ``layers`` are those of the method ``query_encoder``, and ``passes`` how often it reads each
    text. Each context is filled up to ``negatives`` negatives with items of its batch's other contexts.
    """

    method: Method = "head"
    layers: int = 3
    passes: float | None = None
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
