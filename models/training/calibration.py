"""Calibrates probabilities on examples that training has not seen.

Knows logits and labels only. Vector scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks"): a positive
scale and a bias for each intent, by maximum likelihood with a prior.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import log_softmax

from models.intents import INTENTS
from models.measures.probabilities import Reliability
from models.scorer import Floats

FOLDS = 5
"""Parts of the examples; each is calibrated by a fit on the others."""
APART, SCALE, BIAS = 32.0, 1.0, 0.1
"""Strengths of the prior, in examples: of each scale's logarithm towards their mean, of that mean towards zero, of
biases towards zero. So a few examples change the size of probabilities, but not the order of items: ``docs/log.md``."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """``logits * scale + bias``, one of each per intent."""

    scale: tuple[float, ...] = (1.0,) * len(INTENTS)
    bias: tuple[float, ...] = (0.0,) * len(INTENTS)

    def __call__(self, logits: Floats) -> Floats:
        """Calibrated logits from logits, float32 [n, 4]."""
        return (logits * np.array(self.scale, np.float32) + np.array(self.bias, np.float32)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Curve:
    """One intent's reliability: predicted and observed share, and number of examples, of each bin that has any; and the
    expected calibration error."""

    intent: str
    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    counts: tuple[int, ...]
    error: float


def fit(logits: Floats, targets: Floats) -> Calibration:
    """Find the calibration that makes targets [n, 4] most likely under logits [n, 4].

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.normal(size=(4000, 4)).astype(np.float32)
    >>> intents = (truth + rng.gumbel(size=truth.shape)).argmax(1)
    >>> found = fit(3 * truth, np.eye(4, dtype=np.float32)[intents])
    >>> [round(scale, 1) for scale in found.scale]
    [0.3, 0.3, 0.3, 0.3]
    """
    inputs, wanted = torch.from_numpy(logits).double(), torch.from_numpy(targets).double()
    log_scale = torch.zeros(len(INTENTS), dtype=torch.double, requires_grad=True)
    bias = torch.zeros(len(INTENTS), dtype=torch.double, requires_grad=True)
    optimiser = torch.optim.LBFGS([log_scale, bias], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        likelihood = (wanted * log_softmax(inputs * log_scale.exp() + bias, dim=-1)).sum(-1).mean()
        mean = log_scale.mean()
        pulls = APART * (log_scale - mean).square().sum() + SCALE * len(INTENTS) * mean**2 + BIAS * bias.square().sum()
        loss = pulls / len(inputs) - likelihood
        torch.autograd.backward(loss)
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return Calibration(tuple(log_scale.detach().exp().tolist()), tuple(bias.detach().tolist()))


def cross_fitted(logits: Floats, targets: Floats, groups: npt.NDArray[np.int64]) -> Floats:
    """Logits [n, 4], each calibrated by a fit on the other folds, as for examples that the fit has not seen.

    The examples of a group share a fold; the logits of a single group stay unchanged.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> noise, targets = rng.normal(size=(8, 4)).astype(np.float32), np.eye(4, dtype=np.float32)[[0] * 4 + [3] * 4]
    >>> found = cross_fitted(noise, targets, np.array([7] * 4 + [9] * 4))
    >>> bool(np.allclose(found[:4], fit(noise[4:], targets[4:])(noise[:4])))
    True
    """
    folds = np.unique(groups, return_inverse=True)[1] % FOLDS
    found = logits.copy()
    for fold in range(FOLDS):
        own = folds == fold
        if own.any() and not own.all():
            found[own] = fit(logits[~own], targets[~own])(logits[own])
    return found


def reliability(probabilities: Floats, targets: Floats) -> list[Curve]:
    """Each intent's reliability curve over ten equal bins of its predicted probability.

    Examples
    --------
    >>> curves = reliability(np.full((2, 4), 0.25, np.float32), np.eye(4, dtype=np.float32)[:2])
    >>> curves[0].predicted, curves[0].observed, curves[0].counts, curves[0].error
    ((0.25,), (0.5,), (2,), 0.25)
    """
    found = []
    for column, intent in enumerate(INTENTS):
        sums = Reliability()
        sums.update(probabilities[:, column], targets[:, column])
        used = np.flatnonzero(sums.counts)
        counts = sums.counts[used]
        predicted, observed = ((part[used] / counts).tolist() for part in (sums.predicted, sums.observed))
        found.append(Curve(intent, tuple(predicted), tuple(observed), tuple(counts.astype(int).tolist()), sums.ece))
    return found
