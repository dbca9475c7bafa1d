"""transformers' Trainer with what ours needs besides: rates by part, a pull to the start, AdaLoRA's ranks, safe resume.

Knows optimisation; nothing of where examples come from or where models go.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import Trainer, TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from models.training.methods import parameter_groups

COMPLETE = "trainer_state.json"
"""What Trainer writes last into a checkpoint."""


class ScorerTrainer(Trainer):
    """Trains a tower whose forward gives loss and logits.

    Parameters
    ----------
    rates
        Peak learning rates of the encoder's trained weights and of the head's.
    l2_sp
        Pull of the trained weights towards where they started (Li et al. 2018, "Explicit Inductive Bias for Transfer
        Learning"): this times half the squared distance is added to the loss.
    kwargs
        As of :class:`transformers.Trainer`.
    """

    def __init__(self, *, rates: tuple[float, float], l2_sp: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rates, self.l2_sp = rates, l2_sp
        self.can_return_loss = True
        self._start: dict[str, torch.Tensor] = {}

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW with one rate for each part."""
        if self.optimizer is None:
            groups = parameter_groups(model or self._tower, *self._peaks(), self.args.weight_decay)
            self.optimizer = torch.optim.AdamW(groups, fused=True)
        return self.optimizer

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,  # noqa: ARG002
    ) -> Any:
        """The tower's loss, with the pull to the start while training."""
        outputs = model(**inputs)
        loss = outputs["loss"]
        if self.l2_sp and model.training:
            loss = loss + 0.5 * self.l2_sp * self._distance(model)
        return (loss, outputs) if return_outputs else loss

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """As Trainer's; weights that go by two names, as peft's prefix has them, are written once."""
        seen: set[int] = set()
        once = {}
        for name, weights in (state_dict or self._tower.state_dict()).items():
            if weights.data_ptr() not in seen or not weights.numel():
                once[name] = weights
            seen.add(weights.data_ptr())
        super()._save(output_dir, once)

    @property
    def _tower(self) -> nn.Module:
        assert self.model is not None
        return self.model

    def _distance(self, model: nn.Module) -> torch.Tensor:
        trained = {name: weights for name, weights in model.named_parameters() if weights.requires_grad}
        if not self._start:
            self._start = {name: weights.detach().clone() for name, weights in trained.items()}
        return torch.stack([(weights - self._start[name]).square().sum() for name, weights in trained.items()]).sum()

    def _peaks(self) -> tuple[float, float]:
        """The rates; where a search sets ``learning_rate``, it moves both by the same factor."""
        rate, head_rate = self.rates
        factor = self.args.learning_rate / (rate or head_rate)
        return rate * factor, head_rate * factor


class RankBudget(TrainerCallback):
    """Lets AdaLoRA move its ranks to where they help; to be called after each step, while gradients are there."""

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Called by Trainer."""
        kwargs["model"].bert.base_model.update_and_allocate(state.global_step)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end; one that a killed process left half written is passed over.

    Examples
    --------
    >>> last_checkpoint(Path("no-such-folder")) is None
    True
    """
    found = [path for path in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*") if (path / COMPLETE).is_file()]
    return max(found, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
