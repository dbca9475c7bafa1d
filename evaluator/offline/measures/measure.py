"""What a measure is, and how measures are found.

Knows gains and scores of one case; nothing of contenders or of how cases are resampled.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from evaluator.offline import measures
from evaluator.offline.contenders.contender import Scores
from evaluator.offline.data import Case, Gains
from models.measures.ranking import ranked

Better = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class Judged:
    """One case as a contender ranked it, judged items only.

    Attributes
    ----------
    gains
        float64 [n]: gains above the smallest possible one, in the order of the ranking, best first. Ties are broken
        against the contender: of equal scores the lesser gain comes first.
    items
        Their ids, in the same order.
    """

    case: Case
    gains: Gains
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Measure:
    """A number of each case.

    Attributes
    ----------
    name
        As in reports, such as ``ndcg@10``.
    of
        The number of a judged case; NaN where it is undefined.
    says
        What it is, in one sentence for people, with its formula's source.
    """

    name: str
    of: Callable[[Judged], float]
    says: str
    better: Better = "higher"


def every() -> list[Measure]:
    """All measures, by module and in its order: the ``MEASURES`` of every module of the package.

    Examples
    --------
    >>> [measure.name for measure in every()][:2]
    ['ndcg@10', 'mrr']
    """
    found: list[Measure] = []
    for module in sorted(one.name for one in pkgutil.iter_modules(measures.__path__)):
        found += getattr(importlib.import_module(f"{measures.__name__}.{module}"), "MEASURES", ())
    return found


def judged(case: Case, scores: Scores, least: float) -> Judged:
    """A case as ranked by scores; ``least`` is the smallest gain that a judgement can have.

    Examples
    --------
    >>> case = Case("c", ("a", "b", "c"), np.array([1.0, 3.0, np.nan]))
    >>> judged(case, np.array([0.1, 0.1, 0.9]), least=1.0).gains.tolist()
    [0.0, 2.0]
    """
    known = np.flatnonzero(~np.isnan(case.gains))
    order = known[ranked(case.gains[known], np.asarray(scores)[known])]
    return Judged(case, case.gains[order] - least, tuple(case.items[place] for place in order))
