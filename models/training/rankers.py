"""Learns rankers from choices: of a request's candidates, which were bought.

One listwise objective. Each choice counts twice: among all its candidates, and among those that were new to the shopper
alone, since a shelf may leave out what was bought before. Equal choices and an equal seed make equal bytes.
Knows features and what was bought; nothing of how they came about.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.ranker import Columns, Kind, Linear, Network, Ranker, Scaling, Trees
from models.ranker.columns import Floats

SAMPLED = 100
"""Candidates of a choice that are learned from, beside those that were bought."""

ROUNDS, RATE = 100, 0.15
"""Trees, and how much of each counts."""

HIDDEN = 64
PENALTY = 1e-4
"""Of squared weights of the linear ranker, beside the mean loss of a choice."""

STEPS = 200
"""Of the linear ranker's optimiser, at most."""

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """A request that had an outcome.

    Attributes
    ----------
    features
        float32 [n, F] of its candidates; NaN is "not known".
    bought, new
        bool [n]: which of them were bought, and which were new to the shopper.
    """

    features: Floats
    bought: Flags
    new: Flags


@dataclass(frozen=True, slots=True, eq=False)
class Lists:
    """Sampled rows of choices one after the other, and the lists among them.

    Attributes
    ----------
    rows, bought
        float32 [n, F], and bool [n].
    sizes
        Rows of each choice.
    lists
        Places of each list's rows: of each choice all of them, and again the new ones, where one of them was bought.
    """

    rows: Floats
    bought: Flags
    sizes: list[int]
    lists: list[npt.NDArray[np.int64]]


def sampled(choices: Sequence[Choice], columns: Columns, seed: int) -> Lists:
    """Of each choice what was bought and a sample of the rest."""
    chance = np.random.default_rng(seed)
    rows, bought, sizes, lists, start = [], [], [], [], 0
    for one in choices:
        kept = np.zeros(len(one.bought), bool)
        kept[chance.permutation(len(kept))[:SAMPLED]] = True
        kept |= one.bought
        hits = one.bought[kept]
        for some in (np.ones(len(hits), bool), one.new[kept]):
            if hits[some].any():
                lists.append(start + np.flatnonzero(some))
        rows.append(columns.take(one.features[kept]))
        bought.append(hits)
        sizes.append(len(hits))
        start += len(hits)
    if not lists:
        raise ValueError("nothing was bought of any candidates, so there is nothing to learn")
    return Lists(np.concatenate(rows), np.concatenate(bought), sizes, lists)


def train(
    kind: Kind, choices: Sequence[Choice], features: Sequence[str], known: Sequence[str], seed: int = 0
) -> Ranker:
    """Learn a ranker of some features from choices that have all the known ones.

    Raises
    ------
    ValueError
        When nothing was bought in any choice.
    """
    columns = Columns.of(features, known)
    learn: dict[Kind, Callable[[Sequence[Choice], Columns, int], Ranker]] = {
        "linear": train_linear,
        "network": train_network,
        "trees": train_trees,
    }
    return learn[kind](choices, columns, seed)


def train_trees(
    choices: Sequence[Choice], columns: Columns, seed: int = 0, rounds: int = ROUNDS, rate: float = RATE
) -> Trees:
    """Boosted trees by LightGBM: ``rank_xendcg``, as good as LambdaMART here and a third faster."""
    import lightgbm

    found = sampled(choices, columns, seed)
    places = np.concatenate(found.lists)
    settings: dict[str, Any] = {
        "objective": "rank_xendcg",
        "num_leaves": 15,
        "learning_rate": rate,
        "min_data_in_leaf": min(100, max(1, len(places) // 100)),
        "feature_fraction": 0.6,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 5.0,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "seed": seed + 1,
        "objective_seed": seed + 1,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(
        found.rows[places],
        found.bought[places].astype(np.int32),
        group=[len(one) for one in found.lists],
        feature_name=list(columns.features),
    )
    return Trees(columns, lightgbm.train(settings, data, num_boost_round=rounds).model_to_string())


def train_linear(
    choices: Sequence[Choice],
    columns: Columns,
    seed: int = 0,
    relative: Sequence[str] = (),
    rising: Sequence[str] = (),
    penalty: float = PENALTY,
) -> Linear:
    """The weights of least loss, which are unique: a softmax over each list, with a penalty of squared weights.

    Parameters
    ----------
    relative
        Features that are scaled over the rows of each request (:class:`models.ranker.Scaling`).
    rising
        Features whose weight may not be below zero.
    """
    from scipy.optimize import minimize

    found = sampled(choices, columns, seed)
    scaling = scaled_as(found.rows, columns, relative)
    values = scaling(found.rows, found.sizes).astype(np.float64)
    places = np.concatenate(found.lists)
    ends = np.cumsum([len(one) for one in found.lists])
    starts, lengths = np.concatenate([[0], ends[:-1]]), np.diff(ends, prepend=0)
    hits = found.bought[places].astype(np.float64)
    share = hits / np.repeat(np.add.reduceat(hits, starts), lengths)

    def loss(weights: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        logits = (values @ weights)[places]
        logits -= np.repeat(np.maximum.reduceat(logits, starts), lengths)
        odds = np.exp(logits)
        totals = np.add.reduceat(odds, starts)
        chances = odds / np.repeat(totals, lengths)
        value = (np.log(totals).sum() - (share * logits).sum()) / len(ends) + penalty * float(weights @ weights)
        apart = np.bincount(places, chances - share, len(values))
        return float(value), values.T @ apart / len(ends) + 2 * penalty * weights

    least = [0.0 if name in rising else None for name in columns.features] + [None] * len(columns.features)
    bounds = [(low, None) for low in least]
    start = np.zeros(values.shape[1])
    best = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS})
    return Linear(columns, scaling, best.x.astype(np.float32))


def train_network(
    choices: Sequence[Choice], columns: Columns, seed: int = 0, hidden: int = HIDDEN, epochs: int = 6
) -> Network:
    """A hidden layer with dropout, by AdamW in batches of sixteen lists."""
    import torch
    from torch import nn

    found = sampled(choices, columns, seed)
    scaling = scaled_as(found.rows, columns, ())
    values, hits = torch.from_numpy(scaling(found.rows)), torch.from_numpy(found.bought)
    lists = [torch.from_numpy(one) for one in found.lists]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inner, outer = nn.Linear(values.shape[1], hidden), nn.Linear(hidden, 1, bias=False)
        model = nn.Sequential(inner, nn.GELU(), nn.Dropout(0.1), outer)
        optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-3)
        for _ in range(epochs):
            for batch in torch.split(torch.randperm(len(lists)), 16):
                some = [lists[number] for number in batch.tolist()]
                scores = model(values[torch.cat(some)])[:, 0]
                losses = [
                    -torch.log_softmax(part, 0)[hits[one]].mean()
                    for one, part in zip(some, torch.split(scores, [len(one) for one in some]), strict=True)
                ]
                optimiser.zero_grad()
                torch.autograd.backward(torch.stack(losses).mean())
                optimiser.step()
    layers = (inner.weight.T, inner.bias, outer.weight[0])
    return Network(columns, scaling, *(layer.detach().numpy().copy() for layer in layers))


def scaled_as(rows: Floats, columns: Columns, relative: Sequence[str]) -> Scaling:
    """How rows of some columns come to a like size: by their means and spreads, except for ``relative`` ones."""
    there = np.isfinite(rows)
    counted = np.maximum(there.sum(0), 1)
    values = np.where(there, rows, 0.0).astype(np.float64)
    means = values.sum(0) / counted
    spreads = np.sqrt(np.where(there, np.square(values - means), 0.0).sum(0) / counted) + 1e-3
    return Scaling(
        means.astype(np.float32), spreads.astype(np.float32), np.isin(np.array(columns.features), list(relative))
    )
