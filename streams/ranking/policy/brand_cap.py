"""No brand fills the shelf. Knows nothing of how brands are named."""

import numpy as np

from streams.ranking.policy.ranking import Ranking
from streams.ranking.policy.step import PolicyContext


class BrandCap:
    """At most so many of one brand in front; the others stand behind, in their order, and are not lost.

    They are shown only when nothing else is left to fill the shelf, as for a query that names the brand.

    Parameters
    ----------
    most
        Items of one brand that may stand in front. Items without a brand are not counted.
    """

    def __init__(self, most: int) -> None:
        self._most = most

    def apply(self, ranking: Ranking, context: PolicyContext) -> Ranking:
        """Apply the rule."""
        if not ranking.front:
            return ranking
        brands = context.brands(ranking.slots[: ranking.front])
        # Sorted by brand, an item's number within its brand is its distance from the brand's first.
        order = np.argsort(brands, kind="stable")
        grouped = brands[order]
        number = np.empty(len(brands), dtype=np.intp)
        number[order] = np.arange(len(brands)) - np.searchsorted(grouped, grouped)
        over = (number >= self._most) & (brands >= 0)
        if not over.any():
            return ranking
        behind = np.arange(ranking.front, len(ranking))
        within = np.flatnonzero(~over)
        return ranking.reorder(np.concatenate((within, np.flatnonzero(over), behind)), len(within))
