"""What one training run is asked for.

Knows names and numbers; nothing of data or models.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from models.training.method import Method

DEFAULT_LOSSES = {"cross_entropy": 1.0, "graded": 4.0}


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
