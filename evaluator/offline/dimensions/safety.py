"""Safety: how much of what shoppers see first is harmful, though they did not ask for it.

Exposure is the gate's, of the first ten. Knows values and the classifiers of ``evaluator.offline.safety``; nothing of
how contenders work.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from evaluator.message import Text, said
from evaluator.offline.data import Document, EvaluationData
from evaluator.offline.dimensions.dimension import Bench, Finding, Part, Reading, finding, optional
from evaluator.offline.fairness.groups import ranked
from evaluator.offline.resampling import Interval, Numbers, interval
from evaluator.offline.safety.classifier import Classify, every
from models.measures.shelves import shared

NAME = "safety"

TOLD = 0.001
"""The share of harmful exposure above which a reader is told."""

EXAMPLES = 20
"""Harmful items that a report lists, those with the most exposure."""


class Safety:
    """See the module."""

    name = NAME

    def further_items(self, data: EvaluationData, seed: int) -> Mapping[str, Document]:  # noqa: ARG002
        """None."""
        return {}

    def measure(self, bench: Bench) -> Part:
        """The share of exposure that is harmful by every classifier, beside that of the candidates."""
        part = Part()
        for name, classify in every().items():
            _classified(bench, name, classify, part)
        return part


def _classified(bench: Bench, name: str, classify: Classify, part: Part) -> None:
    cases = bench.data.cases
    items = ranked(bench.data)
    texts = [bench.data.items[item].text for item in items]
    queries = [case.query for case in cases]
    told = list(classify([*texts, *queries]))
    harm = dict(zip(items, told[: len(items)], strict=True))
    asked = [bool(one) for one in told[len(items) :]]
    names = sorted({category for category in harm.values() if category})
    seen, there = _per_case(bench, harm, asked, names)
    beside = f" ({name})" if name != "words" else ""
    text = "classifier {name}; {count} cases whose query asks for such content are left out"
    note = said(text, name=name, count=sum(asked))
    overall = bench.resampling.mean(seen.sum(axis=1))
    part.readings.append(
        _reading(
            overall,
            seen,
            f"harmful exposure{beside}",
            "Share of the exposure of the first ten that goes to harmful content nobody asked for.",
            note,
        )
    )
    part.readings += [
        _reading(
            bench.resampling.mean(seen[:, place]),
            seen,
            f"harmful exposure{beside}",
            "Share of the exposure of the first ten that goes to harmful content nobody asked for, of one category.",
            note,
            f"category: {category}",
        )
        for place, category in enumerate(names)
    ]
    candidates = bench.resampling.mean(there)
    part.readings.append(
        _reading(
            candidates,
            seen,
            f"harmful candidates{beside}",
            "Share of the candidates that is harmful: what a random order would show.",
            note,
        )
    )
    part.details[name] = [] if bench.data.hide_texts else _examples(bench, harm, asked)
    part.findings += _finding(name, interval(overall), interval(candidates), names, seen)


def _per_case(
    bench: Bench, harm: Mapping[str, str], asked: Sequence[bool], names: Sequence[str]
) -> tuple[Numbers, Numbers]:
    """Shares of exposure, float64 [cases, categories], and of the candidates, float64 [cases]; NaN if asked for."""
    number = {category: place for place, category in enumerate(names)}
    numbers: dict[tuple[str, ...], npt.NDArray[np.intp]] = {}  # cases of a feed share their candidates
    seen, there = np.full((len(asked), len(names)), np.nan), np.full(len(asked), np.nan)
    for row, (case, scores) in enumerate(zip(bench.data.cases, bench.scores, strict=True)):
        if asked[row] or not case.items:
            continue
        if case.items not in numbers:
            numbers[case.items] = np.array([number.get(harm[item], len(names)) for item in case.items], np.intp)
        of = numbers[case.items]
        exposed = shared(scores)
        seen[row] = np.bincount(of, exposed, len(names) + 1)[:-1] / exposed.sum()
        there[row] = float((of < len(names)).mean())
    return seen, there


def _examples(bench: Bench, harm: Mapping[str, str], asked: Sequence[bool]) -> list[dict[str, object]]:
    """The harmful items with the most exposure."""
    sums: dict[str, float] = {}
    for case, scores, wanted in zip(bench.data.cases, bench.scores, asked, strict=True):
        if not wanted:
            seen = shared(scores)
            for place in np.flatnonzero(seen):
                if harm[item := case.items[place]]:
                    sums[item] = sums.get(item, 0.0) + float(seen[place])
    most = sorted(sums, key=lambda item: (-sums[item], item))[:EXAMPLES]
    return [
        {"item": item, "text": bench.data.items[item].text, "category": harm[item], "exposure": sums[item]}
        for item in most
    ]


def _finding(name: str, overall: Interval, candidates: Interval, names: Sequence[str], seen: Numbers) -> list[Finding]:
    if not overall.low > TOLD:
        return []
    means = np.nanmean(seen, axis=0)
    text = "{value:.2%} ({low:.2%} to {high:.2%}) of the exposure goes to harmful content that nobody asked for."
    told = [said(text, **overall._asdict())]
    text = "{share:.2%} of the candidates are harmful, by the classifier {name}."
    told.append(said(text, share=candidates.value, name=name))
    worst = [place for place in np.argsort(-means)[:3].tolist() if means[place] > 0]
    told += [said("Of {category}: {share:.2%}.", category=names[place], share=means[place]) for place in worst]
    return [finding(NAME, "harmful", 0.7 if overall.low > candidates.high else 0.4, *told)]


def _reading(replicates: Numbers, seen: Numbers, measure: str, says: str, note: Text, segment: str = "") -> Reading:
    value = optional(replicates[0])
    return Reading(
        measure=measure,
        dimension=NAME,
        segment=segment,
        value=value,
        better="lower" if measure.startswith("harmful exposure") else None,
        replicates=[] if value is None else np.where(np.isfinite(replicates), replicates, value).tolist(),
        count=int((~np.isnan(seen).any(axis=1)).sum()),
        says=says,
        note=note,
    )


DIMENSION = Safety()
