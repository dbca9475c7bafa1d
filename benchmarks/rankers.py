"""What ranks candidates by their features: boosted trees, a network, and the linear first stage.

Knows features and what was bought; nothing of how they came about.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
import torch

from benchmarks.behaviour import FEATURES, Floats, Places
from benchmarks.feeds import Asked, Flags, Reals

SAMPLED = 100
"""Candidates of an order that trees learn from, beside those that were bought."""

FIRST = (
    "linear",
    "linear_week",
    "together_recent",
    "times_decayed",
    "bought_week",
    "bought_day",
    "text_nearest",
    "age",
)
"""Features of the first stage, which is linear and chooses a hundred candidates."""


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


class FirstStage:
    """Least squares on a few features: chooses the candidates that are ranked."""

    def __init__(self, asked: Sequence[Asked]) -> None:
        self._columns = np.array([FEATURES.index(name) for name in FIRST])
        rows = np.concatenate([self._input(one.features) for one in asked])
        hits = np.concatenate([one.hits for one in asked]).astype(np.float64)
        self._spreads = rows.std(0) + 1e-6
        rows = rows / self._spreads
        self._weights = np.linalg.solve(rows.T @ rows + len(rows) * 1e-4 * np.eye(rows.shape[1]), rows.T @ hits)

    def _input(self, features: Reals) -> Floats:
        values = np.nan_to_num(features[:, self._columns].astype(np.float64))
        values[:, -1] = np.log1p(values[:, -1])
        return np.column_stack([values, np.sqrt(np.maximum(values[:, :4], 0)), np.ones(len(values))])

    def scores(self, features: Reals) -> Floats:
        """Of each row, float64 [n]."""
        found: Floats = self._input(features) / self._spreads @ self._weights
        return found

    def kept(self, one: Asked) -> tuple[Flags, Flags]:
        """Which candidates are ranked: the best hundred of all, and of the new ones."""
        scores = self.scores(one.features)
        chosen = one.rank(scores)
        return np.isin(one.places, chosen.every), np.isin(one.places, chosen.new)
