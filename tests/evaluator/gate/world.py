"""A made-up shop whose truth is known: lists of items, each bought with a probability that depends on its features."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from evaluator.gate.config import GateConfig
from evaluator.gate.dataset import GateRequest, RankedList
from evaluator.gate.gate import check
from evaluator.gate.thresholds import Check, Figure
from models.scorer import Floats
from models.training.examples import Example

Numbers = npt.NDArray[np.float64]
ITEMS, FEATURES = 6, 4
SLOPES = np.array([1.5, -1.0, 0.7, 0.0])
WORDS = ("garden", "hose", "lamp", "drill", "chair", "kettle", "ladder", "carpet", "window", "paint")


def asked(config: GateConfig, *figures: Figure) -> dict[str, Check]:
    """What the settings ask of figures, by the figures' names."""
    found = check(config.thresholds, figures, config.confidence)
    return {f"{one.measure} ({one.segment})" if one.segment else one.measure: one for one in found}


def sigmoid(logits: Numbers) -> Numbers:
    return np.asarray(1 / (1 + np.exp(-logits)), np.float64)


def rows(bought: Numbers) -> Floats:
    """Probabilities of the four intents, of which two happen."""
    nothing = np.zeros_like(bought)
    return np.stack([bought, nothing, nothing, 1 - bought], axis=-1).astype(np.float32)


def unlike(
    lists: int, shoppers: int, queries: int, by_shopper: float, by_query: float, seed: int
) -> tuple[Numbers, list[str], list[str]]:
    """Log losses of a challenger minus those of a champion, list by list, with each list's shopper and query.

    Both are equally good: their logits are off by normal errors of one size for each item, and of the given sizes for
    each shopper and for each query. A few shoppers have many of the lists, and a few queries; who clicks readily clicks
    readily everywhere.
    """
    chance = np.random.default_rng(seed)
    busy, asked = chance.gamma(1, 1, shoppers), 1 / np.arange(1, queries + 1) ** 0.7
    who = chance.choice(shoppers, lists, p=busy / busy.sum())
    what = chance.choice(queries, lists, p=asked / asked.sum()) if queries < lists else np.arange(lists)
    truth = chance.normal(-0.5, 1.9, (lists, ITEMS)) + chance.normal(0, 1, (shoppers, 1))[who]
    bought = chance.random(truth.shape) < sigmoid(truth)

    def losses() -> Numbers:
        off = chance.normal(0, by_shopper, (shoppers, 1))[who] + chance.normal(0, by_query, (queries, 1))[what]
        told = sigmoid(truth + chance.normal(0, 0.3, truth.shape) + off)
        return -np.asarray(np.log(np.where(bought, told, 1 - told)).sum(1), np.float64)

    return losses() - losses(), [f"shopper {one}" for one in who], [f"query {one}" for one in what]


class World:
    """``features`` [queries, items, features]; queries differ in how readily anything is bought (``moods``)."""

    def __init__(self, queries: int, seed: int) -> None:
        self.chance = np.random.default_rng(seed)
        self.features = self.chance.normal(size=(queries, ITEMS, FEATURES))
        moods = self.chance.normal(0, 0.5, (queries, 1))
        self.truth = self.features @ SLOPES - 0.5 + moods
        self.bought = self.chance.random((queries, ITEMS)) < sigmoid(self.truth)
        words = self.chance.choice(WORDS, (queries, 2))
        self.queries = [f"{a} {b} {number}" for number, (a, b) in enumerate(words)]
        self.places = {
            f"{query}/{item}": (row, item) for row, query in enumerate(self.queries) for item in range(ITEMS)
        }

    def examples(self) -> list[Example]:
        """Oldest first."""
        return [
            Example(
                query=query, item=f"{query}/{item}", intent="buy" if self.bought[row, item] else "ignore", position=item
            )
            for row, query in enumerate(self.queries)
            for item in range(ITEMS)
        ]

    def lists(self) -> list[RankedList]:
        """What :func:`evaluator.gate.dataset.ranked_lists` makes of the examples, oldest first, and sooner."""
        wanted = rows(self.bought.astype(float)).astype(np.float64)
        return [
            RankedList(
                GateRequest(query, (), tuple(f"{query}/{item}" for item in range(ITEMS))), wanted[row], np.ones(ITEMS)
            )
            for row, query in enumerate(self.queries)
        ]

    def erring(self, item: float, query: float) -> list[Floats]:
        """What a scorer says whose logits are off by normal errors of these sizes for each item and for each query."""
        off = self.chance.normal(0, item, self.truth.shape) + self.chance.normal(0, query, (len(self.queries), 1))
        return list(rows(sigmoid(self.truth + off)))

    def scorer(self, logits: Numbers) -> Callable[[Sequence[GateRequest]], list[Floats]]:
        """A scorer that knows logits [queries, items] by the items' texts."""
        bought = sigmoid(logits)

        def score(requests: Sequence[GateRequest]) -> list[Floats]:
            return [rows(np.array([bought[self.places[item]] for item in request.items])) for request in requests]

        return score
