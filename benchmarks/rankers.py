"""What ranks candidates by their features: boosted trees, and a network, linear without hidden units.

Knows features and what was bought; nothing of how they came about.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
import torch

from benchmarks.feeds import Asked
from streams.features.behaviour import Reals
from streams.features.items import Floats, Places

SAMPLED = 100
"""Candidates of an order that trees learn from, beside those that were bought."""


@dataclass(frozen=True, slots=True)
class Trees:
    """LightGBM over some columns: a listwise objective over an order's candidates, and again over the new ones alone.

    A shelf may leave out what was bought before, so the order of new items counts as much as that of all.
    """

    columns: Places
    model: Any

    @classmethod
    def train(
        cls,
        asked: Sequence[Asked],
        columns: Places,
        rounds: int = 300,
        rate: float = 0.05,
        reference: bool = False,
        seed: int = 0,
    ) -> "Trees":
        """Learn from orders; of an order's candidates those bought and a sample of the others."""
        chance = np.random.default_rng(seed)
        rows, labels, sizes = [], [], []
        for one in asked:
            hits = one.hits
            kept = np.zeros(len(hits), bool)
            kept[chance.permutation(len(hits))[:SAMPLED]] = True
            kept |= hits
            values = (one.reference if reference else one.features)[:, columns]
            for some in (kept, kept & ~one.old[one.places]):
                if hits[some].any():
                    rows.append(values[some])
                    labels.append(hits[some])
                    sizes.append(int(some.sum()))
        settings: dict[str, Any] = {
            "objective": "rank_xendcg",
            "num_leaves": 15,
            "learning_rate": rate,
            "min_data_in_leaf": 100,
            "feature_fraction": 0.6,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            "lambda_l2": 5.0,
            "num_threads": 1,
            "deterministic": True,
            "seed": seed + 1,
            "objective_seed": seed + 1,
            "verbosity": -1,
        }
        data = lightgbm.Dataset(np.concatenate(rows), np.concatenate(labels).astype(np.int32), group=sizes)
        return cls(columns, lightgbm.train(settings, data, num_boost_round=rounds))

    def scores(self, features: Reals) -> Floats:
        """Of each row, float64 [n]."""
        return np.asarray(self.model.predict(features[:, self.columns], num_threads=1), np.float64)


class Net:
    """A network over the features, linear without hidden units: a softmax over an order's candidates."""

    def __init__(self, asked: Sequence[Asked], hidden: int, epochs: int = 6, seed: int = 0) -> None:
        torch.manual_seed(seed)
        every = np.concatenate([one.features for one in asked[:400]])
        self._means, self._spreads = np.nanmean(every, 0), np.nanstd(every, 0) + 1e-3
        width = 2 * every.shape[1]
        middle = [torch.nn.Linear(width, hidden), torch.nn.GELU(), torch.nn.Dropout(0.1)] if hidden else []
        self.model = torch.nn.Sequential(*middle, torch.nn.Linear(hidden or width, 1))
        optimiser = torch.optim.AdamW(self.model.parameters(), lr=2e-3, weight_decay=1e-3)
        lists = [
            (self._input(one.features[some]), torch.from_numpy(one.hits[some]))
            for one in asked
            for some in (np.ones(len(one.places), bool), ~one.old[one.places])
            if one.hits[some].any()
        ]
        for _ in range(epochs):
            for batch in torch.split(torch.randperm(len(lists)), 16):
                losses = []
                for number in batch.tolist():
                    values, hits = lists[number]
                    losses.append(-torch.log_softmax(self.model(values)[:, 0], 0)[hits].mean())
                optimiser.zero_grad()
                torch.autograd.backward(torch.stack(losses).mean())
                optimiser.step()
        self.model.eval()

    def _input(self, features: Reals) -> torch.Tensor:
        scaled = (features - self._means) / self._spreads
        missing = np.isnan(scaled)
        joined = np.concatenate([np.where(missing, 0.0, scaled).clip(-4, 4), missing], 1)
        return torch.from_numpy(joined.astype(np.float32))

    @torch.inference_mode()
    def scores(self, features: Reals) -> Floats:
        """Of each row, float64 [n]."""
        return np.asarray(self.model(self._input(features))[:, 0].numpy(), np.float64)


@dataclass(frozen=True, slots=True)
class Blend:
    """Trees and a network, each scaled to mean 0 and deviation 1 over the candidates, added."""

    trees: Trees
    net: Net

    def scores(self, features: Reals) -> Floats:
        """Of each row, float64 [n]."""
        both = (self.trees.scores(features), self.net.scores(features))
        found: Floats = sum(((one - one.mean()) / max(float(one.std()), 1e-9) for one in both), np.zeros(len(features)))
        return found
