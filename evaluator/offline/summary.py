"""What a run shows: figures with intervals, differences from the reference, and the verdict.

Pure: takes results, gives values that the report, the gate file and the terminal print.
"""

import math
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from evaluator.gate.thresholds import Figure
from evaluator.message import Text
from evaluator.offline.data import Source
from evaluator.offline.dimensions.dimension import Finding, Reading, optional
from evaluator.offline.resampling import compare, holm, interval
from evaluator.offline.run import Result
from models.measures.names import NDCG

HEADLINE: dict[Source, str] = {"graded": NDCG, "clicks": NDCG, "feed": "ndcg@20", "held_out": NDCG}
"""The measure that decides who wins, by task."""

EFFECT = "effect"
"""The dimension of the headline measures."""

SURE = 0.05
"""A corrected p-value below it makes a difference sure."""


class Row(Figure, kw_only=True):
    """One contender's figure of one measure, and its difference from the reference's.

    Attributes
    ----------
    better
        Which way is better; None where neither is.
    p
        Two-sided, corrected for all comparisons of its dimension (Holm).
    detectable
        The smallest true difference that data of this size shows in four of five cases.
    """

    better: str | None
    says: Text
    p: float | None = None
    detectable: float | None = None

    @property
    def sure(self) -> bool:
        """Whether the difference is significant after the correction."""
        return self.p is not None and self.p < SURE


class Named(msgspec.Struct, kw_only=True):
    """A finding and whose it is."""

    contender: str
    finding: Finding


class Decision(msgspec.Struct, kw_only=True):
    """Who wins by the headline measure, and by how much over the second: what the verdict says, as values.

    Attributes
    ----------
    second
        None where only one contender was measured; the fields below it are None then too.
    sure
        Whether the difference is significant after the correction for all that the best could be compared with.
    detectable
        The smallest true difference that data of this size shows in four of five cases.
    """

    best: str
    measure: str
    value: float
    low: float | None = None
    high: float | None = None
    second: str | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    sure: bool | None = None
    detectable: float | None = None


class Summary(msgspec.Struct, kw_only=True):
    """All that is shown of a run.

    Attributes
    ----------
    verdict
        Who wins, by how much, and whether that is sure: one or two sentences.
    decision
        The same as values; None where no contender could be measured.
    counts
        How many shoppers and queries there are.
    confidence
        That of the intervals of differences.
    """

    reference: str
    headline: str
    winner: str | None
    verdict: str
    decision: Decision | None = None
    rows: list[Row]
    findings: list[Named]
    failures: dict[str, list[str]]
    counts: dict[str, int] = {}
    confidence: float = 0.95


def summarise(results: Sequence[Result], task: Source) -> Summary:
    """Figures, differences and verdict of a run; the first contender is the reference."""
    rows = list(_rows(results))
    _compare(rows, results)
    headline = HEADLINE[task]
    decision = _decide(rows, results, headline)
    found = [
        Named(contender=one.contender, finding=f)
        for one in results
        for part in one.parts.values()
        for f in part.findings
    ]
    return Summary(
        reference=results[0].contender,
        headline=headline,
        winner=decision.best if decision else None,
        verdict=sentence(decision),
        decision=decision,
        rows=rows,
        findings=sorted(found, key=lambda one: -one.finding.severity),
        failures={one.contender: [f"{f.stage}: {f.error}" for f in one.failures] for one in results if one.failures},
    )


def _readings(result: Result) -> Iterator[Reading]:
    for part in result.parts.values():
        yield from part.readings


def _rows(results: Sequence[Result]) -> Iterator[Row]:
    for result in results:
        for one in _readings(result):
            low, high = (math.nan, math.nan) if not one.replicates else interval(numbers(one.replicates))[1:]
            yield Row(
                contender=result.contender,
                measure=one.measure,
                dimension=one.dimension,
                segment=one.segment,
                unit=one.unit,
                better=one.better,
                value=one.value,
                low=optional(low),
                high=optional(high),
                count=one.count,
                note=one.note,
                says=one.says,
            )


def _compare(rows: Sequence[Row], results: Sequence[Result]) -> None:
    """Fill in every row's difference from the reference's, corrected within each dimension."""
    replicates = {
        (result.contender, one.measure, one.segment, one.dimension): numbers(one.replicates)
        for result in results
        for one in _readings(result)
        if one.replicates
    }
    reference = results[0].contender
    families: dict[str, list[tuple[Row, float]]] = {}
    for row in rows:
        key = (row.measure, row.segment, row.dimension)
        own, base = replicates.get((row.contender, *key)), replicates.get((reference, *key))
        if row.contender == reference or own is None or base is None or row.better is None:
            continue
        found = compare(own, base)
        row.reference = optional(base[0])
        row.difference, row.difference_low, row.difference_high, _, row.detectable = map(optional, found)
        families.setdefault(row.dimension, []).append((row, found.p))
    for family in families.values():
        for (row, _), p in zip(family, holm([p for _, p in family]), strict=True):
            row.p = optional(p)


def _decide(rows: Sequence[Row], results: Sequence[Result], headline: str) -> Decision | None:
    of = [row for row in rows if row.measure == headline and row.dimension == EFFECT and not row.segment]
    ranked = sorted((row for row in of if row.value is not None), key=lambda row: -(row.value or 0.0))
    if not ranked:
        return None
    best = ranked[0]
    decided = Decision(best=best.contender, measure=headline, value=best.value or 0.0, low=best.low, high=best.high)
    if len(ranked) > 1:
        decided.second = ranked[1].contender
        found = compare(*(numbers(_of(results, row.contender, headline).replicates) for row in ranked[:2]))
        decided.difference, decided.difference_low, decided.difference_high, _, decided.detectable = map(
            optional, found
        )
        decided.sure = found.p * (len(ranked) - 1) < SURE
    return decided


def sentence(decision: Decision | None) -> str:
    """The verdict in English.

    Examples
    --------
    >>> sentence(Decision(best="bm25", measure="ndcg@10", value=0.8, low=0.7, high=0.9))
    'bm25 ranks best: ndcg@10 0.8000 (0.7000 to 0.9000).'
    """
    if decision is None:
        return "No contender could be measured."
    value, low, high = map(_shown, (decision.value, decision.low, decision.high))
    said = f"{decision.best} ranks best: {decision.measure} {value} ({low} to {high})."
    if decision.second is None:
        return said
    low, high = (_shown(bound, "+") for bound in (decision.difference_low, decision.difference_high))
    said += f" That is {_shown(decision.difference)} above {decision.second} ({low} to {high}), "
    unsure = f"which is not sure: data of this size can only show {_shown(decision.detectable)} or more."
    return said + ("which is sure." if decision.sure else unsure)


def _of(results: Sequence[Result], contender: str, measure: str) -> Reading:
    return next(
        one
        for result in results
        if result.contender == contender
        for one in _readings(result)
        if one.measure == measure and one.dimension == EFFECT and not one.segment
    )


def numbers(values: Sequence[float | None]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Figures as an array, None as NaN."""
    return np.array([math.nan if value is None else value for value in values], np.float64)


def _shown(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.4f}"
