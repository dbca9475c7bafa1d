"""The fine-tuning methods by name: which parts of the scorer each one trains, and its learning rates.

Knows models and their parameters; nothing of data. Every method but ``full`` leaves the item side unchanged, so the
catalogue needs no new encoding; the adapters change the query side, and ``query_encoder`` puts a smaller one in its
place before the head is trained.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from models.training.method import Method

SHARES = {"head.query_map": 0.25, "head.query_topic": 0.5, "head.item_topic": 0.5}
"""Shares of the head's learning rate: the query map starts near its optimum, and topics memorise texts."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A method's defaults.

    ``rate`` and ``head_rate`` are the peak learning rates of the encoder's trained weights and of the head's. The
    figures in ``docs/training.md`` were measured with these ``epochs`` and ``contexts`` (a batch's size, in queries).
    """

    rate: float
    head_rate: float
    epochs: int
    contexts: int
    trains_queries: bool = True
    trains_items: bool = False


RECIPES: dict[Method, Recipe] = {
    "head": Recipe(rate=0.0, head_rate=2e-3, epochs=4, contexts=32, trains_queries=False),
    "lora": Recipe(rate=1e-3, head_rate=2e-3, epochs=4, contexts=32),
    "adalora": Recipe(rate=2e-3, head_rate=2e-3, epochs=4, contexts=32),
    "prefix": Recipe(rate=5e-3, head_rate=2e-3, epochs=4, contexts=32),
    "adapter": Recipe(rate=5e-3, head_rate=2e-3, epochs=4, contexts=32),
    "full": Recipe(rate=1e-4, head_rate=1e-3, epochs=2, contexts=12, trains_items=True),
    "query_encoder": Recipe(rate=3e-4, head_rate=2e-3, epochs=4, contexts=32, trains_queries=False),
    "cross_encoder": Recipe(rate=1e-4, head_rate=1e-3, epochs=2, contexts=12, trains_items=True),
}


def adapt(bert: nn.Module, method: Method, steps: int) -> nn.Module:
    """Add a method's trained parameters to an encoder; for ``full`` that is the encoder itself.

    Parameters
    ----------
    bert
        A BERT encoder; it is changed.
    steps
        Optimiser steps of the run, for AdaLoRA's schedule of ranks.

    Raises
    ------
    ValueError
        For a method that trains no encoder.
    """
    import peft

    kind: Any = peft.TaskType.FEATURE_EXTRACTION
    config: Any
    match method:
        case "full" | "cross_encoder":
            return bert
        case "lora":  # Hu et al. 2021
            config = peft.LoraConfig(task_type=kind, r=16, lora_alpha=32, lora_dropout=0.05, target_modules=LINEARS)
        case "adalora":  # Zhang et al. 2023
            config = peft.AdaLoraConfig(
                task_type=kind,
                init_r=16,
                target_r=8,
                lora_alpha=32,
                target_modules=LINEARS,
                total_step=max(steps, 10),
                tinit=max(steps // 10, 1),
                tfinal=max(steps // 5, 2),
            )
        case "prefix":  # Li and Liang 2021
            config = peft.PrefixTuningConfig(task_type=kind, num_virtual_tokens=8)
        case "adapter":  # (IA)^3, Liu et al. 2022: peft's adapter without any cost once it is merged
            config = peft.IA3Config(
                task_type=kind, target_modules=["key", "value", "output.dense"], feedforward_modules=["output.dense"]
            )
        case "head" | "query_encoder":
            raise ValueError(f"the method {method} trains no encoder with the head")
    adapted: nn.Module = peft.get_peft_model(bert, config)
    return adapted


LINEARS = ["query", "key", "value", "dense"]


def parameter_groups(model: nn.Module, rate: float, head_rate: float, decay: float) -> list[dict[str, Any]]:
    """Trained parameters for an optimiser: own rates for encoder, head and query map; no weight decay of vectors.

    Examples
    --------
    >>> groups = parameter_groups(nn.Linear(2, 2), rate=1e-4, head_rate=1e-3, decay=0.01)
    >>> [(group["lr"], group["weight_decay"], len(group["params"])) for group in groups]
    [(0.001, 0.01, 1), (0.001, 0.0, 1)]
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in _trained(model):
        own = rate if name.startswith("bert.") and "classifier" not in name else head_rate
        own *= next((share for part, share in SHARES.items() if name.startswith(part)), 1.0)
        groups.setdefault((own, decay if parameter.ndim > 1 else 0.0), []).append(parameter)
    return [{"params": params, "lr": own, "weight_decay": weight} for (own, weight), params in groups.items()]


def _trained(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)
