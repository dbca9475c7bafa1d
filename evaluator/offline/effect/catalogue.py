"""What of the catalogue the first ten show: coverage, novelty, diversity, serendipity.

Knows rankings, the training part and texts; nothing of contenders. A case counts only where it has more candidates than
are shown: else the first ten are the same whoever ranks.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from evaluator.offline.data import Case, EvaluationData
from evaluator.offline.dimensions.dimension import Bench, Reading, mean_reading
from evaluator.offline.resampling import Numbers
from models.measures.names import COVERAGE, DIVERSITY, NOVELTY
from models.measures.ranking import DEPTH
from models.measures.shelves import coverage, diversity, novelty, words

LEAST = 30
"""Cases with more candidates than are shown that these measures need."""

Shown = Mapping[int, tuple[str, ...]]
"""The first items of cases, by the case's place."""


def readings(bench: Bench) -> Iterator[Reading]:
    """Coverage, diversity, and where the training part tells what is bought or clicked, novelty and serendipity."""
    shown = firsts(bench)
    if len(shown) < LEAST:
        return
    yield _coverage(bench, shown)
    says = "Mean Jaccard distance of the words of two of the first ten items: 0 where all texts have the same words."
    of = {item: words(bench.data.items[item].text) for some in shown.values() for item in some}
    yield _mean(bench, DIVERSITY, says, {place: diversity([of[i] for i in some]) for place, some in shown.items()})
    if bench.data.task == "graded" or not bench.data.train:
        return
    known = popularity(bench.data)
    says = "Mean self-information of the first ten, in bits, by how often training shows them (Zhou et al. 2010)."
    total = known.total()
    yield _mean(bench, NOVELTY, says, {place: novelty(some, known, total) for place, some in shown.items()})
    says = "Share of the first ten that is relevant, new to the shopper and no best seller (Ge et al. 2010)."
    found = {
        place: serendipity(bench.data.cases[place], some, known, bench.data.span[0]) for place, some in shown.items()
    }
    yield _mean(bench, "serendipity@10", says, found, better=True)


def firsts(bench: Bench) -> dict[int, tuple[str, ...]]:
    """The first ten items of every case with more than ten candidates."""
    found = {}
    for place, (case, scores) in enumerate(zip(bench.data.cases, bench.scores, strict=True)):
        if len(case.items) > DEPTH:
            order = np.argsort(-scores, kind="stable")[:DEPTH]
            found[place] = tuple(case.items[rank] for rank in order)
    return found


def popularity(data: EvaluationData) -> Counter[str]:
    """How often each item is in the training part: shown in lists of clicks, bought in a feed's orders."""
    return Counter(item for case in data.train for item in case.items)


def serendipity(case: Case, shown: Sequence[str], known: Counter[str], least: float) -> float:
    """The share of the shown items that is relevant and unexpected.

    Examples
    --------
    >>> case = Case("c", ("a", "b", "c"), np.array([1.0, 1.0, 0.0]), history=("a",))
    >>> serendipity(case, ("a", "b", "c"), Counter(), 0.0)
    0.3333333333333333
    """
    gains = dict(zip(case.items, case.gains.tolist(), strict=True))
    expected = set(case.history) | {item for item, _ in _best(case, known)}
    hits = [item for item in shown if gains[item] > least and item not in expected]
    return len(hits) / len(shown)


def _best(case: Case, known: Counter[str]) -> list[tuple[str, int]]:
    counts = Counter({item: known[item] for item in case.items if known[item]})
    return counts.most_common(DEPTH)


def _coverage(bench: Bench, shown: Shown) -> Reading:
    candidates = {item for place in shown for item in bench.data.cases[place].items}
    return Reading(
        measure=COVERAGE,
        dimension="effect",
        better=None,
        value=coverage({item for some in shown.values() for item in some}, len(candidates)),
        count=len(shown),
        says="Share of all candidates that is among the first ten of any case.",
        note="no interval: it grows with the number of cases",
    )


def _mean(bench: Bench, name: str, says: str, values: Mapping[int, float], better: bool = False) -> Reading:
    numbers: Numbers = np.full(len(bench.data.cases), np.nan)
    numbers[list(values)] = list(values.values())
    way = "higher" if better else None
    return mean_reading(numbers, bench.resampling, measure=name, dimension="effect", better=way, says=says)
