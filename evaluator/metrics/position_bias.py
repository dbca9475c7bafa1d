"""Position bias: the probability that a position is looked at, estimated from impressions.

Pure: counts and arithmetic. Estimated without experiments from items that were at several positions for the same query
(Agarwal et al. 2019, "Estimating Position Bias without Intrusive Interventions"). An item's relevance to a query does
not depend on its position, so differences between its positions are due to the positions.
"""

from collections import Counter, defaultdict

import numpy as np
import numpy.typing as npt

ROUNDS = 200
SETTLED = 1e-6

Cell = list[float]


class PositionBiasModel:
    """Examination propensities by position, relative to the first one.

    The position-based model says clicks = shown * theta(position) * gamma(query, item). Both are found by maximum
    likelihood under Poisson counts, by alternating updates. Only items of a query that were at several positions inform
    theta. It starts from each position's smoothed click rate. Positions that no such item links to others keep that
    start, which assumes a random ranking and so overstates the bias.

    Parameters
    ----------
    most
        The largest weight; larger inverse propensities are clipped to it. Rare clicks at low positions would otherwise
        dominate (Joachims et al. 2017 clip as well).
    cells
        How many combinations of query, item and position are kept; beyond that, the oldest are dropped.

    Examples
    --------
    One item is three times as relevant as the other; the second position is looked at half as often as the first:

    >>> positions = PositionBiasModel()
    >>> for item, place, shown, clicks in [("a", 0, 100, 60), ("a", 1, 10, 3), ("b", 0, 20, 4), ("b", 1, 100, 10)]:
    ...     positions.update("tv", item, place, clicks, shown)
    >>> [round(value, 3) for value in positions.get().values()]
    [1.0, 0.5]
    >>> round(positions.weight(1), 3)
    2.0
    """

    def __init__(self, most: float = 10.0, cells: int = 5_000_000) -> None:
        self.most, self.cells = most, cells
        self._cells: dict[tuple[str, str, int], Cell] = {}
        self._found: dict[int, float] | None = None

    def update(self, query: str, item: str, position: int, clicks: float, shown: float = 1.0) -> None:
        """Count impressions of an item at a position, and how many of them were clicked."""
        cell = self._cells.get((query, item, position))
        if cell is None:
            cell = self._cells[query, item, position] = [0.0, 0.0]
            if len(self._cells) > self.cells:
                del self._cells[next(iter(self._cells))]
        cell[0] += clicks
        cell[1] += shown
        self._found = None

    def weight(self, position: int) -> float:
        """Inverse propensity of a position, at most ``most``; 1 where it was never seen."""
        theta = self.get().get(position, 1.0)
        return min(1.0 / theta, self.most) if theta > 0 else self.most

    def get(self) -> dict[int, float]:
        """Propensity of each position seen, sorted by position; the first one's is 1 where it has any clicks."""
        if self._found is None:
            self._found = self._fit()
        return self._found

    def cautious(self, least: float = 20.0) -> list[float]:
        """Propensity of each position from the first to the last one seen, which does not overstate the bias.

        A position that items of several positions do not tell of, with at least so many clicks, counts as the one
        before it, and the first one as always looked at. Click rates of a good ranking fall even where all positions
        are looked at.

        Examples
        --------
        >>> positions = PositionBiasModel()
        >>> for item, place, shown, clicks in [("a", 0, 100, 60), ("a", 1, 100, 30), ("b", 2, 100, 1)]:
        ...     positions.update("tv", item, place, clicks, shown)
        >>> [round(value, 3) for value in positions.cautious()]
        [1.0, 0.5, 0.5]
        >>> [round(value, 3) for value in positions.get().values()]
        [1.0, 0.5, 0.022]
        """
        theta = self.get()
        linked, last, found = self._linked_clicks(), 1.0, list[float]()
        for place in range(max(theta, default=-1) + 1):
            if place and linked.get(place, 0.0) >= least:
                last = min(1.0, max(theta[place], 1.0 / self.most))
            found.append(last)
        return found

    def _linked_clicks(self) -> dict[int, float]:
        """Clicks at each position of items that were at several positions for the same query."""
        places = Counter(key[:2] for key in self._cells)
        found: dict[int, float] = defaultdict(float)
        for (query, item, place), (clicks, _) in self._cells.items():
            if places[query, item] > 1:
                found[place] += clicks
        return found

    def _fit(self) -> dict[int, float]:
        if not self._cells:
            return {}
        groups = {group: number for number, group in enumerate(dict.fromkeys(key[:2] for key in self._cells))}
        places = sorted({key[2] for key in self._cells})
        number = {place: row for row, place in enumerate(places)}
        group = np.array([groups[key[:2]] for key in self._cells])
        place = np.array([number[key[2]] for key in self._cells])
        clicks, shown = np.array(list(self._cells.values())).T
        theta = _sums(place, clicks + clicks.sum() / shown.sum(), len(places)) / _sums(place, shown + 1, len(places))
        if not theta.any():
            return dict.fromkeys(places, 1.0)
        spread = np.bincount(group)[group] > 1  # an item at only one position fits any theta
        linked = np.isin(np.arange(len(places)), place[spread])
        group, place, clicks, shown = group[spread], place[spread], clicks[spread], shown[spread]
        for _ in range(ROUNDS if len(group) else 0):
            expected = _sums(group, shown * theta[place], len(groups))
            gamma = _sums(group, clicks, len(groups)) / np.maximum(expected, 1e-12)
            wanted = np.maximum(_sums(place, shown * gamma[group], len(places)), 1e-12)
            better = np.where(linked, _sums(place, clicks, len(places)) / wanted, theta)
            moved = np.abs(better - theta).max()
            theta = better
            if moved < SETTLED:
                break
        first = theta[0] if theta[0] > 0 else theta.max()
        return dict(zip(places, (theta / first).tolist(), strict=True))


def _sums(which: npt.NDArray[np.intp], values: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    return np.bincount(which, values, minlength=count).astype(np.float64)
