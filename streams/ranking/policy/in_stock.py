"""What cannot be sold is not shown. Knows nothing of how stock is kept."""

from streams.ranking.policy.ranking import Ranking
from streams.ranking.policy.step import PolicyContext


class InStock:
    """Leaves out what is out of stock."""

    def apply(self, ranking: Ranking, context: PolicyContext) -> Ranking:
        """Apply the rule."""
        return ranking.keep(context.in_stock(ranking.slots))
