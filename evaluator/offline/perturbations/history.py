"""A shopper's past with gaps, or in another order.

Pure.
"""

import random
from collections.abc import Sequence

from evaluator.offline.perturbations.perturbation import HistoryPerturbation


def with_gaps(history: Sequence[str], strength: int, chance: random.Random) -> tuple[str, ...]:
    """A quarter, half or three quarters of the past are missing; one item stays.

    Examples
    --------
    >>> len(with_gaps(["a", "b", "c", "d"], 2, random.Random(0)))
    2
    """
    kept = max(1, len(history) - max(1, len(history) * strength // 4))
    return tuple(history[place] for place in sorted(chance.sample(range(len(history)), min(kept, len(history)))))


def shuffled(history: Sequence[str], strength: int, chance: random.Random) -> tuple[str, ...]:
    """A third, two thirds or all of the past stand in random order."""
    places = chance.sample(range(len(history)), len(history) * strength // 3)
    found = list(history)
    for place, other in zip(places, sorted(places), strict=True):
        found[place] = history[other]
    return tuple(found)


PERTURBATIONS = (
    HistoryPerturbation("past with gaps", with_gaps, "A quarter, half or three quarters of the past are missing."),
    HistoryPerturbation("past shuffled", shuffled, "A third, two thirds or all of the past stand in random order."),
)
