"""Matches the tokens of a query and an item: soft counts by Gaussian kernels, MaxSim, and shared word pieces.

Knows similarity matrices, token weights and token ids only. The kernels are K-NRM's (Xiong et al. 2017, "End-to-End
Neural Ad-hoc Ranking with Kernel Pooling"); MaxSim is ColBERT's (Khattab and Zaharia 2020). All are weighted means over
the query's tokens, not sums, so that short and long queries give numbers of one size.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from models.compiled import compiled
from models.encoded import quantise
from models.item_store import Gathered, Stored, restore
from models.trigrams import TrigramBits

NO_TOKEN = -1
"""The id of an absent token of a query; no token has it."""

LANES = 16
"""Numbers that processors compute with at once: rows of a multiple of them need no loop over a rest."""


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

    def one(self, number: int, tokens: int) -> "QueryTokens":
        """One of several queries [n, Q], and its first tokens."""
        states, weights, ids, rarity = self.states, self.weights, self.ids, self.rarity
        return QueryTokens(*(part[number, :tokens] for part in (states, weights, ids, rarity)))


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


class PairsMatched(NamedTuple):
    """Pairs of a query and an item: :func:`match`, :func:`overlap` and :func:`models.trigrams.share`, float32
    [n, K + 7], and what each of the query's tokens adds to MaxSim, float32 [n, Q], zero beyond its last."""

    features: npt.NDArray[np.float32]
    pieces: npt.NDArray[np.float32]


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


class QueryBatch(NamedTuple):
    """Queries ready to be matched by :class:`KernelTable`, n of them, padded to Q tokens.

    Attributes
    ----------
    states, scales
        int16 [n, Q, W]: the states in int8 steps, T of them and zeros up to a multiple of :data:`LANES`; and these
        steps' sizes, float32 [n, Q].
    weights, rarity, ids
        float32, float32 and int16 [n, Q], as :class:`QueryTokens` has them.
    lengths
        int64 [n]: how many tokens each query has.
    trigrams
        uint64 [n, 8], as :func:`models.trigrams.trigrams` gives them.
    """

    states: npt.NDArray[np.int16]
    scales: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]
    rarity: npt.NDArray[np.float32]
    ids: npt.NDArray[np.int16]
    lengths: npt.NDArray[np.int64]
    trigrams: TrigramBits

    @classmethod
    def of(cls, queries: QueryTokens, lengths: npt.NDArray[np.int64], bits: TrigramBits) -> "QueryBatch":
        """From queries [n, Q], how many tokens each has, and their trigrams."""
        number, longest, width = queries.states.shape
        states = np.zeros((number, longest, _padded(width)), np.int16)
        values, scales = quantise(queries.states.numpy().reshape(-1, width))
        states[..., :width] = values.reshape(number, longest, width)
        rest = queries.weights.numpy(), queries.rarity.numpy(), queries.ids.numpy()
        return cls(states, scales.reshape(number, longest), *rest, lengths, bits)


class Table(NamedTuple):
    """The values of so many kernels, float32 [BINS + 1, W], at similarities from ``-edge`` on, ``step`` apart; zeros in
    the first row, where absent tokens land, and beyond the last kernel up to a multiple of :data:`LANES`."""

    values: npt.NDArray[np.float32]
    kernels: int
    edge: float
    step: float


class KernelTable:
    """The fast path: products of int8, exact and the same on every processor, then a table that is looked up.

    The kernels are tabulated in :attr:`BINS` steps of similarity. It differs from :func:`exact` by the query's int8
    rounding and half a table step.
    """

    BINS = 2_048
    EDGE = 1.05

    def __init__(self, kernels: Kernels) -> None:
        step = 2 * self.EDGE / self.BINS
        similarity = torch.arange(self.BINS + 1) * step - self.EDGE
        centres = torch.tensor(kernels.centres())
        values = np.zeros((self.BINS + 1, _padded(kernels.count)), np.float32)
        values[1:, : kernels.count] = torch.exp((similarity[1:, None] - centres).square() * (-0.5 / kernels.width**2))
        self.table = Table(values, kernels.count, self.EDGE, step)

    def match(self, queries: QueryBatch, items: Sequence[Stored], owner: npt.NDArray[np.int64]) -> PairsMatched:
        """Match many pairs of a query and an item at once.

        Parameters
        ----------
        owner
            int64 [n]: the query of each pair; ``items`` has their items.
        """
        features = np.zeros((len(owner), self.table.kernels + 7), np.float32)
        pieces = np.zeros((len(owner), queries.weights.shape[1]), np.float32)
        for part in items:
            _match(queries, part, owner, self.table, features, pieces)
        return PairsMatched(features, pieces)


@compiled
def _match(
    queries: QueryBatch,
    items: Stored,
    owner: npt.NDArray[np.int64],
    table: Table,
    features: npt.NDArray[np.float32],
    pieces: npt.NDArray[np.float32],
) -> None:
    """Fill in :class:`PairsMatched`: what :func:`exact` computes for one query, pair by pair."""
    longest, width = items.tokens.shape[1:]
    tokens = np.zeros((longest, queries.states.shape[2]), np.int16)
    scales, products, ids = np.empty(longest, np.float32), np.empty(longest, np.float32), np.empty(longest, np.int16)
    bins, counts = np.zeros(longest + 3, np.int32), np.empty(table.values.shape[1], np.float32)
    for number in range(len(items.rows)):
        row, place = items.rows[number], items.places[number]
        query, found = owner[row], features[row]
        restore(items.scales[place], scales)
        count = 0
        for token in range(longest):  # the item's tokens side by side
            if scales[token] > 0:
                scales[count], ids[count] = scales[token], items.ids[place, token]
                for at in range(width):
                    tokens[count, at] = items.tokens[place, token, at]
                count += 1
        weakest = np.float32(np.inf)
        for asked in range(queries.lengths[query]):
            state, step = queries.states[query, asked], queries.scales[query, asked]
            weight, piece = queries.weights[query, asked], queries.ids[query, asked]
            best, shared = np.float32(-np.inf), False
            for token in range(count):
                total = np.int32(0)
                for at in range(len(state)):
                    total = np.int32(total + np.int32(state[at]) * np.int32(tokens[token, at]))
                products[token] = np.float32(total) * scales[token]
                best = max(best, products[token])
                shared |= ids[token] == piece
            best = best * step if count else np.float32(0)
            for token in range(count):
                similarity = products[token] * step + np.float32(table.edge)
                line = similarity / np.float32(table.step) + np.float32(0.5)
                bins[token] = np.int32(min(max(line, np.float32(0)), np.float32(len(table.values) - 1)))
            bins[count : count + 3] = 0  # so that four at once are summed up
            counts[:] = 0
            for token in range(0, count, 4):
                a, b, c, d = bins[token], bins[token + 1], bins[token + 2], bins[token + 3]
                for kernel in range(len(counts)):
                    first, second = table.values[a, kernel] + table.values[b, kernel], table.values[c, kernel]
                    counts[kernel] += first + (second + table.values[d, kernel])
            for kernel in range(table.kernels):
                found[kernel] += weight * np.float32(math.log(np.float32(1) + counts[kernel]))
            pieces[row, asked] = weight * best
            found[table.kernels] += weight * best
            weakest = min(weakest, best) if weight > 0 else weakest
            if shared:
                found[table.kernels + 2] += weight
                found[table.kernels + 3] += np.float32(1 / queries.lengths[query])
                found[table.kernels + 4] += queries.rarity[query, asked]
        found[table.kernels + 1] = weakest
        own, theirs, both = 0, 0, 0
        for word in range(items.trigrams.shape[1]):
            own += _ones(queries.trigrams[query, word])
            theirs += _ones(items.trigrams[place, word])
            both += _ones(queries.trigrams[query, word] & items.trigrams[place, word])
        found[table.kernels + 5], found[table.kernels + 6] = both / max(own, 1), both / max(theirs, 1)


@compiled
def _ones(word: np.uint64) -> int:
    """The bits of a word that are one; compilers know this loop, and make one instruction of it."""
    count = 0
    while word:
        word &= word - np.uint64(1)
        count += 1
    return count


def _padded(width: int) -> int:
    return -(-width // LANES) * LANES


def _similarity(query: QueryTokens, items: Gathered) -> torch.Tensor:
    restored = items.tokens.float() * items.scales.unsqueeze(-1)
    return torch.einsum("qd,cld->qcl", query.states, restored)


def _overlap(query: QueryTokens, items: Gathered) -> torch.Tensor:
    return overlap(query.ids, items.ids, query.weights, query.rarity)
