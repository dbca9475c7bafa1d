"""Leave one out: a word's, or a past item's, attribution is how much the score falls without it.

That is occlusion (Zeiler and Fergus 2014). It needs nothing but scores, so it explains every contender.
"""

from collections.abc import Sequence

import numpy as np

from evaluator.offline.explanations.ablation import Ablation, Reduced
from evaluator.offline.explanations.explanation import Explained, Explanation, Side, Target
from evaluator.offline.resampling import Numbers


class Occlusion:
    """See the module. A side of one part alone is not explained: nothing would be left of it."""

    name = "leave one out"
    most = 40

    def __init__(self, ablation: Ablation) -> None:
        self.ablation = ablation

    def explain(self, targets: Sequence[Target]) -> list[Explained]:
        """All sides that can be left out of."""
        wanted = [
            reduced
            for target in targets
            for side in self.ablation.sides
            for reduced in without_each(target, side, len(self.ablation.parts(target, side)))
        ]
        self.ablation.scores(wanted)  # all in one call; below they are known
        return [Explained(target, self._sides(target)) for target in targets]

    def _sides(self, target: Target) -> dict[Side, Explanation]:
        found: dict[Side, Explanation] = {}
        for side in self.ablation.sides:
            parts = self.ablation.parts(target, side)
            scores = self.ablation.scores(without_each(target, side, len(parts)))
            if len(scores):
                found[side] = Explanation(side, parts, falls(scores[0], scores[1:]))
        return found


def falls(full: float, without: Numbers) -> Numbers:
    """How much a score falls without each part; what is below rounding counts as nothing.

    Examples
    --------
    >>> falls(1.0, np.array([0.75, 1.0 - 1e-9])).tolist()
    [0.25, 0.0]
    """
    found = full - without
    return np.where(np.abs(found) <= 1e-6 * max(1.0, abs(full)), 0.0, found)


def without_each(target: Target, side: Side, count: int) -> list[Reduced]:
    """A target whole, then without each of its parts; nothing where there is one part at most."""
    if count < 2:
        return []
    every = tuple(range(count))
    return [
        Reduced(target, side, every),
        *(Reduced(target, side, every[:place] + every[place + 1 :]) for place in every),
    ]
