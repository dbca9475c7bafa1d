"""Listings that sellers change, or that lack a part: which ones, as which further items, and what comes of it.

The changed listing is compared with an unchanged one that is as new: a contender that knows items by their ids knows
neither. Knows cases and contenders by their interfaces.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evaluator.gate.typing_errors import seeded
from evaluator.offline.contenders.contender import Scores
from evaluator.offline.data import Case, Document, EvaluationData, blind
from evaluator.offline.perturbations.lexicon import Lexicon, common_words
from evaluator.offline.perturbations.perturbation import STRENGTHS, Change, ListingPerturbation, every
from evaluator.offline.perturbations.shift import place_of, shift
from evaluator.offline.perturbations.trial import Outcome, Trial, sample

ATTACKED = 60
"""Cases in which a listing is changed."""

EMPTY = "~without a text"
"""Id of the listing without a text."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One listing of one case under one perturbation.

    Attributes
    ----------
    place, target
        Of the case, and of the listing among its candidates.
    control
        Id of the unchanged listing.
    changed
        Ids of the changed ones, by strength.
    """

    place: int
    target: int
    control: str
    changed: tuple[str, ...]


def kinds() -> list[ListingPerturbation]:
    """All perturbations of listings."""
    return [one for one in every() if isinstance(one, ListingPerturbation)]


def further_items(data: EvaluationData, seed: int) -> dict[str, Document]:
    """The listings of all attacks, by ids of their own, and one without a text."""
    found: dict[str, Document] = {}
    lexicon = Lexicon(common=common_words(data))
    for kind in kinds():
        for one in attacks(data, seed, kind):
            case = data.cases[one.place]
            document = data.items[case.items[one.target]]
            found[one.control] = document
            for strength, item in zip(STRENGTHS, one.changed, strict=True):
                asked = Change(document.text, strength, seeded(seed, item), lexicon, case.query)
                found[item] = replace(document, text=kind.of(asked))
    return found | {EMPTY: Document("")}


def attacks(data: EvaluationData, seed: int, kind: ListingPerturbation) -> Iterator[Attack]:
    """The listings that a perturbation changes: the same ones in every call."""
    for place in sample(data, seed)[:ATTACKED]:
        case = data.cases[place]
        gain = np.nanmin(case.gains) if kind.target == "least" else np.nanmax(case.gains)
        target = seeded(seed, case.id, kind.target).choice(np.flatnonzero(case.gains == gain).tolist())
        stem = f"{case.id}~{case.items[target]}"
        yield Attack(place, target, f"{stem}~0", tuple(f"{stem}~{kind.name}~{strength}" for strength in STRENGTHS))


def carried_out(trial: Trial, kind: ListingPerturbation, itemwise: bool) -> list[Outcome]:
    """What a perturbation of listings did, by strength."""
    data = trial.bench.data
    some = [one for one in attacks(data, trial.bench.seed, kind) if _differs(data, one)]
    scores = _itemwise(trial, kind, some) if itemwise else _listwise(trial, kind, some)
    found = [Outcome(kind.name, strength) for strength in STRENGTHS]
    for one, (before, *after) in zip(some, scores, strict=False):
        for outcome, changed in zip(found, after, strict=True):
            _record(outcome, data, one, before, changed)
    return found if scores else []


def _differs(data: EvaluationData, one: Attack) -> bool:
    return all(data.items[item].text != data.items[one.control].text for item in one.changed)


def _itemwise(trial: Trial, kind: ListingPerturbation, some: Sequence[Attack]) -> list[list[Scores]]:
    """Scores with the control and with each strength, from scores of the changed listings alone."""
    cases = trial.bench.data.cases
    scores = trial.score(kind.name, [blind(cases[one.place], items=(one.control, *one.changed)) for one in some])
    found = []
    for one, part in zip(some, scores or (), strict=False):
        before = _with(np.asarray(trial.bench.scores[one.place], np.float64), one.target, part[0])
        after = [
            np.append(before, part[1 : strength + 1]) if kind.copies else _with(before, one.target, part[strength])
            for strength in STRENGTHS
        ]
        found.append([before, *after])
    return found


def _listwise(trial: Trial, kind: ListingPerturbation, some: Sequence[Attack]) -> list[list[Scores]]:
    """The same, from scores of whole lists."""
    copies = []
    for one in some:
        case = trial.bench.data.cases[one.place]
        before = (*case.items[: one.target], one.control, *case.items[one.target + 1 :])
        copies.append(blind(case, items=before))
        for strength in STRENGTHS:
            instead = (*case.items[: one.target], one.changed[strength - 1], *case.items[one.target + 1 :])
            copies.append(blind(case, items=(*before, *one.changed[:strength]) if kind.copies else instead))
    scores, each = trial.score(kind.name, copies) or [], 1 + len(STRENGTHS)
    return [scores[start : start + each] for start in range(0, len(scores), each)]


def _with(scores: Scores, target: int, score: float) -> Scores:
    found = scores.copy()
    found[target] = score
    return found


def _record(outcome: Outcome, data: EvaluationData, one: Attack, before: Scores, after: Scores) -> None:
    """A copy is worth nothing to the shopper: its gain is the least one."""
    case, copies, least = data.cases[one.place], len(after) - len(before), data.span[0]
    more = one.changed[:copies]
    gains = np.append(case.gains, np.full(copies, least))
    longer = Case(case.id, (*case.items, *more), gains, case.query)
    beside = np.append(before, np.full(copies, before.min() - 1))
    outcome.shifts[one.place] = shift(longer, beside, after, least)
    was = place_of(before, one.target)
    listings = (one.target, *range(len(before), len(after)))
    outcome.gained[one.place] = was - place_of(after, *listings)
    outcome.above[one.place] = was - 1
