"""Exposure and merit of groups of items, case by case.

A place's exposure is that of :mod:`models.measures.shelves`, as in the gate and on the live page. Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluator.offline.contenders.contender import Scores
from evaluator.offline.data import Case, EvaluationData
from evaluator.offline.resampling import Numbers, Resampling
from models.measures.shelves import shared


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """What each group of items has of each case.

    Attributes
    ----------
    names
        The groups.
    exposure, merit, ideal
        float64 [cases, groups]: of the exposure under a contender, of the gains (as much in sum as exposure, zero where
        no order is better than another), and of the exposure under the best order.
    total
        float64 [cases]: the exposure of the whole case; zero where no order of it is better than another.
    """

    names: tuple[str, ...]
    exposure: Numbers
    merit: Numbers
    ideal: Numbers
    total: Numbers

    def replicates(self, resampling: Resampling) -> tuple[Numbers, Numbers, Numbers]:
        """Shares of exposure, merit and ideal exposure on every draw: float64 [draws + 1, groups] each."""
        sums = (resampling.weights @ self.total)[:, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            one, two, three = (resampling.weights @ part / sums for part in (self.exposure, self.merit, self.ideal))
        return one, two, three


def merits(case: Case, least: float) -> Numbers:
    """Gains above the smallest possible one; zero where nobody judged."""
    return np.nan_to_num(case.gains - least, nan=0.0).clip(0.0)


def shares_of(data: EvaluationData, scores: Sequence[Scores], groups: Mapping[str, str]) -> Shares:
    """Exposure and merit of groups, over the cases in which an order can be good or bad.

    Parameters
    ----------
    groups
        An item's group; items without one count in the totals only.
    """
    names = tuple(sorted(set(groups.values())))
    number = {name: place for place, name in enumerate(names)}
    found = np.zeros((3, len(data.cases), len(names)))
    total = np.zeros(len(data.cases))
    numbers: dict[tuple[str, ...], npt.NDArray[np.intp]] = {}
    for row, (case, own) in enumerate(zip(data.cases, scores, strict=True)):
        gains = merits(case, data.span[0])
        if not case.decided or not gains.any():
            continue
        of = numbers.get(case.items)
        if of is None:
            of = numbers[case.items] = np.array([number.get(groups.get(item, ""), len(names)) for item in case.items])
        seen = shared(own)
        total[row] = seen.sum()
        parts = seen, gains * (total[row] / gains.sum()), shared(gains)
        for place, part in enumerate(parts):
            found[place, row] = np.bincount(of, part, len(names) + 1)[:-1]
    return Shares(names, found[0], found[1], found[2], total)


def gini(amounts: Numbers) -> float:
    """Gini's coefficient of amounts that are not negative: 0 where all are equal, towards 1 where one has all.

    Examples
    --------
    >>> gini(np.array([1.0, 1.0])), gini(np.array([0.0, 0.0, 0.0, 1.0])), gini(np.zeros(2))
    (0.0, 0.75, nan)
    """
    count, total = len(amounts), float(amounts.sum())
    if not count or total <= 0:
        return float("nan")
    ranks = np.arange(1, count + 1)
    return float((2 * ranks - count - 1) @ np.sort(amounts) / (count * total))


def centred(replicates: Numbers) -> Numbers:
    """Replicates of a figure that resampling makes larger, such as a distance, moved so that their mean is the figure
    of the data itself; their spread stays.

    Examples
    --------
    >>> centred(np.array([1.0, 2.0, 4.0])).tolist()
    [1.0, 0.0, 2.0]
    """
    drawn = replicates[1:]
    return np.concatenate([replicates[:1], drawn - np.nanmean(drawn) + replicates[0]]) if len(drawn) else replicates
