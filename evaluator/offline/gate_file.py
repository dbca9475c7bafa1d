"""Thresholds of an evaluation from a TOML file, each checked against the figures of a run; as JUnit XML too.

Knows TOML, the summary and junitparser; nothing of how figures are made.
"""

import difflib
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import msgspec
from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite

from evaluator.offline.summary import Row, Summary

EXAMPLE = """[[threshold]]
measure = "ndcg@10"
min = 0.9"""

Outcome = Literal["passed", "failed", "missing"]


class GateFileError(ValueError):
    """A gate file that cannot be used; the message names the file, the place in it, and what to write instead."""


class Threshold(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What a figure must keep, or its difference from the reference's.

    Attributes
    ----------
    contender
        A pattern such as ``version:*``; ``*`` is all.
    segment
        A pattern such as ``query: *``; empty is the figure of all cases.
    min, max
        Bounds of the figure itself.
    difference_min, difference_max
        Bounds of its difference from the reference's; the reference itself is not asked.
    by
        What has to keep them: the ``value``, or the whole 95 % ``interval``.
    """

    measure: str
    contender: str = "*"
    segment: str = ""
    dimension: str = "*"
    min: float | None = None
    max: float | None = None
    difference_min: float | None = None
    difference_max: float | None = None
    by: Literal["value", "interval"] = "value"

    @property
    def limits(self) -> list[tuple[str, float]]:
        """The bounds that are given, by name."""
        names = ("min", "max", "difference_min", "difference_max")
        return [(name, bound) for name in names if (bound := getattr(self, name)) is not None]


class GateFile(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """All that is asked of a run.

    Attributes
    ----------
    max_severity
        Findings of a higher severity fail; None lets all pass.
    """

    threshold: list[Threshold] = []
    max_severity: float | None = None


class Check(msgspec.Struct, kw_only=True, frozen=True):
    """One thing that was asked of one contender, and how it is.

    Attributes
    ----------
    outcome
        ``missing`` where there is no figure to check; that does not pass.
    said
        The figures in words.
    """

    contender: str
    asked: str
    outcome: Outcome
    said: str


def read(path: Path) -> GateFile:
    """The thresholds of a file.

    Raises
    ------
    GateFileError
        When it is not there, is no TOML, asks nothing, or names what does not exist.
    """
    try:
        given = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise GateFileError(f"{path} cannot be read: {error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise GateFileError(f"{path} is no TOML: {error}. A threshold looks like this:\n{EXAMPLE}") from error
    found = _typed(given, path)
    if not found.threshold and found.max_severity is None:
        raise GateFileError(f"{path} has no [[threshold]]. One looks like this:\n{EXAMPLE}")
    for number, one in enumerate(found.threshold, 1):
        if not one.limits:
            raise GateFileError(
                f"{path}: threshold {number} ({one.measure}) has no bound: give min, max, difference_min or "
                "difference_max."
            )
        if any(math.isnan(bound) for _, bound in one.limits):
            raise GateFileError(f"{path}: threshold {number} ({one.measure}) has a bound that is no number.")
    return found


def _typed(given: Mapping[str, Any], path: Path) -> GateFile:
    try:
        return msgspec.convert(given, GateFile)
    except msgspec.ValidationError as error:
        fields = ", ".join(Threshold.__struct_fields__)
        raise GateFileError(f"{path}: {error}. A [[threshold]] may have {fields}.") from error


def check(gate: GateFile, summary: Summary, contenders: Sequence[str]) -> list[Check]:
    """Everything that is asked of each contender.

    Parameters
    ----------
    contenders
        All of the run, those that failed too.
    """
    found = [one for threshold in gate.threshold for one in _of_threshold(threshold, summary, contenders)]
    return found + list(_of_findings(gate.max_severity, summary))


def _of_threshold(asked: Threshold, summary: Summary, contenders: Sequence[str]) -> Iterator[Check]:
    chosen = [name for name in contenders if fnmatchcase(name, asked.contender)]
    if not chosen:
        said = f"No contender of the run is {asked.contender!r}; there are {', '.join(contenders)}."
        yield Check(contender=asked.contender, asked=_words(asked, asked.segment), outcome="missing", said=said)
    for name in chosen:
        rows = [row for row in summary.rows if row.contender == name and _matches(asked, row)]
        relative = all(limit.startswith("difference") for limit, _ in asked.limits)
        if relative and name == summary.reference:
            continue
        for row in rows:
            yield _of_row(asked, row, of_reference=name == summary.reference)
        if not rows:
            said = _absent(asked, summary, name)
            yield Check(contender=name, asked=_words(asked, asked.segment), outcome="missing", said=said)


def _matches(asked: Threshold, row: Row) -> bool:
    return (
        row.measure == asked.measure
        and fnmatchcase(row.segment, asked.segment)
        and fnmatchcase(row.dimension, asked.dimension)
    )


def _of_row(asked: Threshold, row: Row, *, of_reference: bool) -> Check:
    words = _words(asked, row.segment)
    outcome: Outcome = "passed"
    said = []
    for limit, bound in asked.limits:
        if limit.startswith("difference"):
            if of_reference:
                continue
            kind, figures = "difference", (row.difference, row.difference_low, row.difference_high)
        else:
            kind, figures = row.measure, (row.value, row.low, row.high)
        figure = figures[0] if asked.by == "value" else figures[1 if limit.endswith("min") else 2]
        if figure is None:
            outcome = "missing"
            said.append(f"{kind} has no {asked.by}")
            continue
        kept = figure >= bound if limit.endswith("min") else figure <= bound
        outcome = outcome if kept or outcome == "missing" else "failed"
        of = "" if asked.by == "value" else " at the interval's end"
        sign = "≥" if limit.endswith("min") else "≤"
        said.append(f"{kind} {figure:.4f}{of} is {'' if kept else 'not '}{sign} {bound:g}")
    return Check(contender=row.contender, asked=words, outcome=outcome, said="; ".join(said))


def _of_findings(most: float | None, summary: Summary) -> Iterator[Check]:
    if most is None:
        return
    found = [one for one in summary.findings if one.finding.severity > most]
    asked = f"no finding above {most:g}"
    for one in found:
        said = f"{one.finding.dimension} {one.finding.name} ({one.finding.severity:g}): {one.finding.sentence}"
        yield Check(contender=one.contender, asked=asked, outcome="failed", said=said)
    if not found:
        yield Check(contender="*", asked=asked, outcome="passed", said="none was found")


def _words(asked: Threshold, segment: str) -> str:
    """A threshold in short, such as ``ndcg@10 (query: tail) min 0.9``."""
    limits = " ".join(f"{limit} {bound:g}" for limit, bound in asked.limits)
    part = f" ({segment})" if segment else ""
    return f"{asked.measure}{part} {limits}{' by interval' if asked.by == 'interval' else ''}"


def _absent(asked: Threshold, summary: Summary, contender: str) -> str:
    if why := summary.failures.get(contender):
        return f"It has no such figure: {why[0]}"
    measures = {row.measure for row in summary.rows}
    if asked.measure not in measures:
        near = difflib.get_close_matches(asked.measure, sorted(measures), 1)
        hint = f" Did you mean {near[0]!r}?" if near else f" There are {', '.join(sorted(measures))}."
        return f"The run has no measure {asked.measure!r}.{hint}"
    segments = sorted({row.segment for row in summary.rows if row.measure == asked.measure and row.segment})
    return f"The run has no {asked.measure} of segment {asked.segment!r}; there are {', '.join(segments) or 'none'}."


def passed(checks: Sequence[Check]) -> bool:
    """Whether everything that was asked is so."""
    return all(one.outcome == "passed" for one in checks)


def junit(checks: Sequence[Check]) -> bytes:
    """The checks as JUnit XML: a suite per contender, a case per check; a missing figure is an error."""
    xml = JUnitXml("liveshelf evaluate")
    for name in dict.fromkeys(one.contender for one in checks):
        suite = TestSuite(_clean(name))
        for one in checks:
            if one.contender == name:
                case = TestCase(_clean(one.asked), classname=_clean(f"evaluate.{name}"), time=0)
                kind = {"failed": Failure, "missing": Error}.get(one.outcome)
                if kind is not None:
                    case.result = [kind(_clean(one.said))]
                suite.add_testcase(case)
        xml.add_testsuite(suite)
    found: bytes = xml.tostring()
    return found


def _clean(text: str) -> str:
    """Without the characters that XML cannot have."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
