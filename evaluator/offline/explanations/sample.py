"""Which scores are explained: of cases drawn by the seed, a contender's first item and its middle one.

Knows a bench and an explainer; nothing of what is then measured.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evaluator.offline.contenders.contender import PaidContender
from evaluator.offline.data import Case
from evaluator.offline.dimensions.dimension import Bench
from evaluator.offline.explanations.ablation import Ablation
from evaluator.offline.explanations.explanation import Explained, Explainer, Target, past, target
from evaluator.offline.resampling import Numbers
from models.words import words

SLOW_S = 0.25
"""A contender that takes longer for a case is slow, such as a service."""

SLOW = 8
"""Cases of a slow contender."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was explained.

    Attributes
    ----------
    scale
        The standard deviation of the contender's scores within a case: the unit of changes.
    of
        By place of the case, the explanations of its first and of its middle item.
    """

    bench: Bench
    ablation: Ablation
    scale: float
    of: Mapping[int, Sequence[Explained]]

    def values(self, number: Callable[[int, Sequence[Explained]], float]) -> Numbers:
        """float64 [cases] of a number of each case that was explained, NaN for all others."""
        found = np.full(len(self.bench.data.cases), np.nan)
        for place, some in self.of.items():
            found[place] = number(place, some)
        return found


def draw(bench: Bench, explainer: Explainer, ablation: Ablation) -> Sample:
    """Draw cases and explain."""
    cases = bench.data.cases
    drawn = np.random.default_rng(bench.seed).permutation(len(cases)).tolist()
    rich = [place for place in drawn if _rich(cases[place])][: affordable(bench, explainer.most)]
    targets = {place: _targets(cases[place], bench.scores[place]) for place in sorted(rich)}
    explained = iter(explainer.explain([one for some in targets.values() for one in some]))
    of = {place: [next(explained) for _ in some] for place, some in targets.items()}
    spread = [float(np.var(scores)) for scores in bench.scores if len(scores) > 1]
    return Sample(bench, ablation, math.sqrt(np.mean(spread)) if spread else 0.0, of)


def affordable(bench: Bench, cases: int) -> int:
    """How many cases to take: fewer of a slow contender, and of one that is paid."""
    each = bench.seconds.get("score", 0.0) / max(1, len(bench.data.cases))
    paid = isinstance(bench.contender, PaidContender)  # kept answers make it look fast
    return min(cases, SLOW) if paid or each > SLOW_S else cases


def _rich(case: Case) -> bool:
    """Whether there are two items, and two words or past items to tell apart."""
    parts = words(case.query) or past(case)
    return len(case.items) > 1 and len(parts) > 1


def _targets(case: Case, scores: Numbers) -> list[Target]:
    order = np.argsort(-np.asarray(scores), kind="stable")
    return [target(case, case.items[order[place]]) for place in (0, len(order) // 2)]
