"""The simple baselines: random order, best sellers, the order as it was shown.

Know cases and their gains in the training part; nothing of texts.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from evaluator.offline.contenders.contender import Scores, parameter
from evaluator.offline.data import Case, EvaluationData

DAY_MS = 86_400_000


class Random:
    """A random order, the same for the same case whatever else is ranked."""

    def __init__(self, seed: str = "") -> None:
        self.seed = int(parameter(seed, 0))

    def fit(self, data: EvaluationData) -> None:
        """Nothing to learn."""

    def score(self, cases: Sequence[Case]) -> list[Scores]:
        """Uniform numbers, seeded by the case's id."""
        return [np.random.default_rng([self.seed, *case.id.encode()]).random(len(case.items)) for case in cases]


class Popularity:
    """Best sellers: the sum of an item's gains in the training part, of the last days before it ends.

    Parameters
    ----------
    days
        How many days count; empty for all. Where the data has no times, all count.
    """

    def __init__(self, days: str = "") -> None:
        self.days = parameter(days, 0) if days else None
        self._sums: Counter[str] = Counter()

    def fit(self, data: EvaluationData) -> None:
        """Sum gains by item."""
        last = max((case.ts for case in data.train), default=0)
        since = last - self.days * DAY_MS if self.days is not None and last else -1.0
        low = data.span[0]
        for case in data.train:
            if case.ts > since:
                for item, gain in zip(case.items, case.gains, strict=True):
                    if gain > low:
                        self._sums[item] += gain - low

    def score(self, cases: Sequence[Case]) -> list[Scores]:
        """Each item's sum."""
        return [np.array([self._sums[item] for item in case.items], np.float64) for case in cases]


class AsShown:
    """The order in which the candidates stand: in logs of clicks, the shop's own ranking."""

    def __init__(self, _: str = "") -> None:
        pass

    def fit(self, data: EvaluationData) -> None:
        """Nothing to learn."""

    def score(self, cases: Sequence[Case]) -> list[Scores]:
        """Minus the place."""
        return [-np.arange(len(case.items), dtype=np.float64) for case in cases]


CONTENDERS = {"random": Random, "popularity": Popularity, "as_shown": AsShown}

CHECKS = {"random": Random, "popularity": Popularity}
