"""The queries on which the two best contenders disagree most, with the first items of both lists.

Pure: takes results and scores. Shows a query only where `safety.privacy` allows it, and nothing of shoppers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluator.offline.contenders.contender import Scores
from evaluator.offline.data import Case, EvaluationData, spelled
from evaluator.offline.run import Result
from evaluator.offline.safety.privacy import Showable
from evaluator.offline.summary import EFFECT, Decision

MOST = 10
"""Queries shown."""

FIRST = 5
"""Items of each list."""

LONGEST = 160
"""Letters of an item's text that are shown."""

TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Listed:
    """An item as one contender placed it. ``gain`` is None where nobody judged it."""

    text: str
    gain: float | None
    only_here: bool


@dataclass(frozen=True, slots=True)
class Ranking:
    """One contender's first items of a query and its figure."""

    contender: str
    value: float
    items: list[Listed]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A query and both lists, the winner's first."""

    query: str
    rankings: tuple[Ranking, Ranking]


@dataclass(frozen=True, slots=True)
class Disagreements:
    """How often each of the two best is better, and the queries where they differ most.

    Attributes
    ----------
    hidden
        Whether queries with a larger difference were left out because too few shoppers asked them.
    """

    best: str
    second: str
    wins: int
    losses: int
    ties: int
    shown: list[Disagreement]
    hidden: bool


def disagreements(
    data: EvaluationData,
    results: Sequence[Result],
    decision: Decision,
    scores: tuple[Sequence[Scores], Sequence[Scores]],
) -> Disagreements | None:
    """Queries by the difference of the headline measure, largest first; None where there is nothing to compare.

    Parameters
    ----------
    scores
        Of the best and of the second, one array per case.
    """
    names = (decision.best, decision.second or "")
    one, other = (_values(results, name, decision.measure, len(data.cases)) for name in names)
    if one is None or other is None:
        return None
    gaps = np.nan_to_num(one - other)
    may, seen, shown, hidden = Showable(data), set[str](), list[Disagreement](), False
    for place in np.argsort(-np.abs(gaps), kind="stable").tolist():
        case = data.cases[place]
        if abs(gaps[place]) < TINY or len(shown) == MOST:
            break
        if spelled(case.query) in seen:
            continue
        seen.add(spelled(case.query))
        if not may(case):
            hidden = True
            continue
        lists = [_first(case, part[place]) for part in scores]
        values = (float(one[place]), float(other[place]))
        shown.append(Disagreement(case.query, _rankings(data, case, names, values, lists)))
    decided = ~np.isnan(one - other)
    counts = (int((sign * gaps[decided] > TINY).sum()) for sign in (1, -1))
    wins, losses = counts
    return Disagreements(*names, wins, losses, int(decided.sum()) - wins - losses, shown, hidden)


def _values(results: Sequence[Result], contender: str, measure: str, cases: int) -> Scores | None:
    for result in results:
        if result.contender == contender and (part := result.parts.get(EFFECT)):
            for one in part.readings:
                if one.measure == measure and not one.segment and len(one.cases) == cases:
                    return np.array([np.nan if value is None else value for value in one.cases], np.float64)
    return None


def _first(case: Case, scores: Scores) -> list[int]:
    """The places of the first items; ties are broken against the contender, as in the measures."""
    gains = np.nan_to_num(case.gains)
    found: list[int] = np.lexsort((gains, -np.asarray(scores)))[:FIRST].tolist()
    return found


def _rankings(
    data: EvaluationData, case: Case, names: tuple[str, str], values: tuple[float, float], lists: list[list[int]]
) -> tuple[Ranking, Ranking]:
    found = []
    for name, value, own, other in zip(names, values, lists, reversed(lists), strict=True):
        items = [
            Listed(
                _cut(data.items[case.items[place]].text),
                None if np.isnan(case.gains[place]) else float(case.gains[place]),
                place not in other,
            )
            for place in own
        ]
        found.append(Ranking(name, value, items))
    return found[0], found[1]


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST].rstrip()}…"
