"""transformers' Trainer with learning rates by part, a pull towards the initial weights, AdaLoRA's ranks, safe resume.

Knows optimisation; nothing of where examples come from or where models go.
"""

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import Trainer, TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from models.training.methods import parameter_groups

log = logging.getLogger(__name__)

COMPLETE = "trainer_state.json"
"""The file that Trainer writes last into a checkpoint."""

RANKS = "ranks.safetensors"
"""The file of AdaLoRA's importance scores in a checkpoint."""


class ScorerTrainer(Trainer):
    """Trains a tower whose forward gives loss and logits.

    The batches of a step are weighted by their examples' weights, so that a step is the mean over all of its examples,
    however they are split into batches. A run that does not resume first removes an earlier run's checkpoints from its
    folder: they would be taken for its own.

    Parameters
    ----------
    rates
        Peak learning rates of the encoder's trained weights and of the head's.
    l2_sp
        Strength of the pull towards the initial weights (Li et al. 2018, "Explicit Inductive Bias for Transfer
        Learning"): this times half the squared distance is added to the loss.
    kwargs
        As of :class:`transformers.Trainer`.
    """

    def __init__(self, *, rates: tuple[float, float], l2_sp: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rates, self.l2_sp = rates, l2_sp
        self.can_return_loss = True
        self._start: dict[str, torch.Tensor] = {}

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        """As Trainer's; see the class."""
        if not resume_from_checkpoint and self.is_world_process_zero():
            for path, _ in _checkpoints(Path(str(self.args.output_dir))):
                log.warning("removing %s, of an earlier run", path)
                shutil.rmtree(path)
        return super().train(resume_from_checkpoint, *args, **kwargs)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW with a rate for each part."""
        if self.optimizer is None:
            groups = parameter_groups(model or self._tower, *self._peaks(), self.args.weight_decay)
            self.optimizer = torch.optim.AdamW(groups, fused=True)
        return self.optimizer

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The tower's loss; while training, with the pull towards the initial weights."""
        outputs = model(**inputs)
        loss = outputs["loss"]
        if num_items_in_batch is not None:  # Trainer later divides by the number of batches
            loss = loss * self.current_gradient_accumulation_steps * _weight(inputs) / num_items_in_batch
        if self.l2_sp and model.training:
            loss = loss + 0.5 * self.l2_sp * self._distance()
        return (loss, outputs) if return_outputs else loss

    def get_batch_samples(self, epoch_iterator: Iterator[Any], num_batches: int, device: Any) -> tuple[list[Any], Any]:
        """The batches of a step, and their examples' total weight where there are several batches."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        return batches, sum(map(_weight, batches)) if len(batches) > 1 else None

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """As Trainer's; weights with two names, such as those of peft's prefix, are written once."""
        seen: set[int] = set()
        once = {}
        for name, weights in (state_dict or self._tower.state_dict()).items():
            if weights.data_ptr() not in seen or not weights.numel():
                once[name] = weights
            seen.add(weights.data_ptr())
        super()._save(output_dir, once)
        save_ranks(self._tower, Path(output_dir or str(self.args.output_dir)))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        """As Trainer's; the pull stays towards the run's initial weights, not towards the checkpoint's."""
        if self.l2_sp:
            self._distance()
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        load_ranks(self._tower, Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        """As Trainer's."""
        super()._load_best_model()
        load_ranks(self._tower, Path(str(self.state.best_model_checkpoint)))

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """Raise for missing weights, unless they are a second name of saved ones, which :meth:`_save` leaves out."""
        weights = self._tower.state_dict()
        missing = set(load_result.missing_keys)
        there = {weights[name].data_ptr() for name in weights if name not in missing}
        lost = sorted(name for name in missing if weights[name].data_ptr() not in there)
        if lost or load_result.unexpected_keys:
            raise ValueError(
                f"the checkpoint is of another model: it lacks {lost[:3]} and has {load_result.unexpected_keys[:3]} "
                "besides; resume with the method that it was made with, or start anew"
            )

    @property
    def _tower(self) -> nn.Module:
        assert self.model is not None
        return self.model

    def _distance(self) -> torch.Tensor:
        trained = {name: weights for name, weights in self._tower.named_parameters() if weights.requires_grad}
        if not self._start:
            self._start = {name: weights.detach().clone() for name, weights in trained.items()}
        return torch.stack([(weights - self._start[name]).square().sum() for name, weights in trained.items()]).sum()

    def _peaks(self) -> tuple[float, float]:
        """The rates; a search that sets ``learning_rate`` changes both by the same factor."""
        rate, head_rate = self.rates
        factor = self.args.learning_rate / (rate or head_rate)
        return rate * factor, head_rate * factor


class RankBudget(TrainerCallback):
    """Lets AdaLoRA reallocate its ranks after each step, while there are gradients."""

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Called by Trainer."""
        kwargs["model"].bert.base_model.update_and_allocate(state.global_step)


class ProgressCallback(TrainerCallback):
    """Reports the finished share of the steps after each step."""

    def __init__(self, report: Callable[[float], None]) -> None:
        self.report = report

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Called by Trainer."""
        self.report(state.global_step / max(1, state.max_steps))


def save_ranks(tower: nn.Module, folder: Path) -> None:
    """Write the state that decides an AdaLoRA tower's next ranks; nothing for other towers."""
    if (adapter := _adalora(tower)) is None:
        return
    allocator, config = adapter
    kept = {name: torch.tensor(rows) for name, rows in (config.rank_pattern or {}).items()}
    parts = {"sensitivity": allocator.exp_avg_ipt, "uncertainty": allocator.exp_avg_unc, "kept": kept}
    tensors = {f"{part}/{name}": rows for part, named in parts.items() for name, rows in named.items()}
    save_file(tensors, folder / RANKS)


def load_ranks(tower: nn.Module, folder: Path) -> None:
    """Read the state that :func:`save_ranks` wrote.

    Without it AdaLoRA decides differently after a resume, or not at all, and the best adapter would be saved with the
    ranks of another step.
    """
    if (adapter := _adalora(tower)) is None:
        return
    allocator, config = adapter
    parts: dict[str, dict[str, torch.Tensor]] = {"sensitivity": {}, "uncertainty": {}, "kept": {}}
    device = str(next(tower.parameters()).device)
    for key, rows in load_file(folder / RANKS, device=device).items():
        part, _, name = key.partition("/")
        parts[part][name] = rows
    allocator.exp_avg_ipt, allocator.exp_avg_unc = parts["sensitivity"], parts["uncertainty"]
    allocator.ipt = dict(parts["sensitivity"])  # only its keys count: values are computed again at each step
    config.rank_pattern = {name: rows.tolist() for name, rows in parts["kept"].items()} or None


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint; one that a killed process left incomplete is ignored.

    Examples
    --------
    >>> last_checkpoint(Path("no-such-folder")) is None
    True
    """
    found = [(number, path) for path, number in _checkpoints(folder) if _complete(path)]
    return max(found)[1] if found else None


def _checkpoints(folder: Path) -> list[tuple[Path, int]]:
    """A folder's checkpoints and their steps."""
    named = [(path, path.name.rpartition("-")[2]) for path in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*")]
    return [(path, int(number)) for path, number in named if number.isdecimal() and path.is_dir()]


def _complete(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / COMPLETE).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return True


def _adalora(tower: nn.Module) -> tuple[Any, Any] | None:
    """An AdaLoRA encoder's rank allocator and configuration, where a tower has one."""
    model: Any = getattr(getattr(tower, "bert", None), "base_model", None)
    allocator = getattr(model, "rankallocator", None)
    return None if allocator is None else (allocator, model.peft_config[model.trainable_adapter_name])


def _weight(batch: dict[str, Any]) -> torch.Tensor:
    """The total weight of a batch's examples; the other places hold :data:`models.training.batches.ABSENT`."""
    weights: torch.Tensor = batch["labels"][..., 4]
    return weights.clamp_min(0).sum()
