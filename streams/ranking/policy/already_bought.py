"""What the shopper has bought is not offered again. Knows nothing of how purchases are kept."""

import numpy as np

from streams.ranking.policy.ranking import Ranking
from streams.ranking.policy.step import PolicyContext


class AlreadyBought:
    """Leaves out what the shopper has bought."""

    def apply(self, ranking: Ranking, context: PolicyContext) -> Ranking:
        """Apply the rule."""
        if not context.bought:
            return ranking
        fresh = [slot not in context.bought for slot in ranking.slots.tolist()]
        return ranking.keep(np.array(fresh, dtype=np.bool_))
