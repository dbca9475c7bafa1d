"""The policy: which reasons there are at a moment, which comes first, and when an alarm asks again."""

import msgspec
import pytest
from pydantic import ValidationError

from evaluator.monitoring.alerts.alert import Alert
from evaluator.monitoring.registry import KINDS
from evaluator.retraining.config import ALARMS, TriggerConfig
from evaluator.retraining.run_history import RunHistory
from evaluator.retraining.training_run import Trigger, decoder, encoder
from evaluator.retraining.triggers import CLICK_RATE, TriggerInputs, decide

HOUR_MS = 3_600_000
CONFIG = TriggerConfig()


def alert(name: str, since: int) -> Alert:
    return Alert(name=name, labels={"arm": "a"}, state="firing", summary=name, evidence={"n": 1}, since=since)


def trained(began: int, config: TriggerConfig = CONFIG) -> RunHistory:
    runs = RunHistory(config)
    go = Trigger(reason="schedule", summary="", evidence={}, at=began, examples=9_999)
    assert runs.begin(go, "1", "t", "p", began) == [] and runs.end("1", "p", began + 60_000, "trained")
    return runs


def test_all_alarms_have_their_names() -> None:
    assert tuple(sorted(kind.alert for kind in KINDS.values())) == ALARMS


def test_click_rates_come_before_drift_and_drift_before_the_rest() -> None:
    alerts = [alert("item_drift", 1), alert("query_drift", 0), alert("click_rate_drop", 9)]
    made = decide(CONFIG, TriggerInputs(alerts, 30_000), RunHistory(CONFIG), 10)
    assert made is not None and made.go
    assert (made.reason, made.also) == ("click_rate", ["drift", "examples", "schedule"])
    assert made.evidence == {"alert": "click_rate_drop|arm=a", "since": 9, "n": 1}
    drift = decide(CONFIG, TriggerInputs(alerts[:2], 30_000), RunHistory(CONFIG), 10)
    assert drift is not None and drift.evidence["alert"] == "query_drift|arm=a"


def test_without_a_reason_there_is_no_trigger() -> None:
    assert decide(CONFIG, TriggerInputs([], 19_999), trained(0), HOUR_MS) is None


def test_an_alarm_is_answered_by_one_run_and_asks_again_when_it_lasts() -> None:
    runs, lasting = trained(10), TriggerInputs([alert("item_drift", 5)], 5_000)
    config = TriggerConfig(every_s=None)
    assert decide(config, lasting, runs, HOUR_MS) is None
    again = decide(config, lasting, runs, 10 + 24 * HOUR_MS)
    assert again is not None and again.go and again.reason == "drift"
    anew = decide(config, TriggerInputs([alert("item_drift", 11)], 5_000), runs, HOUR_MS)
    assert anew is not None, "it began after the run"


def test_a_run_that_failed_answers_nothing() -> None:
    runs = RunHistory(CONFIG)
    seen = TriggerInputs([alert("item_drift", 5)], 5_000)
    first = decide(CONFIG, seen, runs, 10)
    assert first is not None and runs.begin(first, "1", "t", "p", 10) == [] and runs.end("1", "p", 20, "failed")
    held, again = (decide(CONFIG, seen, runs, now) for now in (60_000, HOUR_MS))
    assert held is not None and held.words == "cooldown: 30 min left"
    assert again is not None and again.go


def test_what_is_over_or_not_asked_for_is_no_reason() -> None:
    over = msgspec.structs.replace(alert("item_drift", 5), state="resolved", until=6)
    assert decide(TriggerConfig(every_s=None), TriggerInputs([over], 5_000), RunHistory(CONFIG), 10) is None
    only = TriggerConfig(alarms=("click_rate_drop",), every_s=None, enough_examples=None)
    assert decide(only, TriggerInputs([alert("item_drift", 5)], 500_000), RunHistory(only), 10) is None


def test_the_schedule_is_due_a_day_after_the_last_training_began() -> None:
    runs, seen = trained(10), TriggerInputs([], 5_000)
    assert decide(CONFIG, seen, runs, 24 * HOUR_MS) is None
    due = decide(CONFIG, seen, runs, 24 * HOUR_MS + 10)
    assert due is not None and due.summary == "the last training began 24 h ago"


def test_a_trigger_goes_to_a_topic_and_back() -> None:
    made = decide(CONFIG, TriggerInputs([alert("item_drift", 5)], 7), RunHistory(CONFIG), 10)
    assert made is not None and not made.go
    assert decoder.decode(encoder.encode(made)) == made
    assert msgspec.json.decode(encoder.encode(made))["held_back"][0]["limit"] == "examples"


def test_settings_that_cannot_work_are_refused() -> None:
    assert set(ALARMS) > CLICK_RATE
    with pytest.raises(ValidationError, match="no alert is called drop"):
        TriggerConfig(alarms=("drop",))
    with pytest.raises(ValidationError, match="raise enough_examples"):
        TriggerConfig(enough_examples=5)
