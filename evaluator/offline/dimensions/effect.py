"""Effect: is the order right, are the probabilities, and for which cases?

Every measure of the package ``measures`` over all cases and by segment; the first ten as part of the catalogue; bounds
where results are not judged; off-policy value where propensities are logged; for contenders that give probabilities
also log loss, calibration and the four intents. Pure, but for a few more cases that the contender scores.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from evaluator.message import Text, joined, said
from evaluator.offline.data import Document, EvaluationData
from evaluator.offline.dimensions.dimension import Bench, Finding, Part, Reading, finding, mean_reading
from evaluator.offline.effect import catalogue, honesty, logged, probabilities, ties, unjudged
from evaluator.offline.measures import measure
from evaluator.offline.resampling import Numbers, interval
from models.measures.names import ECE, NDCG

BY_SEGMENT = (NDCG,)
"""Measures that are also told by segment."""

LEAST = 30
"""Cases that a segment needs for a figure of its own."""

NAME = "effect"


class Effect:
    """See the module."""

    name = NAME

    def further_items(self, data: EvaluationData, seed: int) -> Mapping[str, Document]:  # noqa: ARG002
        """An item without a text."""
        return honesty.empty_item()

    def measure(self, bench: Bench) -> Part:
        """Measures over all cases, then by segment; then what the parts of the package ``effect`` add."""
        found = Part(findings=list(_ties(bench)))
        values = _values(bench)
        for one in measure.every():
            if np.isnan(values[one.name]).all():
                continue
            common: dict[str, Any] = {"measure": one.name, "dimension": NAME, "better": one.better, "says": one.says}
            note = _note(bench, one.name)
            found.readings.append(mean_reading(values[one.name], bench.resampling, note=note, **common))
            if one.name in BY_SEGMENT:
                found.readings += self._segments(bench, values[one.name], common)
                found.readings += ties.readings(bench)
        bench.progress(0.5)
        of_probabilities = probabilities.part(bench)
        for some in (unjudged, catalogue, logged):
            found.readings += some.readings(bench)
        found.readings += of_probabilities.readings
        found.details |= of_probabilities.details
        bench.progress(0.8)
        calibration = [one for one in of_probabilities.readings if one.measure == ECE and one.segment]
        found.findings += honesty.findings(bench, values[NDCG], calibration)
        return found

    def _segments(self, bench: Bench, values: Numbers, common: Mapping[str, Any]) -> Iterator[Reading]:
        names = [[f"{by}: {name}" for by, name in case.segments.items()] for case in bench.data.cases]
        counts = Counter(name for some in names for name in some)
        for segment in sorted(name for name, count in counts.items() if count >= LEAST):
            inside = np.array([segment in some for some in names])
            part = np.where(inside, values, np.nan)
            yield mean_reading(part, bench.resampling, keep_cases=False, segment=segment, **common)


def _values(bench: Bench) -> dict[str, Numbers]:
    """Each measure's number of each case."""
    least = bench.data.span[0]
    pairs = zip(bench.data.cases, bench.scores, strict=True)
    judged = [measure.judged(case, scores, least) for case, scores in pairs]
    return {one.name: np.array([one.of(case) for case in judged], np.float64) for one in measure.every()}


def _note(bench: Bench, name: str) -> Text:
    """What a figure is to be read with: a random order's nDCG, and how few the candidates are."""
    told = []
    low, high = bench.data.span
    if name.startswith("ndcg@") and (at := name.removeprefix("ndcg@")).isdigit():
        base = np.array([honesty.chance_ndcg(case, low, int(at)) for case in bench.data.cases])
        text = "gains {low:g} to {high:g} less {low:g}; a random order has {base:.4f}"
        told.append(said(text, low=low, high=high, base=np.nanmean(base)))
    if bench.data.task != "feed":
        count = np.mean([len(case.items) for case in bench.data.cases])
        text = "of the {kind} candidates only, {count:.0f} a case of {items:,} items"
        kind = "judged" if bench.data.task == "graded" else "shown"
        items = len(bench.data.items) - len(bench.data.further)
        told.append(said(text, kind=kind, count=count, items=items))
    return joined(told)


def _ties(bench: Bench) -> Iterator[Finding]:
    """A model whose scores say nothing of most cases."""
    flat = np.array([np.ptp(scores) < 1e-12 if len(scores) > 1 else np.nan for scores in bench.scores])
    found = interval(bench.resampling.mean(flat))
    if found.low > 0.5:
        told = said("It gives all items of {share:.0%} of the cases the same score.", share=found.value)
        yield finding(NAME, "constant", 0.9, told)


DIMENSION = Effect()
