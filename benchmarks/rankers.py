"""What ranks the candidates of orders: rankers of :mod:`models.training.rankers`, and two of them together.

Knows questions and rankers; nothing of how features come about.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.feeds import REFERENCE, Asked
from models.ranker import Columns, Linear, Network, Trees
from models.training.rankers import Choice, train_linear, train_network, train_trees
from streams.features.behaviour import FEATURES, Reals
from streams.features.items import Floats

MORE = (300, 0.05)
"""Trees and rate of a slower ranker, which is a little better."""


def choices(asked: Sequence[Asked], reference: bool = False) -> list[Choice]:
    """Answered questions, as rankers learn from them."""
    return [Choice(one.reference if reference else one.features, one.hits, one.new) for one in asked]


def trees(
    asked: Sequence[Asked],
    features: Sequence[str] = FEATURES,
    rounds: int = MORE[0],
    rate: float = MORE[1],
    reference: bool = False,
) -> Trees:
    """Trees over some features, or over some of the reference's."""
    columns = Columns.of(features, REFERENCE if reference else FEATURES)
    return train_trees(choices(asked, reference), columns, rounds=rounds, rate=rate)


def linear(asked: Sequence[Asked]) -> Linear:
    """The first stage."""
    return train_linear(choices(asked), Columns.of(FEATURES, FEATURES))


def network(asked: Sequence[Asked]) -> Network:
    """A network over all features."""
    return train_network(choices(asked), Columns.of(FEATURES, FEATURES))


@dataclass(frozen=True, slots=True)
class Blend:
    """Trees and a network, each scaled to mean 0 and deviation 1 over the candidates, added."""

    trees: Trees
    network: Network

    def scores(self, features: Reals) -> Floats:
        """Of each row, float64 [n]."""
        both = (self.trees.scores(features), self.network.scores(features))
        found: Floats = sum(((one - one.mean()) / max(float(one.std()), 1e-9) for one in both), np.zeros(len(features)))
        return found
