"""One place of the shelf given to chance, with the true probability of what stands there.

Knows nothing of what is learned from it.
"""

from random import Random

import numpy as np

from streams.ranking.candidates import EXPLORED
from streams.ranking.policy.ranking import Ranking
from streams.ranking.policy.step import PolicyContext


class Exploration:
    """Now and then shows a candidate that did not make it to the shelf, so that its worth can be learned.

    With probability ``epsilon`` the item at ``position`` gives way to one drawn uniformly from the ``m`` candidates
    outside the shelf. Propensities are then exact: at that place ``1 - epsilon`` for the item of the ranking and
    ``epsilon / m`` for each of the others; 1 at all other places, which chance does not touch. Where nothing can be
    drawn, or the shelf ends before the place, nothing is left to chance and all are 1.

    Candidates that a rule has set behind the others are drawn only when the shelf holds such items anyway.

    Must be the last step: what a later one did would make the logged propensities untrue.

    Parameters
    ----------
    epsilon
        Probability of exploring, 0 to 1.
    position
        The place given to chance, from 0.
    """

    def __init__(self, epsilon: float, position: int) -> None:
        self._epsilon = epsilon
        self._position = position

    def apply(self, ranking: Ranking, context: PolicyContext) -> Ranking:
        """Apply the rule."""
        end = ranking.front if ranking.front >= context.length else len(ranking)
        outside = end - context.length
        if not self._epsilon or outside < 1 or self._position >= context.length:
            return ranking
        chance = Random(context.seed)
        propensities = ranking.propensities.copy()
        if chance.random() >= self._epsilon:
            propensities[self._position] *= 1 - self._epsilon
            return Ranking(ranking.slots, ranking.scores, ranking.reasons, propensities, ranking.front)
        drawn = context.length + chance.randrange(outside)
        order = np.arange(len(ranking))
        order[[self._position, drawn]] = drawn, self._position
        reasons = ranking.reasons[order]
        reasons[self._position] |= EXPLORED
        propensities[self._position] = self._epsilon / outside
        return Ranking(ranking.slots[order], ranking.scores[order], reasons, propensities, ranking.front)
