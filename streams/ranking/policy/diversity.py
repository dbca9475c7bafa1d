"""A shelf of different things: maximal marginal relevance.

Knows nothing of what the vectors mean.

Carbonell, J. and Goldstein, J. (1998). The use of MMR, diversity-based reranking for reordering documents and
producing summaries. SIGIR '98, 335-336.
"""

import numpy as np

from streams.ranking.policy.ranking import Ranking
from streams.ranking.policy.step import PolicyContext

_LEAST_POOL = 50


class Diversity:
    """Fills the shelf place by place with what is good and unlike what already stands there.

    Each place takes the item with the highest ``(1 - strength) * relevance - strength * similarity``: its score,
    scaled to 0..1 over the pool, against its highest cosine to an item already placed. The pool is the first
    ``max(2 * length, 50)`` places of the front; what is not picked keeps its order behind.

    Parameters
    ----------
    strength
        0 leaves the ranking as it is; 1 ignores the scores after the first place.
    """

    def __init__(self, strength: float) -> None:
        self._strength = np.float32(strength)

    def apply(self, ranking: Ranking, context: PolicyContext) -> Ranking:
        """Apply the rule."""
        pool = min(max(2 * context.length, _LEAST_POOL), ranking.front)
        if not self._strength or pool < 2:
            return ranking
        vectors = np.asarray(context.vectors(ranking.slots[:pool]), dtype=np.float32)
        penalties = (vectors @ vectors.T) * self._strength
        scores = ranking.scores[:pool]
        low, high = scores.min(), scores.max()
        relevance = (scores - low) * ((1 - self._strength) / max(high - low, np.float32(1e-9)))
        picked = [int(relevance.argmax())]
        highest = penalties[picked[0]].copy()
        for _ in range(min(context.length, pool) - 1):
            relevance[picked[-1]] = -np.inf
            best = int((relevance - highest).argmax())
            picked.append(best)
            np.maximum(highest, penalties[best], out=highest)
        rest = np.delete(np.arange(len(ranking)), picked)
        return ranking.reorder(np.concatenate((picked, rest)))
