"""From when on examples count after alarms."""

from evaluator.monitoring.alerts.alert import Alert
from evaluator.retraining.training_run import RunRecord
from evaluator.retraining.triggers import since

LAST = RunRecord(
    id="1", by="t", reason="drift", began=5_000, until=9_000, ended=8_000, outcome="trained", through=4_000
)


def alert(at: int, **evidence: int) -> Alert:
    labels = {"surface": "feed", "arm": "champion"}
    return Alert(name="click_rate_drop", labels=labels, state="firing", summary="", evidence=dict(evidence), since=at)


def back(until: int, count: int, surface: str, arm: str) -> int | None:
    assert (surface, arm) == ("feed", "champion")
    return until - 10 * count


def test_the_earliest_onset_that_no_run_has_answered_counts() -> None:
    assert since([alert(9_000), alert(8_000)], LAST, 100, back) == 7_900
    assert since([alert(9_000, **{"outcomes since": 50}), alert(8_950)], LAST, 100, back) == 8_400
    assert since([alert(9_000), alert(3_000)], LAST, 100, back) == 8_900, "the other one was answered"


def test_of_those_that_go_on_the_latest_counts() -> None:
    assert since([alert(2_000), alert(3_000)], LAST, 100, back) == 2_900
    assert since([], LAST, 100, back) == 0


def test_without_examples_to_count_back_in_what_was_closed_then_is_old() -> None:
    assert since([alert(9_000, **{"outcomes since": 50})], None, 100, lambda *_: None) == 8_900
