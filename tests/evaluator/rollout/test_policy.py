"""The policy: each stage's ways out, and which comes first."""

import math

import pytest
from pydantic import ValidationError

from evaluator.rollout.config import RolloutConfig
from evaluator.rollout.evidence import Canary, CanaryEvidence, Shadow
from evaluator.rollout.policy import Decision, decide

CONFIG = RolloutConfig(shadow_shelves=500)
SHADOW = Shadow(500, 0, 4.0, 4.4)
CANARY = Canary(9_000, 0, 20_000, 2_000, 180_000, 14_400, 1.25, 1.02, 2.0, 0.1)
HOUR_MS = 3_600_000


def shadow(shadow: Shadow = SHADOW, *, workers: int = 2, ready: int = 2, unready_ms: int = 0, now: int = 0) -> Decision:
    seen = CanaryEvidence("shadow", "m2", 0, 0.0, workers, ready, unready_ms, shadow=shadow)
    return decide(CONFIG, seen, now)


def canary(now: int = 0, **other: float) -> Decision:
    seen = CanaryEvidence("canary", "m2", 0, 0.1, 2, 2, canary=CANARY._replace(**other))  # type: ignore[arg-type]
    return decide(CONFIG, seen, now)


def test_without_a_challenger_nothing_is_done() -> None:
    assert decide(CONFIG, CanaryEvidence(), 10**13).action == "wait"


def test_shadow_ends_with_enough_shelves_in_time_on_all_workers() -> None:
    assert shadow().action == "canary"
    assert "60% of the first ten are the champion's too" in shadow(SHADOW._replace(overlap=0.6)).words
    few = shadow(SHADOW._replace(shelves=499))
    assert few[:2] == ("wait", "499 shelves in shadow, 0 failed; 500 are enough")
    assert shadow(ready=1)[:2] == ("wait", "1 of 2 workers have it loaded")
    assert shadow(workers=0, ready=0).action == "wait"


def test_a_challenger_that_is_slow_or_fails_is_rolled_back_from_shadow() -> None:
    slow = shadow(SHADOW._replace(challenger_ms=6.4))
    assert slow[:2] == (
        "roll_back",
        "500 shelves in shadow, 0 failed, 1.60 times the champion's time: 1.5 are allowed",
    )
    untimed = shadow(SHADOW._replace(challenger_ms=math.nan))
    assert untimed.action == "roll_back" and "none of them timed" in untimed.words and "nan" not in untimed.words
    assert shadow(SHADOW._replace(failed=5)).action == "canary"
    assert shadow(SHADOW._replace(shelves=0, failed=5)).action == "wait"
    assert shadow(SHADOW._replace(shelves=20, failed=6)).action == "roll_back", "as soon as it cannot be mended"


def test_a_challenger_that_a_worker_never_loads_is_given_up() -> None:
    assert shadow(Shadow(), ready=1, unready_ms=599_000).action == "wait"
    late = shadow(Shadow(), ready=1, unready_ms=600_000)
    assert late[:2] == ("give_up", "1 of 2 workers have it loaded, 10 min were enough")
    lost = decide(CONFIG, CanaryEvidence("canary", "m2", 0, 0.1, 0, 0, 600_000, canary=Canary()), 600_000)
    assert lost.action == "give_up"


def test_a_canary_ends_by_its_evidence_in_the_direction_of_its_ratio() -> None:
    assert canary().action == "promote"
    assert canary(ratio=0.8).action == "roll_back"
    assert canary(log10_clicks=1.3, ratio_low=0.9)[:2] == (
        "wait",
        "click rate 10.00% in 20,000 impressions, against the champion's 8.00%: 1.25 times, evidence 20 to 1 "
        "of a difference; 20 to 1 is enough, or surely at least 0.98 times",
    )
    assert canary(log10_clicks=1.302).action == "promote"
    assert canary(impressions=999).action == "wait"
    equal = canary(log10_clicks=-1.0, ratio=1.01, ratio_low=0.98)
    assert equal[:2] == (
        "promote",
        "click rate 10.00% in 20,000 impressions, against the champion's 8.00%: 1.01 times, evidence 0.1 to 1 "
        "of a difference; surely at least 0.980 times, and 0.98 is enough: the gate shows whether it is better, the "
        "canary whether shoppers lose by it",
    )
    assert canary(log10_clicks=-1.0, ratio=1.01, ratio_low=0.979).action == "wait"
    assert canary(log10_clicks=1.4, ratio=0.99, ratio_low=0.985).action == "roll_back", "surely lower, if by little"
    assert canary().evidence["log10 e-value of clicks"] == 2.0


def test_shoppers_who_are_not_shared_out_as_planned_make_clicks_worthless() -> None:
    found = canary(log10_traffic=3.1)
    assert found[:2] == (
        "give_up",
        "shoppers are not shared out as planned, evidence 1,259 to 1: clicks say nothing",
    )
    assert canary(log10_traffic=2.9).action == "promote"


def test_a_canary_that_fails_is_rolled_back_whatever_it_is_clicked() -> None:
    assert canary(failed=90).action == "promote"
    assert canary(failed=100)[:2] == ("roll_back", "100 of 9,100 shelves failed: 1% may")


@pytest.mark.parametrize("stage", ["shadow", "canary"])
def test_nothing_waits_for_ever_and_a_new_champion_ends_the_comparison(stage: str) -> None:
    seen = CanaryEvidence(stage, "m2", 0, workers=1, ready=1, shadow=Shadow(3), canary=Canary())  # type: ignore[arg-type]
    horizon = 7 * 24 * HOUR_MS
    assert decide(CONFIG, seen, horizon - 1).action == "wait"
    late = decide(CONFIG, seen, horizon)
    assert late.action == "give_up" and late.words.endswith("no answer in 168 h")
    soon = decide(RolloutConfig(horizon_s=90), seen, 90_000)
    assert soon.action == "give_up" and soon.words.endswith("no answer in 90 s")
    assert decide(CONFIG, seen._replace(champion_changed=True), 0).action == "give_up"


def test_a_champion_without_impressions_has_no_click_rate() -> None:
    found = canary(impressions=20, clicks=2, champion_impressions=0, champion_clicks=0, ratio=math.nan)
    assert found.words.startswith("click rate 10.00% in 20 impressions, the champion's is unknown; ")


def test_settings_that_cannot_work_are_refused() -> None:
    for bad in ({"share": 0.0}, {"share": 1.0}, {"alpha": 0.0}, {"slower": 0.5}, {"horizon_s": 0}, {"shar": 0.1}):
        with pytest.raises(ValidationError):
            RolloutConfig(**bad)  # type: ignore[arg-type]
