"""A dimension's section of the report: all its measures, each against the reference, by segment.

Pure: takes the summary's rows, gives what templates draw. Knows nothing of languages.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaluator.message import Text
from evaluator.offline.report import charts
from evaluator.offline.report.charts import Axis, Tick, Whisker
from evaluator.offline.run import Result
from evaluator.offline.summary import EFFECT, Named, Row, Summary

NO_DIMENSION = ("scoring", "process")
"""Stages of a failure that are of no dimension."""

MANY = 50
"""How many times the smallest figure the largest must be for a logarithmic axis."""

LANE = 11.0
"""Height of a contender's dot in a segment's chart."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure of a table; ``row`` is None where there is none."""

    row: Row | None
    best: bool


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """A measure, or a segment, and every contender's figure."""

    name: str
    of: Row
    cells: list[Cell]


@dataclass(frozen=True, slots=True)
class ForestLine:
    """A contender's figure of one measure with its dot and whisker, and a note that is of this figure alone."""

    row: Row
    dot: Whisker | None
    note: Text


@dataclass(frozen=True, slots=True)
class Forest:
    """One measure of all contenders on one scale.

    Attributes
    ----------
    reference
        Where the reference's figure stands; None where it has none.
    note
        What holds for all of the figures.
    """

    of: Row
    ticks: list[Tick]
    reference: float | None
    lines: list[ForestLine]
    note: Text


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """A segment: every contender's dot in a lane of its own, and the figures."""

    name: str
    dots: list[Whisker]
    cells: list[Cell]


@dataclass(frozen=True, slots=True)
class SegmentTable:
    """One measure by one grouping of the cases."""

    of: Row
    grouping: str
    ticks: list[Tick]
    height: float
    rows: list[SegmentRow]


@dataclass(frozen=True, slots=True)
class Section:
    """All that the report shows of a dimension."""

    name: str
    contenders: list[str]
    matrix: list[MatrixRow]
    forests: list[Forest]
    segments: list[SegmentTable]
    findings: list[Named]
    failures: dict[str, Text]
    details: dict[str, Mapping[str, Any]]


def sections(summary: Summary, results: Sequence[Result]) -> list[Section]:
    """A section for each dimension that was measured or failed, in the order of the results."""
    failed = [failure.stage for result in results for failure in result.failures]
    measured = [name for result in results for name in result.parts]
    order = dict.fromkeys(sorted([*measured, *failed], key=lambda name: name != EFFECT))
    return [_section(name, summary, results) for name in order if name not in NO_DIMENSION]


def _section(name: str, summary: Summary, results: Sequence[Result]) -> Section:
    rows = [row for row in summary.rows if row.dimension == name]
    contenders = [result.contender for result in results if name in result.parts]
    marks = {result.contender: place for place, result in enumerate(results)}
    whole = _by_measure(row for row in rows if not row.segment)
    parts = _by_measure(row for row in rows if row.segment)
    groupings = {
        (measure, _grouping(row)): [other for other in some if _grouping(other) == _grouping(row)]
        for measure, some in parts.items()
        for row in some
    }
    failures = {
        result.contender: failure.error for result in results for failure in result.failures if failure.stage == name
    }
    return Section(
        name,
        contenders,
        [MatrixRow(measure, some[0], _cells(some, contenders)) for measure, some in whole.items()],
        [forest(some, marks, summary.reference) for some in whole.values()],
        [_segments(grouping, some, contenders, marks) for (_, grouping), some in groupings.items()],
        [one for one in summary.findings if one.finding.dimension == name],
        failures,
        {result.contender: result.parts[name].details for result in results if _has_details(result, name)},
    )


def _has_details(result: Result, name: str) -> bool:
    return name in result.parts and bool(result.parts[name].details)


def _by_measure(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.measure, []).append(row)
    return found


def _grouping(row: Row) -> str:
    return row.segment.partition(": ")[0] if ": " in row.segment else ""


def _cells(rows: Sequence[Row], contenders: Sequence[str]) -> list[Cell]:
    of = {row.contender: row for row in rows}
    values = {name: row.value for name, row in of.items() if row.value is not None}
    better = rows[0].better
    best = None
    if better is not None and len(values) > 1 and len(set(values.values())) > 1:
        best = max(values.values()) if better == "higher" else min(values.values())
    return [Cell(of.get(name), best is not None and values.get(name) == best) for name in contenders]


def forest(rows: Sequence[Row], marks: Mapping[str, int], reference: str) -> Forest:
    """One measure of all contenders; ``marks`` are their colours and shapes."""
    scale = _scale(rows, charts.ROW_WIDTH)
    base = next((row.value for row in rows if row.contender == reference), None)
    note = common_note(rows)
    lines = [
        ForestLine(
            row, charts.whisker(scale, row.value, row.low, row.high, marks[row.contender]), "" if note else row.note
        )
        for row in rows
    ]
    return Forest(rows[0], scale.ticks(4), None if base is None else scale.at(base), lines, note)


def common_note(rows: Iterable[Row]) -> Text:
    """The note that all figures have; empty where they have none, or each its own."""
    notes = {str(row.note): row.note for row in rows if row.value is not None}
    return next(iter(notes.values())) if len(notes) == 1 else ""


def _segments(grouping: str, rows: Sequence[Row], contenders: Sequence[str], marks: Mapping[str, int]) -> SegmentTable:
    scale = _scale(rows, charts.ROW_WIDTH)
    height = LANE * len(contenders) + 4
    table = SegmentTable(rows[0], grouping, scale.ticks(4), height, [])
    for segment in dict.fromkeys(row.segment for row in rows):
        some = [row for row in rows if row.segment == segment]
        lanes = [(row, contenders.index(row.contender)) for row in some]
        dots = [
            charts.whisker(scale, row.value, row.low, row.high, marks[row.contender], 2 + LANE * (lane + 0.5))
            for row, lane in lanes
        ]
        name = segment.partition(": ")[2] if grouping else segment
        table.rows.append(SegmentRow(name, [dot for dot in dots if dot is not None], _cells(some, contenders)))
    return table


def _scale(rows: Sequence[Row], width: float) -> Axis:
    """An axis of all figures; logarithmic for quantities, such as times, of very unlike size."""
    figures = [figure for row in rows for figure in (row.low, row.value, row.high) if figure is not None]
    unlike = bool(rows[0].unit and figures) and 0 < MANY * min(figures) < max(figures)
    return charts.axis(figures, charts.PAD, width - charts.PAD, log=unlike)
