"""All that the report of one run shows, in the order of the page: verdict, findings, failures, quality against cost,
dimensions, disagreements, how numbers were made.

Pure: takes results, gives what templates draw. Knows nothing of languages or of files.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from evaluator.message import Text
from evaluator.offline.data import Source
from evaluator.offline.dimensions.dimension import Finding
from evaluator.offline.effect import ties
from evaluator.offline.report import charts
from evaluator.offline.report.charts import Costed, Front
from evaluator.offline.report.disagreements import Disagreements
from evaluator.offline.report.provenance import Provenance
from evaluator.offline.report.sections import NO_DIMENSION, Forest, Section, common_note, forest, sections
from evaluator.offline.run import Failure, Result
from evaluator.offline.spec import Spec
from evaluator.offline.summary import EFFECT, Row, Summary

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
class Measured:
    """A measure by one of its figures, and the note that all of its figures over all cases have."""

    of: Row
    note: Text


@dataclass(frozen=True, slots=True)
class Ties:
    """In which share of the cases equal scores count against a contender, and its nDCG@10 with ties in random order."""

    share: float
    value: float


@dataclass(frozen=True, slots=True)
class Against:
    """What a reader has to know of a contender first: where it failed, and its findings, gravest first, one a kind."""

    contender: str
    failures: list[Failure]
    shown: list[Finding]
    more: list[Finding]


@dataclass(frozen=True, slots=True)
class Page:
    """See the module.

    Attributes
    ----------
    counts
        Cases, cases to learn from, items.
    findings, clear
        Contenders of which there is something to tell, gravest first, and those of which there is nothing.
    trusted
        The best contender without a grave finding, where that is not the winner.
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
    clear: list[str]
    against_winner: list[Finding]
    trusted: Row | None
    ties: dict[str, Ties]
    overview: Forest | None
    front: Front | None
    on_front: list[str]
    sections: list[Section]
    disagreements: Disagreements | None
    measures: list[Measured]
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
    found = _findings(summary, results)
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
        findings=found,
        clear=[name for name in names if name not in {one.contender for one in found}],
        against_winner=_kinds(summary, summary.winner),
        trusted=_trusted(summary, overall),
        ties=_ties(summary),
        overview=forest(_best_first(overall), marks, summary.reference) if overall else None,
        front=charts.front(costed) if len(costed) > 1 else None,
        on_front=[one.name for one in charts.on_front(costed)],
        sections=sections(summary, results),
        disagreements=disagreed,
        measures=_measures(summary),
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
    """Names as they fit a column, where they stay different: folders without what is above them, classes without
    their module.

    Examples
    --------
    >>> short_names(["bm25", "cosine:models/a", "version:store#champion"])
    {'bm25': 'bm25', 'cosine:models/a': 'cosine:a', 'version:store#champion': 'version:champion'}
    >>> short_names(["python:my.own:Class"])
    {'python:my.own:Class': 'Class'}
    >>> short_names(["cosine:some/model", "cosine:a/model"])
    {'cosine:some/model': 'cosine:some/model', 'cosine:a/model': 'cosine:a/model'}
    """
    cut = []
    for name in names:
        kind, colon, rest = name.partition(":")
        own = rest.rpartition(":")[2] if kind == "python" else ""
        cut.append(own or kind + colon + rest.rstrip("/").rpartition("/")[2].rpartition("#")[2])
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


def _measures(summary: Summary) -> list[Measured]:
    found: dict[tuple[str, str], list[Row]] = {}
    for row in summary.rows:
        found.setdefault((row.dimension, row.measure), []).append(row)
    return [Measured(rows[0], common_note(row for row in rows if not row.segment)) for rows in found.values()]


def _ties(summary: Summary) -> dict[str, Ties]:
    """Of contenders whose ties change the headline measure."""
    known = {(row.contender, row.measure): row.value for row in summary.rows if not row.segment}
    found = {}
    for contender in dict.fromkeys(row.contender for row in summary.rows):
        share, value, own = (known.get((contender, name)) for name in (ties.TIED, ties.AT_RANDOM, ties.OF))
        if share and value is not None and own is not None and summary.headline == ties.OF:
            found[contender] = Ties(share, value)
    return found


def _findings(summary: Summary, results: Sequence[Result]) -> list[Against]:
    told = []
    for result in results:
        kinds = _kinds(summary, result.contender)
        if kinds or result.failures:
            told.append(Against(result.contender, result.failures, kinds[:FIRST_SCREEN], kinds[FIRST_SCREEN:]))
    return sorted(told, key=lambda one: -_worst(one))


def _kinds(summary: Summary, contender: str | None) -> list[Finding]:
    """A contender's findings, gravest first; of the same kind only the gravest."""
    found: dict[str, Finding] = {}
    for one in summary.findings:
        if one.contender == contender:
            found.setdefault(one.finding.name, one.finding)
    return list(found.values())


def _worst(one: Against) -> float:
    """Where nothing works, that comes first."""
    return (
        1.0
        if any(failure.stage in NO_DIMENSION for failure in one.failures)
        else max((found.severity for found in one.shown), default=0.0)
    )


def _trusted(summary: Summary, rows: Sequence[Row]) -> Row | None:
    grave = {one.contender for one in summary.findings if one.finding.severity >= GRAVE}
    best = next((row for row in _best_first(rows) if row.contender not in grave), None)
    return None if best is None or best.contender == summary.winner else best
