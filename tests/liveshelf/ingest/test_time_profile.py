"""A moved history is never ahead of the clock, and what an evaluator would count as late is told before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.config import EvaluatorConfig
from liveshelf.ingest.rate_limit import ReplayClock
from liveshelf.ingest.time_profile import Plan, TimeProfile, warnings

NOW = 1_790_000_000_000


def surveyed(times: list[int], partitions: int = 1) -> TimeProfile:
    survey = TimeProfile(partitions)
    for number, ts in enumerate(times):
        survey.update(f"u{number}".encode(), ts)
    return survey


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=30), st.floats(0.1, 10_000))
def test_no_event_is_dated_later_than_it_is_sent_and_the_newest_is_dated_then(times: list[int], speed: float) -> None:
    times = [times[0], *sorted(ts for ts in times[1:] if ts >= times[0])]
    survey, history, clock = surveyed(times), ReplayClock(speed), 0.0
    shift = survey.shift_ms(NOW, speed)
    for ts in times:
        clock += history.delay(clock, ts)
        sent = NOW + clock * 1_000
        assert ts + shift <= sent + 1
        if ts == survey.newest_ms and speed >= 1:
            assert ts + shift == pytest.approx(sent, abs=1)
        if speed == 1:
            assert ts + shift == pytest.approx(sent, abs=1)


def test_all_at_once_the_newest_event_is_now_wherever_it_stands() -> None:
    survey = surveyed([5_000, 90_000, 20_000])
    assert survey.shift_ms(NOW) + 90_000 == NOW


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        (Plan(now=True), []),
        (Plan(now=True, speed=1, loop=True), []),
        (Plan(now=True, speed=10_000), []),
        (Plan(now=True, speed=100), ["--speed 961 or more"]),
        (Plan(speed=100), ["--now moves", "--speed 961 or more"]),
        (Plan(now=True, loop=True), ["Each round begins"]),
    ],
)
def test_what_would_be_late_is_told_before(plan: Plan, told: list[str]) -> None:
    survey = surveyed([0, 8 * 3_600_000])
    found = list(warnings(0, survey, plan, NOW, EvaluatorConfig()))
    assert len(found) == len(told) and all(part in text for part, text in zip(told, found, strict=True))
