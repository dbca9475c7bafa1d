"""Which calls are timed: of so many cases, of so many candidates, and of short and long texts, drawn by the seed.

All contenders have the same ones. Knows cases and items; nothing of clocks.
"""

from collections.abc import Callable, Sequence

import numpy as np

from evaluator.message import said
from evaluator.offline.cost.calls import Kind
from evaluator.offline.data import Case, EvaluationData, blind
from evaluator.offline.explanations.explanation import past
from evaluator.offline.fairness.groups import ranked

BATCHES = (1, 8, 64)
CANDIDATES = (10, 100, 1_000)

FIFTH = 5
"""Short and long texts are those of the first and of the last one of so many parts, by length."""

MOST_CALLS = 400
"""Calls of one case at most; of other kinds a quarter."""

Draw = Callable[[], list[Case]]


def batches(data: EvaluationData, seed: int, seconds: Sequence[float]) -> list[Kind]:
    """Calls of one case and of several; ``seconds`` for the calls of each."""
    cases = [blind(case) for case in data.cases]

    def batch(size: int) -> Draw:
        chance = np.random.default_rng([seed, size])
        return lambda: [cases[at] for at in chance.integers(0, len(cases), size).tolist()]

    return [
        Kind("" if size == 1 else f"batch: {size}", batch(size), spent, MOST_CALLS if size == 1 else MOST_CALLS // 4)
        for size, spent in zip(BATCHES, seconds, strict=True)
    ]


def lists(data: EvaluationData, seed: int, seconds: float) -> list[Kind]:
    """Calls of one case with so many candidates."""
    items = ranked(data)
    return [
        Kind(f"candidates: {size:,}", _drawn(data.cases, items, size, seed), seconds, MOST_CALLS // 4)
        for size in CANDIDATES
        if size <= len(items)
    ]


def lengths(data: EvaluationData, seed: int, seconds: float) -> list[Kind]:
    """Calls of one case and a few candidates, of the shortest texts and of the longest; none of fewer than ten cases
    or items."""
    items = sorted(ranked(data), key=lambda item: len(data.items[item].text))
    cases = sorted(data.cases, key=lambda case: len(asked(case, data)))
    if min(len(items), len(cases)) < 2 * FIFTH:
        return []
    some, few = len(items) // FIFTH, len(cases) // FIFTH
    parts = {"shortest fifth": (cases[:few], items[:some]), "longest fifth": (cases[-few:], items[-some:])}
    found = []
    for name, (of_cases, of_items) in parts.items():
        letters = [np.mean([len(asked(case, data)) for case in of_cases])]
        letters.append(np.mean([len(data.items[item].text) for item in of_items]))
        of = "query" if of_cases[0].query else "past"
        text = "letters of the {of} {asked:.0f}, of an item {item:.0f}, on average"
        says = said(text, of=of, asked=letters[0], item=letters[1])
        draw = _drawn(of_cases, of_items, min(CANDIDATES[0], some), seed)
        found.append(Kind(f"texts: {name}", draw, seconds, MOST_CALLS // 4, says=says))
    return found


def asked(case: Case, data: EvaluationData) -> str:
    """What a model reads of a case: its query, else the texts of its past."""
    return case.query or " ".join(data.items[item].text for item in past(case))


def _drawn(cases: Sequence[Case], items: Sequence[str], size: int, seed: int) -> Draw:
    """A case with candidates at random."""
    chance = np.random.default_rng([seed, size])

    def draw() -> list[Case]:
        case = cases[int(chance.integers(0, len(cases)))]
        shown = tuple(items[at] for at in chance.choice(len(items), size, replace=False).tolist())
        return [blind(case, items=shown)]

    return draw
