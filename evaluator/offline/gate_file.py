"""A run checked against the thresholds of a gate file, and the checks as JUnit XML.

Knows the summary and junitparser; what a threshold is, :mod:`evaluator.gate.thresholds` knows, and nothing here of how
figures are made.
"""

import difflib
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite

from evaluator.gate.thresholds import Check, GateFile, Outcome, Threshold, checked
from evaluator.offline.summary import Summary


def check(gate: GateFile, summary: Summary, contenders: Sequence[str]) -> list[Check]:
    """Everything that is asked of each contender.

    Parameters
    ----------
    contenders
        All of the run, those that failed too.
    """
    found = [one for threshold in gate.threshold for one in _of_threshold(threshold, summary, contenders)]
    return [*_too_few(gate, summary), *found, *_of_findings(gate, summary, contenders)]


def _too_few(gate: GateFile, summary: Summary) -> Iterator[Check]:
    """Queries are counted for shoppers where no shopper is known."""
    for counted, least in (("shoppers", gate.least_shoppers), ("queries", gate.least_queries)):
        count = summary.counts.get(counted) or summary.counts.get("queries", 0)
        if least:
            outcome: Outcome = "passed" if count >= least else "too_few"
            yield Check(
                contender="*", asked=f"at least {least:,} {counted}", outcome=outcome, said=f"there are {count:,}"
            )


def _of_threshold(asked: Threshold, summary: Summary, contenders: Sequence[str]) -> Iterator[Check]:
    chosen = [name for name in contenders if fnmatchcase(name, asked.contender)]
    if not chosen:
        yield _nobody(asked.contender, asked.words(), contenders)
    for name in chosen:
        if asked.relative and name == summary.reference:
            continue
        rows = [row for row in summary.rows if row.contender == name and asked.matches(row)]
        for row in rows:
            yield checked(asked, row, reference=summary.reference, confidence=summary.confidence)
        if not rows:
            outcome: Outcome = "passed" if asked.optional and name not in summary.failures else "missing"
            yield Check(contender=name, asked=asked.words(), outcome=outcome, said=_absent(asked, summary, name))


def _of_findings(gate: GateFile, summary: Summary, contenders: Sequence[str]) -> Iterator[Check]:
    if (most := gate.max_severity) is None:
        return
    if not any(fnmatchcase(name, gate.severity_of) for name in contenders):
        yield _nobody(gate.severity_of, f"no finding above {most:g}", contenders)
        return
    counted = [one for one in summary.findings if fnmatchcase(one.contender, gate.severity_of)]
    found = [one for one in counted if one.finding.severity > most]
    asked = f"no finding above {most:g}"
    for one in found:
        said = f"{one.finding.dimension} {one.finding.name} ({one.finding.severity:g}): {one.finding.sentence}"
        yield Check(contender=one.contender, asked=asked, outcome="failed", said=said)
    if not found:
        yield Check(contender=gate.severity_of, asked=asked, outcome="passed", said="none was found")


def _nobody(pattern: str, asked: str, contenders: Sequence[str]) -> Check:
    said = f"No contender of the run is {pattern!r}; there are {', '.join(contenders)}."
    return Check(contender=pattern, asked=asked, outcome="missing", said=said)


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


def junit(checks: Sequence[Check]) -> bytes:
    """The checks as JUnit XML: a suite per contender, a case per check; what cannot be decided is an error."""
    xml = JUnitXml("liveshelf evaluate")
    for name in dict.fromkeys(one.contender for one in checks):
        suite = TestSuite(_clean(name))
        for one in checks:
            if one.contender == name:
                case = TestCase(_clean(one.asked), classname=_clean(f"evaluate.{name}"), time=0)
                kind = {"failed": Failure, "missing": Error, "too_few": Error}.get(one.outcome)
                if kind is not None:
                    case.result = [kind(_clean(one.said))]
                suite.add_testcase(case)
        xml.add_testsuite(suite)
    found: bytes = xml.tostring()
    return found


def _clean(text: str) -> str:
    """Without the characters that XML cannot have."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
