"""Robustness: does the order stand when a query is written differently, a past has gaps, or a seller changes a listing?

Every perturbation of the package ``perturbations`` at every strength, on a sample of cases. Pure but for the contender,
which it calls.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from evaluator.gate.typing_errors import seeded
from evaluator.message import Text, said
from evaluator.offline.data import Case, Document, EvaluationData, blind
from evaluator.offline.dimensions.dimension import Bench, Finding, Part, Reading, finding, mean_reading, optional
from evaluator.offline.perturbations import attack
from evaluator.offline.perturbations.lexicon import Lexicon
from evaluator.offline.perturbations.perturbation import (
    STRENGTHS,
    Change,
    HistoryPerturbation,
    ListingPerturbation,
    QueryPerturbation,
    every,
)
from evaluator.offline.perturbations.shift import FIRST, order
from evaluator.offline.perturbations.trial import Outcome, Trial, sample
from evaluator.offline.resampling import Numbers, interval
from evaluator.offline.safety.privacy import Showable
from models.measures.names import NDCG, RANK_CORRELATION, perturbed

NAME = "robustness"

Rewriting = QueryPerturbation | HistoryPerturbation

WORDS = 8
"""Queries of at most so many words are tried without each."""

CRASHES = {"an item without a text": "empty text", "an empty query": "empty query", "an empty past": "empty query"}
"""Names of findings that the effect makes too."""

SHOWN = 10
"""Queries and words that the report lists."""

FOOLED = 0.25
"""A share of the places above a listing; a change that surely lifts it by more fools the contender."""

SENSITIVE = 0.03
"""A loss of nDCG@10 by a slight change; a contender that surely loses more is sensitive to it."""

FIGURES = {
    "lost": ("ndcg@10 lost", "lower", "nDCG@10 before the change less nDCG@10 after it."),
    "overlap": (
        "top overlap",
        "higher",
        f"Share of the first {FIRST} items, in short lists of the first half, that are still among them.",
    ),
    "flipped": ("first place flips", "lower", "Share of cases in which another item comes first after the change."),
}

AS_THE_GATE = {
    "correlation": (RANK_CORRELATION, "Rank correlation of the scores before and after the change (Spearman)."),
    "after": (NDCG, "nDCG@10 after the change."),
}
"""What the gate measures of queries that are written differently, each with one slight change."""


class Robustness:
    """See the module."""

    name = NAME

    def further_items(self, data: EvaluationData, seed: int) -> Mapping[str, Document]:
        """Listings that sellers changed, and one without a text."""
        return attack.further_items(data, seed)

    def measure(self, bench: Bench) -> Part:
        """Queries or pasts, then single words, then listings, then what a careful contender survives."""
        trial, kinds, places = Trial(bench), every(), sample(bench.data, bench.seed)
        rewritings = [one for one in kinds if isinstance(one, Rewriting) and _concerns(one, bench.data)]
        listings = [one for one in kinds if isinstance(one, ListingPerturbation)]
        core = places[: trial.size(len(STRENGTHS) * len(rewritings) + 4)]
        lexicon = Lexicon.of(bench.data)
        outcomes: list[Outcome] = []
        for number, kind in enumerate(rewritings):
            outcomes += trial.outcomes(kind.name, list(_copies(kind, bench, places, len(core), lexicon)))
            bench.progress((number + 1) / (len(rewritings) + 3))
        replaced, without = _with_another_query(trial, core), _without_each_word(trial, core)
        bench.progress(0.9)
        itemwise = trial.itemwise(places)
        attacks = [(kind, attack.carried_out(trial, kind, itemwise)) for kind in listings]
        _probe(trial, places)
        readings = [*_figures(bench, outcomes), *_worst(bench, outcomes, core), *_single(bench, replaced, without)]
        readings += [reading for kind, some in attacks for reading in _of_attack(bench, kind, some)]
        says, may = {one.name: one.says for one in kinds}, Showable(bench.data)
        details = {
            "cases": len(core),
            "table": [
                _row(bench, one, says[one.name], may) for some in (outcomes, *(a for _, a in attacks)) for one in some
            ],
            "worst_queries": _worst_queries(bench, outcomes, may),
            "harmful_words": _harmful_words(bench, without, may),
            "crashes": {what: str(error) for what, error in trial.crashes.items()},
        }
        findings = [
            *_ignores(outcomes, replaced),
            *_crashes(trial),
            *_fooled(bench, attacks),
            *_sensitive(bench, rewritings, outcomes),
        ]
        return Part(readings=readings, findings=findings, details=details)


def _concerns(kind: Rewriting, data: EvaluationData) -> bool:
    searched = any(case.query for case in data.cases)
    return searched == isinstance(kind, QueryPerturbation)


def _copies(
    kind: Rewriting, bench: Bench, places: Sequence[int], most: int, lexicon: Lexicon
) -> Iterator[tuple[int, int, Case]]:
    """Changed copies of the first cases to which a perturbation applies."""
    for place in places:
        case, copies = bench.data.cases[place], []
        for strength in STRENGTHS:
            if isinstance(kind, QueryPerturbation):
                chance = seeded(bench.seed, kind.name, case.query)
                copy = blind(case, query=kind.of(Change(case.query, strength, chance, lexicon)))
            else:
                chance = seeded(bench.seed, kind.name, case.id)
                copy = blind(case, history=kind.of(case.history, strength, chance))
            if (copy.query, copy.history) != (case.query, case.history):
                copies.append((place, strength, copy))
        yield from copies
        most -= bool(copies)
        if not most:
            return


def _with_another_query(trial: Trial, core: Sequence[int]) -> list[Outcome]:
    """Each query replaced by that of another case."""
    cases, copies = trial.bench.data.cases, []
    for turn, place in enumerate(core):
        others = (cases[other].query for other in (*core[turn + 1 :], *core[:turn]))
        own = cases[place].query
        if own and (instead := next((query for query in others if query.casefold() != own.casefold()), "")):
            copies.append((place, 1, blind(cases[place], query=instead)))
    return trial.outcomes("another query", copies)


def _without_each_word(trial: Trial, core: Sequence[int]) -> list[Outcome]:
    """Each query without each of its words; an outcome for the first words, one for the second words, and so on."""
    copies = []
    for place in core:
        case = trial.bench.data.cases[place]
        words = case.query.split()
        if 2 <= len(words) <= WORDS:
            rest = [" ".join(words[:i] + words[i + 1 :]) for i in range(len(words))]
            copies += [(place, number, blind(case, query=query)) for number, query in enumerate(rest, 1)]
    return trial.outcomes("a query without one of its words", copies)


def _probe(trial: Trial, places: Sequence[int]) -> None:
    """Requests that no shop can rule out; only a failure counts."""
    case = trial.bench.data.cases[places[0]]
    probes = {"an item without a text": blind(case, items=(attack.EMPTY, *case.items[1:]))}
    if case.query:
        probes |= {
            "an empty query": blind(case, query=""),
            "a query of spaces": blind(case, query="   "),
            "a query of 20,000 letters": blind(case, query="garden " * 2_857),
            "a query of symbols": blind(case, query="\U0001f600 \u200b\u202e %00 \\ <b>"),
        }
    else:
        probes["an empty past"] = blind(case, history=())
    for what, copy in probes.items():
        trial.score(what, [copy])


def mean_of(columns: Sequence[Numbers]) -> Numbers:
    """The mean of several figures of each case, of those that it has; NaN where it has none.

    Examples
    --------
    >>> mean_of([np.array([1.0, np.nan, np.nan]), np.array([3.0, 4.0, np.nan])]).tolist()
    [2.0, 4.0, nan]
    """
    rows = np.array(columns, np.float64)
    counts = (~np.isnan(rows)).sum(axis=0)
    return np.where(counts, np.nansum(rows, axis=0) / np.maximum(counts, 1), np.nan)


def _reading(bench: Bench, measure: str, values: Numbers, better: Any, says: Text, segment: str = "") -> Reading:
    count = int((~np.isnan(values)).sum())
    note: Text = said("sample of {count} cases", count=count) if count < len(bench.data.cases) else ""
    names: dict[str, Any] = {"measure": measure, "better": better, "says": says, "segment": segment, "note": note}
    return mean_reading(values, bench.resampling, keep_cases=not segment, dimension=NAME, **names)


def _figures(bench: Bench, outcomes: Sequence[Outcome]) -> Iterator[Reading]:
    """Over all perturbations, by perturbation, and nDCG also by strength.

    Contenders are compared over all and by perturbation. Figures by strength are not compared: there are too many. The
    exception is what the gate measures, of the slightest change.
    """
    kinds = dict.fromkeys(one.name for one in outcomes)
    cases = len(bench.data.cases)
    for figure, (measure, better, says) in FIGURES.items():
        columns = {(one.name, one.strength): one.column(figure, cases) for one in outcomes}
        if not columns:
            continue
        every_one = said("{what} Mean over all perturbations.", what=says)
        yield _reading(bench, measure, mean_of(list(columns.values())), better, every_one)
        for kind in kinds:
            of_kind = mean_of([values for (name, _), values in columns.items() if name == kind])
            yield _reading(bench, measure, of_kind, better, says, f"perturbation: {kind}")
        for (name, strength), values in columns.items() if figure == "lost" else ():
            yield _reading(bench, measure, values, None, says, f"perturbation: {name}, strength {strength}")
    for one in outcomes:
        if one.strength == STRENGTHS[0]:
            for figure, (measure, says) in AS_THE_GATE.items():
                yield _reading(bench, measure, one.column(figure, cases), "higher", says, perturbed(one.name))


def _worst(bench: Bench, outcomes: Sequence[Outcome], core: Sequence[int]) -> Iterator[Reading]:
    """The largest loss of each case over the perturbations."""
    inside = np.isin(np.arange(len(bench.data.cases)), core)
    for segment, some in (
        ("", outcomes),
        *((f"strength: {n}", [one for one in outcomes if one.strength == n]) for n in STRENGTHS),
    ):
        if some:
            losses = np.fmax.reduce([one.column("lost", len(inside)) for one in some])
            says = "The largest loss of nDCG@10 that any perturbation brings a case, mean over cases."
            yield _reading(bench, "worst ndcg@10 lost", np.where(inside, losses, np.nan), "lower", says, segment)


def _single(bench: Bench, replaced: Sequence[Outcome], without: Sequence[Outcome]) -> Iterator[Reading]:
    """What another query changes, and what the most harmful word of a query does when it is missing."""
    cases = len(bench.data.cases)
    if replaced:
        says = "Share of cases in which another item comes first when the query is that of another case."
        yield _reading(bench, "another query flips", replaced[0].column("flipped", cases), "higher", says)
    if without:
        losses = np.fmax.reduce([one.column("lost", cases) for one in without])
        says = "Loss of nDCG@10 without the word whose absence harms most, of queries of two to eight words."
        yield _reading(bench, "worst missing word", losses, "lower", says)


def _by_place(values: Mapping[int, float], cases: int) -> Numbers:
    return np.array([values.get(place, np.nan) for place in range(cases)], np.float64)


def _of_attack(bench: Bench, kind: ListingPerturbation, outcomes: Sequence[Outcome]) -> Iterator[Reading]:
    """Places gained and nDCG lost, by perturbation, and by perturbation and strength."""
    cases = len(bench.data.cases)
    falls = not kind.finding and not kind.copies
    measure = "places lost" if falls else "places gained"
    way = "Places that the changed listing falls. {what}" if falls else "Places that the changed listing rises. {what}"
    says, loss = said(way, what=kind.says), said("{measure} {what}", measure=FIGURES["lost"][2], what=kind.says)
    gained = [(-1 if falls else 1) * _by_place(one.gained, cases) for one in outcomes]
    lost = [one.column("lost", cases) for one in outcomes]
    for name, of, text in ((measure, gained, says), (FIGURES["lost"][0], lost, loss)):
        if of:
            yield _reading(bench, name, mean_of(of), "lower", text, f"listing: {kind.name}")
        for one, values in zip(outcomes, of, strict=True):
            yield _reading(bench, name, values, None, text, f"listing: {kind.name}, strength {one.strength}")


def _row(bench: Bench, one: Outcome, says: str, may: Showable) -> dict[str, Any]:
    """A row of the report's table: figures as value, low and high."""
    cases = len(bench.data.cases)

    def bounds(values: Numbers) -> list[float | None]:
        return [optional(number) for number in interval(bench.resampling.mean(values))]

    row: dict[str, Any] = {"kind": one.name, "strength": one.strength, "cases": len(one.shifts), "says": says}
    row |= {figure: bounds(one.column(figure, cases)) for figure in FIGURES}
    row["places"] = bounds(_by_place(one.gained, cases)) if one.gained else None
    place = next((place for place in one.changed if may(bench.data.cases[place])), None)
    row["example"] = [bench.data.cases[place].query, one.changed[place]] if place is not None else None
    return row


def _worst_queries(bench: Bench, outcomes: Sequence[Outcome], may: Showable) -> list[dict[str, Any]]:
    """The cases that lose most by one perturbation, each once, with the ids of both orders; only those that may be
    shown."""
    worst: dict[int, Outcome] = {}
    for one in outcomes:
        for place, found in one.shifts.items():
            if found.lost > (worst[place].shifts[place].lost if place in worst else 0.0):
                worst[place] = one
    shown = (place for place in worst if may(bench.data.cases[place]))
    chosen = sorted(shown, key=lambda place: (-worst[place].shifts[place].lost, place))[:SHOWN]
    return [
        {
            "query": bench.data.cases[place].query,
            "changed": worst[place].changed[place],
            "kind": worst[place].name,
            "strength": worst[place].strength,
            "lost": worst[place].shifts[place].lost,
            "before": _first(bench.data.cases[place], np.asarray(bench.scores[place])),
            "after": _first(bench.data.cases[place], worst[place].after[place]),
        }
        for place in chosen
    ]


def _first(case: Case, scores: Numbers) -> list[str]:
    return [case.items[place] for place in order(scores)[:FIRST]]


def _harmful_words(bench: Bench, without: Sequence[Outcome], may: Showable) -> list[dict[str, Any]]:
    """The single words whose absence harms most, each with its query."""
    losses: defaultdict[str, list[tuple[float, str]]] = defaultdict(list)
    for one in without:
        for place, found in one.shifts.items():
            query = bench.data.cases[place].query
            if may(bench.data.cases[place]):
                losses[query.split()[one.strength - 1].casefold()].append((found.lost, query))
    means = {word: sum(lost for lost, _ in some) / len(some) for word, some in losses.items()}
    chosen = sorted((word for word in means if means[word] > 0), key=lambda word: (-means[word], word))[:SHOWN]
    return [
        {"word": word, "lost": means[word], "queries": len(losses[word]), "query": max(losses[word])[1]}
        for word in chosen
    ]


def _ignores(outcomes: Sequence[Outcome], replaced: Sequence[Outcome]) -> Iterator[Finding]:
    """A contender whose scores no query changes."""
    if not replaced or any(found.moved for one in (*outcomes, *replaced) for found in one.shifts.values()):
        return
    text = "It ignores the query: in none of {cases} cases does another query change a score."
    ways = said("Nor does any of {count} ways to write it differently.", count=len({one.name for one in outcomes}))
    yield finding(NAME, "ignores the query", 0.95, said(text, cases=len(replaced[0].shifts)), ways)


def _crashes(trial: Trial) -> Iterator[Finding]:
    for what, error in trial.crashes.items():
        told = said("It crashes on {what}: {error}.", what=what, error=error)
        yield finding(NAME, CRASHES.get(what, f"crashes on {what}"), 0.85, told)


def _fooled(bench: Bench, attacks: Sequence[tuple[ListingPerturbation, Sequence[Outcome]]]) -> Iterator[Finding]:
    """A contender that a seller lifts a listing in, at the strength that lifts it most."""
    cases = len(bench.data.cases)
    for kind, outcomes in attacks:
        if not kind.finding or not outcomes or not outcomes[0].gained:
            continue
        best = max(outcomes, key=lambda one: sum(one.gained.values()))
        gained, above = (bench.resampling.mean(_by_place(some, cases)) for some in (best.gained, best.above))
        share = interval(gained / np.where(above > 0, above, np.nan))
        if share.low > FOOLED:
            value, low, high = interval(gained)
            text = "{what}: an item rises {value:.1f} places ({low:.1f} to {high:.1f}) of the {above:.1f} above it."
            rises = said(text, what=kind.finding, value=value, low=low, high=high, above=above[0])
            text = "That is by {kind} of strength {strength} in {count} cases."
            how = said(text, kind=kind.name, strength=best.strength, count=len(best.gained))
            yield finding(NAME, kind.name, round(0.4 + 0.4 * share.value, 2), rises, how)


def _sensitive(bench: Bench, kinds: Sequence[Rewriting], outcomes: Sequence[Outcome]) -> Iterator[Finding]:
    """The slight change of a query's writing that surely costs most, if it costs much."""
    same = {one.name for one in kinds if isinstance(one, QueryPerturbation) and not one.asks_less}
    slight = [one for one in outcomes if one.strength == STRENGTHS[0] and one.name in same]
    found = [(interval(bench.resampling.mean(one.column("lost", len(bench.data.cases)))), one) for one in slight]
    surely = [(bounds, one) for bounds, one in found if bounds.low > SENSITIVE]
    if surely:
        (value, low, high), one = max(surely, key=lambda pair: pair[0].low)
        text = "It is sensitive to writing: {kind} of strength 1 cost {value:.3f} of nDCG@10 ({low:.3f} to {high:.3f})."
        yield finding(NAME, "sensitive", 0.5, said(text, kind=one.name, value=value, low=low, high=high))


DIMENSION = Robustness()
