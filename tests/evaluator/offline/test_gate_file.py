"""Thresholds of a gate file: what passes, what fails, what cannot be read, and the JUnit XML."""

import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from junitparser import Error, Failure, JUnitXml

from evaluator.gate import thresholds
from evaluator.gate.thresholds import GateFile, GateFileError, Threshold
from evaluator.offline import gate_file
from evaluator.offline.dimensions.dimension import Finding
from evaluator.offline.summary import Named, Row, Summary

CONTENDERS = ("base", "new", "broken")


def row(contender: str, value: float | None, segment: str = "", **given: Any) -> Row:
    """A figure with an interval of 0.02 around it."""
    bounds = (None, None) if value is None else (value - 0.01, value + 0.01)
    return Row(
        contender=contender,
        measure="ndcg@10",
        dimension="effect",
        segment=segment,
        unit="",
        better="higher",
        value=value,
        low=bounds[0],
        high=bounds[1],
        count=10,
        note="",
        says="",
        **given,
    )


def summary(*rows: Row, severity: float = 0.0) -> Summary:
    """A run of three contenders, one of which failed."""
    found = Finding(dimension="robustness", name="stuffing", severity=severity, sentence="It is fooled.")
    return Summary(
        reference="base",
        headline="ndcg@10",
        winner="new",
        verdict="",
        rows=list(rows),
        findings=[Named(contender="new", finding=found)] if severity else [],
        failures={"broken": ["scoring: it burns"]},
    )


RUN = summary(
    row("base", 0.9),
    row("new", 0.92, reference=0.9, difference=0.02, difference_low=-0.005, difference_high=0.045),
    row("new", 0.8, "query: tail", difference=-0.03, difference_low=-0.05, difference_high=-0.01),
    row("new", 0.95, "query: head"),
)


def outcomes(threshold: Threshold, run: Summary = RUN) -> dict[str, str]:
    """What became of a threshold, by contender and segment."""
    checks = gate_file.check(GateFile(threshold=[threshold]), run, CONTENDERS)
    return {f"{one.contender} {one.asked}": one.outcome for one in checks}


def only(threshold: Threshold) -> str:
    """What became of a threshold that one figure is checked by."""
    [outcome] = outcomes(threshold).values()
    return outcome


def test_bounds_of_figures_and_of_differences() -> None:
    new = {"measure": "ndcg@10", "contender": "new"}
    assert only(Threshold(**new, min=0.92)) == "passed", "the bound itself is kept"
    assert only(Threshold(**new, min=0.93)) == "failed"
    assert only(Threshold(**new, max=0.91)) == "failed"
    assert only(Threshold(**new, min=0.5, max=0.91)) == "failed", "both are asked"
    assert only(Threshold(**new, difference_min=0.0)) == "passed"
    assert only(Threshold(**new, difference_min=0.0, by="interval")) == "failed"
    assert only(Threshold(**new, difference_max=0.03)) == "passed"
    assert only(Threshold(**new, difference_max=0.03, by="interval")) == "failed"
    assert only(Threshold(**new, difference_min=0.03, by="better_end")) == "passed", "it may be so"
    assert only(Threshold(**new, difference_min=0.05, by="better_end")) == "failed", "it is surely not"
    assert only(Threshold(**new, difference_below=0.02)) == "failed", "the bound itself is not below it"
    assert only(Threshold(**new, difference_max=0.02)) == "passed"
    assert only(Threshold(**new, ratio_max=1.03)) == "passed"
    assert only(Threshold(**new, ratio_max=1.03, by="interval")) == "failed", "0.945 over 0.9"
    assert only(Threshold(**new, min=0.5, segment="query: tail")) == "passed"
    assert only(Threshold(**new, difference_min=-0.01, segment="query: tail")) == "failed"


def test_patterns_and_what_is_missing() -> None:
    everyone = outcomes(Threshold(measure="ndcg@10", min=0.5))
    assert list(everyone.values()) == ["passed", "passed", "missing"], "a contender that failed passes nothing"
    assert "base" not in " ".join(outcomes(Threshold(measure="ndcg@10", difference_min=-1.0))), "it is the reference"
    segments = outcomes(Threshold(measure="ndcg@10", contender="n*", segment="query: *", min=0.85))
    assert sorted(segments.values()) == ["failed", "passed"]
    assert only(Threshold(measure="ndcg@10", contender="nobody", min=0.5)) == "missing"
    assert only(Threshold(measure="ndcg@10", contender="new", segment="query: head", difference_min=0.0)) == "missing"
    [_, new, broken] = gate_file.check(GateFile(threshold=[Threshold(measure="ndgc@10", min=0.5)]), RUN, CONTENDERS)
    assert "Did you mean 'ndcg@10'?" in new.said and "it burns" in broken.said
    assert not thresholds.passed([new])


def test_data_that_is_too_small_is_told_from_a_model_that_is_bad() -> None:
    new = {"measure": "ndcg@10", "contender": "new", "by": "interval"}
    assert only(Threshold(**new, difference_min=0.0)) == "failed"
    assert only(Threshold(**new, difference_min=0.0, enough_for=0.01)) == "too_few", "0.009 needs more than ten"
    assert only(Threshold(**new, difference_min=0.0, enough_for=0.2)) == "failed", "0.18 would have been seen"
    assert only(Threshold(**new, difference_min=0.05, enough_for=0.01)) == "failed", "it is surely too small a gain"
    [one] = gate_file.check(GateFile(threshold=[Threshold(**new, difference_min=0.0, enough_for=0.01)]), RUN, ["new"])
    assert one.needed is not None and one.needed > 10 and f"{one.needed:,} cases would decide it" in one.said
    assert only(Threshold(**new | {"segment": "query: head"}, difference_min=0.0, enough_for=0.01)) == "too_few"
    assert only(Threshold(**new | {"segment": "query: head"}, difference_min=0.0, optional=True)) == "passed"
    assert only(Threshold(**new | {"measure": "mrr"}, difference_min=0.0, optional=True)) == "passed"


def test_a_count_may_be_too_small() -> None:
    def outcomes(counts: dict[str, int]) -> list[str]:
        run = summary(row("base", 0.9))
        run.counts = counts
        return [one.outcome for one in gate_file.check(GateFile(least_shoppers=5, least_queries=8), run, CONTENDERS)]

    assert outcomes({"shoppers": 5, "queries": 8}) == ["passed", "passed"]
    assert outcomes({"shoppers": 4, "queries": 8}) == ["too_few", "passed"]
    assert outcomes({"shoppers": 0, "queries": 7}) == ["passed", "too_few"], "who is not known is counted by queries"


@given(
    st.builds(
        Threshold,
        measure=st.sampled_from(["mrr", 'a "quoted" one', "ndcg@10\n"]),
        segment=st.text(st.characters(codec="utf-8", exclude_characters="\x7f"), max_size=9),
        min=st.none() | st.floats(allow_nan=False, allow_infinity=False),
        ratio_max=st.floats(0, 9),
        by=st.sampled_from(["value", "interval", "better_end"]),
        enough_for=st.none() | st.floats(0, 1),
        optional=st.booleans(),
    )
)
def test_a_file_that_is_written_is_read_as_it_was(one: Threshold) -> None:
    gate = GateFile(least_queries=3, max_severity=0.5, threshold=[one, Threshold(measure="mrr", min=0.5)])
    with TemporaryDirectory() as folder:
        (Path(folder) / "gate.toml").write_text(gate.toml(), "utf-8", newline="")
        assert thresholds.read(Path(folder) / "gate.toml") == gate


def test_findings_count_where_asked() -> None:
    def outcome(severity: float, of: str = "*") -> list[str]:
        gate = GateFile(max_severity=0.5, severity_of=of)
        checks = gate_file.check(gate, summary(row("base", 0.9), severity=severity), CONTENDERS)
        return [one.outcome for one in checks]

    assert outcome(0.9) == ["failed"] and outcome(0.5) == ["passed"] and outcome(0.0) == ["passed"]
    assert outcome(0.9, "n*") == ["failed"] and outcome(0.9, "base") == ["passed"] and outcome(0.9, "z") == ["missing"]


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_figure_keeps_min_or_max(value: float, bound: float) -> None:
    run = summary(row("new", value))
    kept = [
        list(outcomes(Threshold(measure="ndcg@10", contender="new", **limit), run).values()) == ["passed"]  # type: ignore[arg-type]
        for limit in ({"min": bound}, {"max": bound})
    ]
    assert any(kept) and (all(kept) == (value == bound))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[threshold]\n", "is no TOML"),
        ("", "has no [[threshold]]"),
        ("[[threshold]]\nmeasure = 'mrr'\n", "threshold 1 (mrr) has no bound"),
        ("[[threshold]]\nmin = 0.5\n", "measure"),
        ("[[threshold]]\nmeasure = 'mrr'\nminimum = 0.5\n", "minimum"),
        ("[[threshold]]\nmeasure = 'mrr'\nmin = 'high'\n", "min"),
        ("[[threshold]]\nmeasure = 'mrr'\nmin = nan\n", "no number"),
        ("max_severity = nan\n", "max_severity is no number"),
        ("max_severity = 0.5\nleast_queries = -1\n", "numbers from 0 up"),
        ("[[threshold]]\nmeasure = 'mrr'\nmin = 1\nby = 'luck'\n", "luck"),
        ("[threshold]\nmeasure = 'mrr'\nmin = 1\n", "threshold"),
        ("[[thresholds]]\nmeasure = 'mrr'\nmin = 1\n", "thresholds"),
    ],
)
def test_a_bad_file_is_explained(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "gate.toml"
    file.write_text(text)
    with pytest.raises(GateFileError, match=r"gate\.toml") as error:
        thresholds.read(file)
    assert said in str(error.value)


def test_a_file_that_is_not_there_is_explained(tmp_path: Path) -> None:
    with pytest.raises(GateFileError, match="cannot be read"):
        thresholds.read(tmp_path / "none.toml")


def test_the_example_of_the_messages_is_a_gate_file(tmp_path: Path) -> None:
    (tmp_path / "gate.toml").write_text(thresholds.EXAMPLE)
    [threshold] = thresholds.read(tmp_path / "gate.toml").threshold
    assert [(limit.name, bound) for limit, bound in threshold.limits] == [("min", 0.9)]


def test_junit_counts_failures_and_errors(tmp_path: Path) -> None:
    gate = GateFile(threshold=[Threshold(measure="ndcg@10", min=0.91), Threshold(measure="x\x00<&>", min=math.inf)])
    checks = gate_file.check(gate, RUN, CONTENDERS)
    file = tmp_path / "junit.xml"
    file.write_bytes(gate_file.junit(checks))
    xml = JUnitXml.fromfile(str(file))
    cases = {(suite.name, case.name): [type(one) for one in case.result] for suite in xml for case in suite}
    assert cases["base", "ndcg@10 min 0.91"] == [Failure] and cases["new", "ndcg@10 min 0.91"] == []
    assert cases["broken", "ndcg@10 min 0.91"] == [Error]
    assert {suite.name: (suite.tests, suite.failures, suite.errors) for suite in xml} == {
        "base": (2, 1, 1),
        "new": (2, 0, 1),
        "broken": (2, 0, 2),
    }
