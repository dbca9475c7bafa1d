"""Small data for tests of the evaluation, and benches of contenders on it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from evaluator.offline.contenders.contender import Scores
from evaluator.offline.data import Case, Document, EvaluationData, Task
from evaluator.offline.dimensions.dimension import Bench
from evaluator.offline.effect.honesty import EMPTY
from evaluator.offline.resampling import Resampling


def graded(count: int = 100, each: int = 8, seed: int = 0, task: Task = "graded", train: Sequence[Case] = ()) -> Any:
    """Queries with graded items; grades are means of three graders from 1 to 3."""
    chance = np.random.default_rng(seed)
    cases, items = [], {EMPTY: Document("")}
    for number in range(count):
        names = tuple(f"{number}/{place}" for place in range(each))
        items |= {name: Document(f"item {name.replace('/', ' ')}") for name in names}
        gains = chance.integers(3, 10, each) / 3 if task == "graded" else (chance.random(each) < 0.2).astype(float)
        cases.append(Case(f"q{number}", names, gains, f"query {number}"))
    return EvaluationData("world", task, cases, train, items, (1.0, 3.0) if task == "graded" else (0.0, 1.0))


class Scorer:
    """A contender that gives scores by case and place, and crashes on texts if it is told to."""

    def __init__(self, scores: Sequence[Scores], fails: str = "") -> None:
        self._scores, self._fails = scores, fails

    def fit(self, data: EvaluationData) -> None:
        """Keep it."""

    def score(self, cases: Sequence[Case]) -> list[Scores]:
        """Of single cases only; their order is of no meaning to the dimension."""
        if self._fails == "query" and not cases[0].query:
            raise IndexError("string index out of range")
        if self._fails == "item" and EMPTY in cases[0].items:
            return [np.full(len(cases[0].items), np.nan)]
        return [np.zeros(len(case.items)) for case in cases]


def bench(
    data: EvaluationData,
    scores: Sequence[Scores],
    probabilities: Sequence[Scores] | None = None,
    fails: str = "",
    draws: int = 200,
) -> Bench:
    """A bench of scores that are known."""
    resampling = Resampling.of([case.group for case in data.cases], draws)
    return Bench(Scorer(scores, fails), data, scores, probabilities, resampling, 0, {"fit": 0.0, "score": 0.0})


def noisy(data: EvaluationData, noise: float, seed: int = 1) -> list[Scores]:
    """Scores that are the gains and noise."""
    chance = np.random.default_rng(seed)
    return [np.nan_to_num(case.gains) + noise * chance.normal(size=len(case.items)) for case in data.cases]
