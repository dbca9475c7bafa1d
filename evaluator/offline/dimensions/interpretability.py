"""Interpretability: can a score be explained, and is the explanation faithful to what the model does?

Some cases are drawn by the seed; of each, the contender's first item and its middle one are explained. Knows contenders
through their scores and :mod:`evaluator.offline.explanations`.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from evaluator.message import Text, joined, said
from evaluator.offline.data import Document, EvaluationData
from evaluator.offline.dimensions.dimension import Bench, Finding, Part, Reading, finding, mean_reading
from evaluator.offline.explanations import curves, reasons, reliance
from evaluator.offline.explanations.ablation import Ablation
from evaluator.offline.explanations.choice import explainer_of
from evaluator.offline.explanations.explanation import Explained, Explainer, Explanation, Side, target
from evaluator.offline.explanations.faithfulness import cosine
from evaluator.offline.explanations.sample import Sample, draw
from evaluator.offline.explanations.simulation import accuracy, by_items, by_words
from evaluator.offline.explanations.words import paraphrase
from evaluator.offline.measures.measure import Better
from evaluator.offline.resampling import Interval, Numbers, interval
from evaluator.offline.safety.privacy import Showable

NAME = "interpretability"

REPHRASED = 12
"""Cases whose query is explained again in other words' order and case; an explanation costs more than a score."""

PAIRS = 20
"""Pairs of items of a case whose order is told from an explanation."""

EXAMPLES = 10

LEAST = 15
"""Cases that a finding needs."""

NO_BETTER = 0.7
"""Random words beat random words half of the time; explanations are no better where this share is ruled out."""

MOSTLY = 0.5
"""The share of the attributions above which the brand is most of what is read."""

RARELY = 0.1
"""The share of the cases below which a query does not count."""

WORDS: dict[Side, str] = {"query": "query words", "item": "item words", "history": "past items"}


class Kind(NamedTuple):
    """A reading: which way is better, its unit, what it says."""

    better: Better | None
    says: str
    unit: str = ""


KINDS = {
    "comprehensiveness": Kind(
        "higher",
        "Fall of the score without the explanation's first 10, 20 and 50 % of the words, mean, in standard deviations "
        "of the contender's scores within a case (DeYoung et al. 2020).",
        "SD",
    ),
    "sufficiency": Kind(
        "lower",
        "Fall of the score when only the explanation's first 10, 20 and 50 % of the words are left, mean, in standard "
        "deviations (DeYoung et al. 2020); the lower, the more they say alone.",
        "SD",
    ),
    "deletion area": Kind(
        "lower",
        "Mean change of the score as words are taken out, the explanation's first ones first, in standard deviations "
        "(Petsiuk et al. 2018).",
        "SD",
    ),
    "insertion area": Kind(
        "higher",
        "Mean change from the whole text's score as words are put in, the explanation's first ones first, in standard "
        "deviations (Petsiuk et al. 2018).",
        "SD",
    ),
    "deletion over random": Kind("higher", "Deletion area of words in random order less the explanation's.", "SD"),
    "deletion over length-matched": Kind(
        "higher", "Deletion area of other words of the same lengths less the explanation's.", "SD"
    ),
    "insertion over random": Kind("higher", "Insertion area less that of words in random order.", "SD"),
    "insertion over length-matched": Kind("higher", "Insertion area less that of other words of equal lengths.", "SD"),
    "better than random": Kind(
        "higher",
        "Share of deletion and insertion curves that are better than those of a random order of the same words; "
        "0.5 is chance.",
    ),
    "simulatability": Kind(
        "higher",
        "Share of pairs of other items whose order the explanation alone tells, by the sum of the attributions of what "
        "an item shares; 0.5 is chance (after Doshi-Velez and Kim 2017).",
    ),
    "explained": Kind("higher", "Share of scores of which at least one word or past item says something."),
    "reason given": Kind("higher", "Share of scores of which a shelf's reason names at least one word or past item."),
    "reason comprehensiveness": Kind(
        "higher", "Fall of the score without what a shelf's reason names, in standard deviations.", "SD"
    ),
    "reason comprehensiveness over random": Kind(
        "higher", "The same less the fall without as many parts drawn at random.", "SD"
    ),
    "reason sufficiency": Kind(
        "lower", "Fall of the score when only what a shelf's reason names is left, in standard deviations.", "SD"
    ),
    "reason sufficiency over random": Kind(
        "higher", "Fall of the score when only as many parts drawn at random are left, less the same.", "SD"
    ),
    "reason simulatability": Kind(
        "higher",
        "Share of pairs of other items whose order the shelf's reasons alone tell, by how much of what they name an "
        "item shares; 0.5 is chance.",
    ),
    "completeness gap": Kind(
        "lower",
        "Difference between the attributions' sum and the score's difference to the baseline, as a share of this "
        "(completeness, Sundararajan et al. 2017).",
    ),
    "stability": Kind(
        "higher",
        "Cosine of the attributions with those of the same query, words reversed and in capitals; 1 is the same.",
    ),
    "reads the query": Kind(
        None, "Share of cases in which leaving out a query's word changes how far two items are apart."
    ),
    "brand share": Kind(
        None,
        "Share of the item's attributions, without their signs, that is on the brand, or on the first word where the "
        "brand is not known; each word's is how much the score falls without it.",
    ),
}


class Interpretability:
    """See the module."""

    name = NAME

    def further_items(self, data: EvaluationData, seed: int) -> Mapping[str, Document]:
        """As :func:`evaluator.offline.explanations.reliance.further_items`."""
        return reliance.further_items(data, seed)

    def measure(self, bench: Bench) -> Part:
        """Explain, then measure the explanations."""
        ablation = Ablation(bench.contender, bench.data)
        explainer = explainer_of(bench.contender, bench.data, ablation)
        sample = draw(bench, explainer, ablation)
        bench.progress(0.4)
        sides, told = curves.measured(sample), reasons.sides(sample)
        bench.progress(0.7)
        brand = reliance.brand_reliance(bench)
        values = {
            "explained": sample.values(lambda _, some: float(np.mean([_says(one) for one in some]))),
            **{_name(side, name): some for side in sides for name, some in curves.values(sample, sides[side]).items()},
            **{_name(side, "simulatability"): _simulatability(sample, side, lambda one: one) for side in sides},
            **{_name(side, name): some for side in told for name, some in reasons.values(sample, side).items()},
            **{_name(side, "reason simulatability"): _simulatability(sample, side, reasons.short) for side in told},
            "completeness gap": sample.values(lambda _, some: float(np.mean([one.gap for one in some]))),
            "stability": _stability(sample, explainer),
            "reads the query": reliance.reads_query(sample),
            "brand share": brand.shares,
        }
        readings = {
            name: _reading(bench, name, some, _note(name, sample, explainer))
            for name, some in values.items()
            if np.isfinite(some).any()
        }
        may = Showable(bench.data)
        shown = [place for place in sample.of if may(bench.data.cases[place])]
        details = {
            "method": explainer.name,
            "examples": [_example(sample, place) for place in shown[:EXAMPLES]],
            "curves": {WORDS[side]: curves.curves(of) for side, of in sides.items()},
        }
        return Part(readings=list(readings.values()), findings=list(_findings(readings, brand)), details=details)


def _says(one: Explained) -> bool:
    return any(side.says_something for side in one.sides.values())


def _name(side: Side, name: str) -> str:
    return f"{WORDS[side]}: {name}"


def _simulatability(sample: Sample, side: Side, as_told: Callable[[Explanation], Explanation]) -> Numbers:
    bench, items = sample.bench, sample.bench.data.items

    def simulated(place: int, some: Sequence[Explained]) -> float:
        known = [as_told(one.sides[side]) for one in some if side in one.sides]
        known = [one for one in known if one.says_something]
        if not known:
            return math.nan
        case, explained = bench.data.cases[place], {one.target.item for one in some}
        others = [number for number, item in enumerate(case.items) if item not in explained]
        says = by_items(known, lambda item: items[item].text) if side == "history" else by_words(known)
        sums = [says(items[case.items[number]].text) for number in others]
        scores = np.asarray(bench.scores[place], np.float64)[others]
        return accuracy(sums, scores, PAIRS, np.random.default_rng([bench.seed, place]))

    return sample.values(simulated)


def _stability(sample: Sample, explainer: Explainer) -> Numbers:
    """Of the first items of some searches."""
    cases = sample.bench.data.cases
    places = [place for place in sample.of if cases[place].query][:REPHRASED]
    firsts = [sample.of[place][0] for place in places]
    turned = [
        target(cases[place], one.target.item, paraphrase(cases[place].query))
        for place, one in zip(places, firsts, strict=True)
    ]
    found = np.full(len(cases), np.nan)
    for place, one, other in zip(places, firsts, explainer.explain(turned), strict=True):
        shown = [one.sides[side].attributions for side in one.sides]
        again = [other.sides[side].attributions[:: -1 if side == "query" else 1] for side in one.sides]
        found[place] = cosine(np.concatenate(shown), np.concatenate(again))
    return found


def _note(name: str, sample: Sample, explainer: Explainer) -> Text:
    if name == "brand share":
        return said("leave one out, best items of {count} sampled cases at most", count=reliance.BRANDED)
    if name == "stability":
        text = "{method}, first items of {count} sampled cases at most"
        return said(text, method=explainer.name, count=REPHRASED)
    text = "{method}, {count} sampled cases, first and middle item of each"
    told = said(text, method=explainer.name, count=len(sample.of))
    gaps = [one.gap for some in sample.of.values() for one in some]
    largest = said("the largest gap is {gap:.2%}", gap=max(gaps))
    return joined([told, largest]) if name == "completeness gap" else told


def _reading(bench: Bench, name: str, values: Numbers, note: Text) -> Reading:
    kind = KINDS[name.rpartition(": ")[2]]
    return mean_reading(
        values,
        bench.resampling,
        measure=name,
        dimension=NAME,
        better=kind.better,
        unit=kind.unit,
        says=kind.says,
        note=note,
    )


def _findings(readings: Mapping[str, Reading], brand: reliance.BrandReliance) -> Iterator[Finding]:
    def bounds(name: str) -> Interval | None:
        one = readings.get(name)
        known = one is not None and one.count >= LEAST
        return interval(np.array(one.replicates, np.float64)) if one is not None and known else None

    found = bounds("brand share")
    if found and found.low > max(MOSTLY, 2 * brand.words):
        text = (
            "It reads only the brand: {value:.0%} ({low:.0%} to {high:.0%}) of what moves its scores are brand words."
        )
        words = said("Brand words are {share:.0%} of the words.", share=brand.words)
        yield finding(NAME, "brand only", 0.85, said(text, **found._asdict()), words)
    found = bounds("reads the query")
    if found and brand.reads_items and found.high < RARELY:
        text = (
            "It ignores the query: in {share:.0%} of the cases no word of it changes how far two items' scores are "
            "apart."
        )
        yield finding(NAME, "ignores the query", 0.9, said(text, share=1 - found.value))
    for side in WORDS.values():
        found = bounds(f"{side}: better than random")
        if found and found.low <= 0.5 and found.high < NO_BETTER:
            text = (
                "Its explanations by {side} are no better than random ones: they beat these in {value:.0%} "
                "({low:.0%} to {high:.0%}) of deletion and insertion curves, chance is 50%."
            )
            yield finding(NAME, "random explanations", 0.4, said(text, side=side, **found._asdict()))


def _example(sample: Sample, place: int) -> dict[str, Any]:
    """A case as the report shows it: its first and its middle item with the attributions of words or past items."""
    data = sample.bench.data
    case = data.cases[place]
    scores = dict(zip(case.items, np.asarray(sample.bench.scores[place], np.float64).tolist(), strict=True))

    def shown(one: Explained) -> dict[str, Any]:
        sides = {
            WORDS[side]: [
                [data.items[part].text if side == "history" else part, round(value, 6)]
                for part, value in zip(explanation.parts, explanation.attributions.tolist(), strict=True)
            ]
            for side, explanation in one.sides.items()
        }
        return {"item": data.items[one.target.item].text, "score": scores[one.target.item], "attributions": sides}

    return {"query": case.query, "items": [shown(one) for one in sample.of[place]]}


DIMENSION = Interpretability()
