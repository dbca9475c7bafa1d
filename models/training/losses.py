"""The losses that training minimises, by name; all are over the logits of the four intents.

Knows tensors only. Each is a mean over weighted examples, so that weights in a sum do not depend on the batch's size.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch.nn.functional import kl_div, log_softmax

from models.intents import INTENTS
from models.training.examples import LEVELS

TEMPERATURE = 2.0
GAIN = 8.0


@dataclass(frozen=True, slots=True)
class Labels:
    """The columns of a labels tensor, by name, for n examples.

    ``target`` [n, 4] over the intents, ``weight`` [n], ``group`` [n] (equal numbers are one context), ``teacher``
    [n, 4] logits of another model, or NaN where there is none.
    """

    target: torch.Tensor
    weight: torch.Tensor
    group: torch.Tensor
    teacher: torch.Tensor

    @classmethod
    def unpack(cls, columns: torch.Tensor) -> "Labels":
        """From float32 [n, 10]."""
        return cls(columns[:, :4], columns[:, 4], columns[:, 5].long(), columns[:, 6:10])


def levels(probabilities: torch.Tensor) -> torch.Tensor:
    """Mean level [n] of distributions over intents [n, 4]."""
    return probabilities @ probabilities.new_tensor([LEVELS[intent] for intent in INTENTS])


def cross_entropy(logits: torch.Tensor, labels: Labels) -> torch.Tensor:
    """Cross-entropy of the four intents; a grade between two intents is split between both."""
    return _mean(-(labels.target * log_softmax(logits, dim=-1)).sum(-1), labels.weight)


def graded(logits: torch.Tensor, labels: Labels) -> torch.Tensor:
    """Squared error of the mean level, as in RMSE on a grade scale."""
    return _mean((levels(logits.softmax(-1)) - levels(labels.target)).square(), labels.weight)


def listwise(logits: torch.Tensor, labels: Labels) -> torch.Tensor:
    """Cross-entropy between the softmax of levels and the softmax of scores over each context's items.

    ListNet's top-one form (Cao et al. 2007, "Learning to Rank: From Pairwise Approach to Listwise Approach").
    """
    group: torch.Tensor = torch.unique(labels.group, return_inverse=True)[1]
    scores = _log_softmax_in(GAIN * levels(logits.softmax(-1)), group)
    wanted = _log_softmax_in(GAIN * levels(labels.target), group).exp()
    return _mean(-wanted * scores, labels.weight) * (len(group) / (int(group.amax()) + 1))


def distil(logits: torch.Tensor, labels: Labels) -> torch.Tensor:
    """Kullback-Leibler divergence from a teacher's softened intents (Hinton et al. 2015); zero without a teacher."""
    taught = ~labels.teacher.isnan().any(-1)
    if not taught.any():
        return logits.sum() * 0
    ours = log_softmax(logits[taught] / TEMPERATURE, dim=-1)
    theirs = log_softmax(labels.teacher[taught] / TEMPERATURE, dim=-1)
    gap = kl_div(ours, theirs, log_target=True, reduction="none").sum(-1) * TEMPERATURE**2
    return _mean(gap, labels.weight[taught])


LOSSES: dict[str, Callable[[torch.Tensor, Labels], torch.Tensor]] = {
    "cross_entropy": cross_entropy,
    "graded": graded,
    "listwise": listwise,
    "distil": distil,
}


def total(logits: torch.Tensor, labels: Labels, weights: Mapping[str, float]) -> torch.Tensor:
    """The weighted sum of the named losses.

    Examples
    --------
    >>> labels = Labels.unpack(torch.tensor([[1.0, 0, 0, 0, 1, 0] + [torch.nan] * 4]))
    >>> round(float(total(torch.zeros(1, 4), labels, {"cross_entropy": 1.0, "distil": 1.0})), 3)
    1.386
    """
    return torch.stack([weight * LOSSES[name](logits, labels) for name, weight in weights.items() if weight]).sum()


def _mean(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return (values * weight).sum() / weight.sum()


def _log_softmax_in(scores: torch.Tensor, group: torch.Tensor) -> torch.Tensor:
    """Log of the softmax [n] over the members of each group [n], groups numbered from 0."""
    count = int(group.amax()) + 1
    peak = scores.new_full((count,), -torch.inf).scatter_reduce(0, group, scores.detach(), "amax")
    shifted = scores - peak[group]
    total_ = scores.new_zeros(count).index_add(0, group, shifted.exp())
    return shifted - total_.log()[group]
