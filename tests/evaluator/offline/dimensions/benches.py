"""Small evaluation data and benches for tests of dimensions."""

from collections.abc import Callable, Sequence

import numpy as np

from evaluator.offline.contenders.contender import Scores
from evaluator.offline.data import Case, Document, EvaluationData
from evaluator.offline.dimensions.dimension import Bench
from evaluator.offline.resampling import Resampling

BRANDS = ("Acme", "Bolt", "Crown", "Delta")
THINGS = ("hose", "lamp", "drill", "tap", "saw")
COLOURS = ("red", "green", "blue", "white", "black", "grey")

Rank = Callable[[Case, EvaluationData], Scores]


class Ranker:
    """A contender by a function of one case and the data."""

    def __init__(self, rank: Rank) -> None:
        self.rank = rank

    def fit(self, data: EvaluationData) -> None:
        self.data = data

    def score(self, cases: Sequence[Case]) -> list[Scores]:
        return [self.rank(case, self.data) for case in cases]


def shop(cases: int = 200, seed: int = 0) -> EvaluationData:
    """Cases of ten candidates with grades that depend on nothing but chance; a fifth of the items is new."""
    chance = np.random.default_rng(seed)
    names = [(brand, thing, colour) for colour in COLOURS for thing in THINGS for brand in BRANDS]
    items = {
        f"i{number}": Document(f"{brand} {thing} {colour}", price=float(number % 9 + 1), first_seen=number)
        for number, (brand, thing, colour) in enumerate(names)
    }
    made = []
    for number in range(cases):
        shown = chance.choice(len(items), 10, replace=False)
        gains = chance.integers(0, 4, 10).astype(np.float64)
        query = THINGS[number % len(THINGS)]
        segment = {"query": "head" if number % 2 else "tail"}
        made.append(
            Case(f"c{number}", tuple(f"i{at}" for at in shown), gains, query, shopper=f"ann-{number}", segments=segment)
        )
    return EvaluationData("shop", "graded", made[: cases // 2 * 2], [], items, (0.0, 3.0))


def bench(data: EvaluationData, rank: Rank, draws: int = 400, **names: object) -> Bench:
    """A bench of a fitted contender."""
    ranker = Ranker(rank)
    ranker.fit(data)
    scores = ranker.score(data.cases)
    resampling = Resampling.of([case.group for case in data.cases], draws)
    return Bench(ranker, data, scores, None, resampling, 0, {"fit": 0.5, "score": 1.0}, **names)  # type: ignore[arg-type]


def by_gain(case: Case, _: EvaluationData) -> Scores:
    """The best order: only a test knows it."""
    return case.gains.copy()


def by_chance(case: Case, _: EvaluationData) -> Scores:
    """A random order."""
    return np.random.default_rng([*case.id.encode()]).random(len(case.items))
