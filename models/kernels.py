"""Matches the tokens of a query and an item: soft counts by Gaussian kernels, MaxSim, and shared word pieces.

Knows similarity matrices, token weights and token ids only. The kernels are K-NRM's (Xiong et al. 2017, "End-to-End
Neural Ad-hoc Ranking with Kernel Pooling"); MaxSim is ColBERT's (Khattab and Zaharia 2020). All are weighted means over
the query's tokens, not sums, so that short and long queries give numbers of one size.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import embedding_bag

from models.encoded import quantise
from models.item_store import Gathered

NO_TOKEN = -1
"""The id of an absent token of a query; no token has it."""


@dataclass(frozen=True, slots=True)
class Kernels:
    """Equally spaced Gaussian kernels over cosine similarity.

    Examples
    --------
    >>> Kernels(count=3, lowest=0.0, highest=1.0, width=0.1).centres()
    [0.0, 0.5, 1.0]
    """

    count: int = 11
    lowest: float = 0.0
    highest: float = 1.0
    width: float = 0.1

    def centres(self) -> list[float]:
        """The centres of the kernels."""
        return [float(centre) for centre in np.linspace(self.lowest, self.highest, self.count)]


@dataclass(frozen=True, slots=True)
class QueryTokens:
    """A query ready to be matched: unit-norm states [Q, T] in the items' own space, weights [Q] that sum to one, and
    which word pieces they are, int16 [Q], and how rare these are, [Q] that sum to one too."""

    states: torch.Tensor
    weights: torch.Tensor
    ids: torch.Tensor
    rarity: torch.Tensor


def match(similarity: torch.Tensor, mask: torch.Tensor, weights: torch.Tensor, kernels: Kernels) -> torch.Tensor:
    """The reference: exact and differentiable.

    Parameters
    ----------
    similarity
        float32 [..., Q, C, L]: query tokens, candidates, tokens of a candidate.
    mask
        bool [..., C, L]: which tokens of a candidate are present.
    weights
        float32 [..., Q]: the weight of each query token; they sum to one, and absent tokens have zero.

    Returns
    -------
    float32 [..., C, K + 2]: log of one plus each kernel's soft count and MaxSim, as means over query tokens; then the
    best match of the query token with the lowest best match.

    Examples
    --------
    >>> similarity = torch.tensor([[[1.0, 0.0]]])
    >>> match(similarity, torch.tensor([[True, False]]), torch.ones(1), Kernels(count=2))
    tensor([[1.9287e-22, 6.9315e-01, 1.0000e+00, 1.0000e+00]])
    """
    mask = mask.unsqueeze(-3)
    exponent = -0.5 / kernels.width**2
    counts = [((similarity - centre).square() * exponent).exp() * mask for centre in kernels.centres()]
    logs = [count.sum(-1).log1p() for count in counts]
    best = similarity.masked_fill(~mask, -1.0).amax(-1) * mask.any(-1)
    means = torch.einsum("...q,...qck->...ck", weights, torch.stack([*logs, best], dim=-1))
    present = (weights > 0).unsqueeze(-1)
    weakest = best.masked_fill(~present, torch.inf).amin(-2)
    return torch.cat([means, weakest.unsqueeze(-1)], dim=-1)


def overlap(
    query_ids: torch.Tensor, item_ids: torch.Tensor, weights: torch.Tensor, rarity: torch.Tensor
) -> torch.Tensor:
    """The share of a query's word pieces that an item has exactly.

    Parameters
    ----------
    query_ids
        int16 [..., Q], :data:`NO_TOKEN` where there is none.
    item_ids
        int16 [..., C, L], zero where there is no token.
    weights, rarity
        float32 [..., Q], as :func:`match` takes them and as :class:`QueryTokens` has it.

    Returns
    -------
    float32 [..., C, 3]: the share of the query's tokens that the item has, by weight, by number and by rarity.

    Examples
    --------
    >>> ids = torch.tensor([5, 6], dtype=torch.int16)
    >>> overlap(ids, torch.tensor([[6, 9, 0]], dtype=torch.int16), torch.tensor([0.25, 0.75]), torch.tensor([0.1, 0.9]))
    tensor([[0.7500, 0.5000, 0.9000]])
    """
    shared = (query_ids[..., None, None] == item_ids.unsqueeze(-3)).any(-1).to(weights.dtype)
    there = (query_ids != NO_TOKEN).to(weights.dtype)
    counted = torch.stack([weights, there / there.sum(-1, keepdim=True).clamp_min(1), rarity], dim=-1)
    return torch.einsum("...qc,...qf->...cf", shared, counted)


class Matched(NamedTuple):
    """A query matched with items: :func:`match` and :func:`overlap` [C, K + 5], and the similarity of each of the
    query's tokens to its best match, [Q, C], zero where an item has no token."""

    features: torch.Tensor
    best: torch.Tensor


def exact(query: QueryTokens, items: Gathered, kernels: Kernels) -> Matched:
    """One query with restored float32 items."""
    similarity, there = _similarity(query, items), items.scales > 0
    features = torch.cat([match(similarity, there, query.weights, kernels), _overlap(query, items)], dim=-1)
    best = similarity.masked_fill(~there, -torch.inf).amax(-1)
    return Matched(features, best.masked_fill(~there.any(-1), 0.0))


def term_matches(query: QueryTokens, items: Gathered) -> torch.Tensor:
    """What each pair of a query's and an item's token adds to MaxSim: the query token's weight times its similarity to
    its best match, zero for all other tokens.

    Returns
    -------
    float32 [C, Q, L]; an item's sum is its MaxSim.
    """
    similarity = _similarity(query, items).transpose(0, 1)
    there = (items.scales > 0).unsqueeze(1)
    best = similarity.masked_fill(~there, -torch.inf).argmax(-1, keepdim=True)
    chosen = torch.zeros_like(similarity).scatter_(-1, best, 1.0) * there
    return similarity * chosen * query.weights[None, :, None]


class KernelTable:
    """The fast path: int8 products, then one table look-up that is kernel, mask and sum over tokens at once.

    The kernels are tabulated in :attr:`BINS` steps of similarity, so the table's rows that ``embedding_bag`` sums up
    are the kernels' values. It differs from :func:`exact` by the query's int8 rounding and half a table step.

    Parameters
    ----------
    kernels
        What to tabulate.
    int8
        Whether the processor multiplies int8 natively; else the products are made in float32.
    """

    BINS = 2_048
    EDGE = 1.05
    STEP = 2 * EDGE / BINS
    ABSENT = -1e6

    def __init__(self, kernels: Kernels, *, int8: bool) -> None:
        self.int8 = int8
        similarity = torch.arange(self.BINS + 1) * self.STEP - self.EDGE
        centres = torch.tensor(kernels.centres())
        self.table = torch.exp((similarity[:, None] - centres).square() * (-0.5 / kernels.width**2))
        self.table[0] = 0.0  # where absent tokens land

    def __call__(self, query: QueryTokens, items: Gathered) -> Matched:
        """As :func:`exact`."""
        count, longest, dim = items.tokens.shape
        bins = self._products(query, items.tokens.view(-1, dim))
        scales = items.scales.view(-1)
        offset = torch.where(scales > 0, self.EDGE / self.STEP, self.ABSENT)
        bins = torch.addcmul(offset, bins, scales * (1 / self.STEP)).view(-1, count, longest)
        best = bins.amax(-1).sub_(self.EDGE / self.STEP).mul_(self.STEP)
        best = torch.where(best < -self.EDGE, 0.0, best)
        places = bins.add_(0.5).clamp_(0, self.BINS).to(torch.int32)
        logs = embedding_bag(places.view(-1, longest), self.table, mode="sum").log1p_()
        means = (query.weights @ logs.view(len(query.weights), -1)).view(count, -1)
        matches = torch.stack([query.weights @ best, best.amin(0)], dim=-1)
        return Matched(torch.cat([means, matches, _overlap(query, items)], dim=-1), best)

    def _products(self, query: QueryTokens, tokens: torch.Tensor) -> torch.Tensor:
        if not self.int8:
            return query.states @ tokens.float().T
        values, scales = quantise(query.states.numpy())
        return torch._int_mm(torch.from_numpy(values), tokens.T).float().mul_(torch.from_numpy(scales).unsqueeze(-1))


def _similarity(query: QueryTokens, items: Gathered) -> torch.Tensor:
    restored = items.tokens.float() * items.scales.unsqueeze(-1)
    return torch.einsum("qd,cld->qcl", query.states, restored)


def _overlap(query: QueryTokens, items: Gathered) -> torch.Tensor:
    return overlap(query.ids, items.ids, query.weights, query.rarity)
