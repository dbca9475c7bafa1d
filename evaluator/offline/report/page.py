"""All that the report of one run shows, in the order of the page: verdict, findings, failures, quality against cost,
dimensions, disagreements, how numbers were made.

Pure: takes results, gives what templates draw. Knows nothing of languages or of files.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from evaluator.offline.data import Source
from evaluator.offline.report import charts
from evaluator.offline.report.charts import Costed, Front
from evaluator.offline.report.disagreements import Disagreements
from evaluator.offline.report.provenance import Provenance
from evaluator.offline.report.sections import Forest, Section, forest, sections
from evaluator.offline.run import Result
from evaluator.offline.spec import Spec
from evaluator.offline.summary import EFFECT, Named, Row, Summary

FIRST_SCREEN = 2
"""Findings of each contender that are shown at once; the others unfold."""

GRAVE, SERIOUS = 0.7, 0.4
"""Severities from which a finding is called so."""

LATENCY = ("latency_ms", "latency")
"""Measures that tell the time of a case, by name or by its beginning; the first that there is counts."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a contender costs. ``milliseconds`` are those of one case, by ``measure``; empty is this run's scoring."""

    milliseconds: float
    measure: str
    peak_mb: float
    fit_s: float


@dataclass(frozen=True, slots=True)
class Against:
    """A contender's findings, gravest first."""

    contender: str
    shown: list[Named]
    more: list[Named]


@dataclass(frozen=True, slots=True)
class Page:
    """See the module.

    Attributes
    ----------
    counts
        Cases, cases to learn from, items.
    """

    spec: Spec
    data_name: str
    task: Source
    counts: tuple[int, int, int]
    made: Provenance
    summary: Summary
    short: dict[str, str]
    marks: dict[str, int]
    costs: dict[str, Cost]
    findings: list[Against]
    against_winner: list[Named]
    overview: Forest | None
    front: Front | None
    on_front: list[str]
    sections: list[Section]
    disagreements: Disagreements | None
    measures: list[Row]
    results: Sequence[Result]


def page(
    spec: Spec,
    counts: tuple[int, int, int],
    results: Sequence[Result],
    summary: Summary,
    made: Provenance,
    disagreed: Disagreements | None,
) -> Page:
    """Everything that the report shows."""
    names = [result.contender for result in results]
    marks = {name: place for place, name in enumerate(names)}
    headline = [row for row in summary.rows if row.measure == summary.headline and row.dimension == EFFECT]
    overall = [row for row in headline if not row.segment and row.value is not None]
    costs = _costs(summary, results, counts[0])
    costed = [
        Costed(row.contender, costs[row.contender].milliseconds, row.value, row.low, row.high, marks[row.contender])
        for row in overall
        if row.value is not None and row.contender in costs
    ]
    return Page(
        spec=spec,
        data_name=made.files[0].name,
        task=spec.task,
        counts=counts,
        made=made,
        summary=summary,
        short=short_names(names),
        marks=marks,
        costs=costs,
        findings=_findings(summary),
        against_winner=[one for one in summary.findings if one.contender == summary.winner],
        overview=forest(_best_first(overall), marks, summary.reference) if overall else None,
        front=charts.front(costed) if len(costed) > 1 else None,
        on_front=[one.name for one in charts.on_front(costed)],
        sections=sections(summary, results),
        disagreements=disagreed,
        measures=list({(row.dimension, row.measure): row for row in reversed(summary.rows)}.values())[::-1],
        results=results,
    )


def severity(value: float) -> str:
    """A severity in three grades.

    Examples
    --------
    >>> severity(0.9), severity(0.5), severity(0.0)
    ('high', 'middle', 'low')
    """
    return "high" if value >= GRAVE else "middle" if value >= SERIOUS else "low"


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Names as they fit a column: folders without what is above them, where they stay different.

    Examples
    --------
    >>> short_names(["bm25", "cosine:models/a", "version:store#champion"])
    {'bm25': 'bm25', 'cosine:models/a': 'cosine:a', 'version:store#champion': 'version:champion'}
    >>> short_names(["cosine:some/model", "cosine:a/model"])
    {'cosine:some/model': 'cosine:some/model', 'cosine:a/model': 'cosine:a/model'}
    """
    cut = []
    for name in names:
        kind, colon, rest = name.partition(":")
        cut.append(kind + colon + rest.rstrip("/").rpartition("/")[2].rpartition("#")[2])
    return {name: one if cut.count(one) == 1 else name for name, one in zip(names, cut, strict=True)}


def _best_first(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: -(row.value or 0.0))


def _costs(summary: Summary, results: Sequence[Result], cases: int) -> dict[str, Cost]:
    rows = [row for row in summary.rows if row.unit == "ms" and row.value and row.value > 0 and not row.segment]
    timed = [row for begin in LATENCY for row in rows if row.measure.startswith(begin)]
    chosen = timed[0].measure if timed else ""
    told = {row.contender: row.value for row in timed if row.measure == chosen}
    found = {}
    for result in results:
        own = 1_000 * result.seconds.get("score", 0.0) / max(1, cases)
        taken = (told.get(result.contender) or 0.0) if chosen else own
        if taken > 0:
            found[result.contender] = Cost(taken, chosen, result.peak_mb, result.seconds.get("fit", 0.0))
    return found


def _findings(summary: Summary) -> list[Against]:
    found: dict[str, list[Named]] = {}
    for one in summary.findings:
        found.setdefault(one.contender, []).append(one)
    order = sorted(found, key=lambda name: (-found[name][0].finding.severity, name != summary.winner))
    return [Against(name, found[name][:FIRST_SCREEN], found[name][FIRST_SCREEN:]) for name in order]
