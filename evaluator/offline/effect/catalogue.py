"""What of the catalogue the first ten show: coverage, novelty, diversity, serendipity.

Knows rankings, the training part and texts; nothing of contenders. A case counts only where it has more candidates than
are shown: else the first ten are the same whoever ranks.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

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
    yield from _diversity(bench, shown)
    if bench.data.task == "graded" or not bench.data.train:
        return
    known = popularity(bench.data)
    says = "Mean self-information of the first ten, in bits, by how often training shows them (Zhou et al. 2010)."
    total = known.total()
    yield _mean(bench, NOVELTY, says, {place: novelty(some, known, total) for place, some in shown.items()})
    says = "Share of the first ten that is relevant, new to the shopper and no best seller (Ge et al. 2010)."
    yield _mean(bench, "serendipity@10", says, _serendipities(bench.data, shown, known), better=True)


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


def serendipity(case: Case, shown: Sequence[str], best: Collection[str], least: float) -> float:
    """The share of the shown items that is relevant and unexpected: not acted on before, and no best seller.

    Examples
    --------
    >>> case = Case("c", ("a", "b", "c"), np.array([1.0, 1.0, 0.0]), history=("a",))
    >>> serendipity(case, ("a", "b", "c"), (), 0.0)
    0.3333333333333333
    """
    relevant = {case.items[place] for place in np.flatnonzero(case.gains > least)}
    expected = {*case.history, *best}
    return sum(item in relevant and item not in expected for item in shown) / len(shown)


def _serendipities(data: EvaluationData, shown: Shown, known: Counter[str]) -> dict[int, float]:
    best: dict[tuple[str, ...], list[str]] = {}  # cases of a feed share their candidates
    found = {}
    for place, some in shown.items():
        case = data.cases[place]
        if case.items not in best:
            counts = Counter({item: known[item] for item in case.items if known[item]})
            best[case.items] = [item for item, _ in counts.most_common(DEPTH)]
        found[place] = serendipity(case, some, best[case.items], data.span[0])
    return found


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


def _diversity(bench: Bench, shown: Shown) -> Iterator[Reading]:
    """Nothing where no item has a text, as in logs of decisions: an id stands for each there."""
    texts = {item: bench.data.items[item].text for some in shown.values() for item in some}
    if all(text == item for item, text in texts.items()):
        return
    of = {item: words(text) for item, text in texts.items()}
    values = {place: diversity([of[item] for item in some]) for place, some in shown.items()}
    says = "Mean Jaccard distance of the words of two of the first ten items: 0 where all texts have the same words."
    yield _mean(bench, DIVERSITY, says, values)


def _mean(bench: Bench, name: str, says: str, values: Mapping[int, float], better: bool = False) -> Reading:
    numbers: Numbers = np.full(len(bench.data.cases), np.nan)
    numbers[list(values)] = list(values.values())
    way = "higher" if better else None
    return mean_reading(numbers, bench.resampling, measure=name, dimension="effect", better=way, says=says)
