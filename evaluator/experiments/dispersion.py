"""How much more clicks vary than independent ones: shoppers differ, and impressions of one view are correlated.

Pure: takes impressions by shopper. The method of random groups (Wolter 2007, "Introduction to Variance Estimation",
chapter 2): correlation within shoppers makes random groups of shoppers differ more.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

import numpy as np

GROUPS = 64

UNKNOWN = 1e9
"""Used where there are too few shoppers to estimate the dispersion."""


class Dispersion:
    """Variance of one arm's click rate, as a multiple of that of independent clicks, from 64 groups of its shoppers.

    Its relative error is about a sixth, that of a chi-squared value with 63 degrees of freedom, however many shoppers
    there are. It is larger where few shoppers, or few who see most, fill fewer groups; :meth:`cautious` allows for it.

    Examples
    --------
    >>> equal, varied = Dispersion(), Dispersion()
    >>> for shopper in range(2_000):
    ...     for view in range(40):
    ...         equal.update(shopper, (7 * shopper + 11 * view) % 20 == 0)
    ...         varied.update(shopper, hash((shopper,)) % 20 == 0)
    >>> equal.get() < 1.5, varied.get() > 10
    (True, True)
    """

    def __init__(self) -> None:
        self._impressions = [0] * GROUPS
        self._clicks = [0] * GROUPS

    def update(self, shopper: int, clicked: bool) -> None:
        """Count an impression of a shopper, who is given as a hash."""
        group = shopper % GROUPS
        self._impressions[group] += 1
        self._clicks[group] += clicked

    def get(self) -> float:
        """The multiple; one where nothing is known."""
        shown, clicks = np.array(self._impressions), np.array(self._clicks)
        rate, groups = clicks.sum() / max(1, shown.sum()), self._groups()
        if not 0 < rate < 1 or groups <= 1:
            return 1.0
        apart = ((clicks - rate * shown) ** 2).sum() * groups / (groups - 1)
        return float(apart / (shown.sum() * rate * (1 - rate)))

    def cautious(self) -> float:
        """The multiple to divide evidence by. It is raised by ``d / (d - 2)``, the mean error of the inverse of an
        estimate with ``d`` degrees of freedom; very large where ``d`` is two or less."""
        freedom = self._groups() - 1
        return self.get() * freedom / (freedom - 2) if freedom > 2 else UNKNOWN

    def merge(self, other: "Dispersion") -> "Dispersion":
        """The sum of both counts."""
        found = Dispersion()
        found._impressions = [one + more for one, more in zip(self._impressions, other._impressions, strict=True)]
        found._clicks = [one + more for one, more in zip(self._clicks, other._clicks, strict=True)]
        return found

    def save(self) -> dict[str, Any]:
        """The state as plain values."""
        return {"impressions": list(self._impressions), "clicks": list(self._clicks)}

    @classmethod
    def load(cls, saved: Mapping[str, Sequence[int]]) -> "Dispersion":
        """Go on from what :meth:`save` gave."""
        found = cls()
        found._impressions, found._clicks = list(saved["impressions"]), list(saved["clicks"])
        if not len(found._impressions) == len(found._clicks) == GROUPS:
            raise ValueError(f"{len(found._impressions)} groups of shoppers were saved, {GROUPS} are in use")
        return found

    def _groups(self) -> float:
        """The effective number of groups (Kish): with few shoppers, about the number of shoppers."""
        shown = np.array(self._impressions, dtype=float)
        return float(shown.sum() ** 2 / max(1.0, (shown**2).sum()))


def hashed(shopper: str) -> int:
    """The hash that stands for a shopper here, and that assigns shoppers to groups."""
    return crc32(shopper.encode("utf-8", "surrogatepass"))


def of_ratio(own: Dispersion, clicks: int, other: Dispersion, other_clicks: int) -> float:
    """The dispersion of two arms' rate ratio, at least one: a log rate's variance is one over its clicks."""
    clicks, other_clicks = max(1, clicks), max(1, other_clicks)
    return max(1.0, (own.cautious() * other_clicks + other.cautious() * clicks) / (clicks + other_clicks))
