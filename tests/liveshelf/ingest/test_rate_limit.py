"""The pace keeps its promise on any clock: never faster than told, and not slower than need be."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveshelf.ingest.rate_limit import ReplayClock, TokenBucket


@settings(deadline=None)
@given(
    st.floats(0.1, 10_000),
    st.floats(1, 50),
    st.lists(st.floats(0, 2), min_size=1, max_size=60),
)
def test_never_more_than_burst_and_rate_allow(rate: float, burst: float, pauses: list[float]) -> None:
    bucket, now = TokenBucket(rate, burst), 0.0
    sent = []
    for pause in pauses:
        now += pause
        now += bucket.delay(now)
        sent.append(now)
    for first, start in enumerate(sent):
        for last in range(first, len(sent)):
            assert last - first + 1 <= burst + rate * (sent[last] - start) + 1 + 1e-6


@settings(deadline=None)
@given(st.floats(1, 1000), st.integers(100, 300))
def test_a_sender_who_always_waits_reaches_the_rate(rate: float, count: int) -> None:
    bucket, now = TokenBucket(rate, 1), 0.0
    for _ in range(count):
        now += bucket.delay(now)
    assert now == pytest.approx((count - 1) / rate)


def test_a_clock_that_steps_back_gives_no_extra_tokens() -> None:
    bucket = TokenBucket(10, 1)
    assert bucket.delay(100.0) == 0
    assert bucket.delay(50.0) == pytest.approx(0.1)
    assert bucket.delay(50.0) == pytest.approx(0.2)


@settings(deadline=None)
@given(st.floats(0.1, 1000), st.lists(st.integers(0, 10**6), min_size=2, max_size=30))
def test_history_keeps_its_distances(speed: float, gaps: list[int]) -> None:
    history, now, time_ms = ReplayClock(speed), 7.0, 1_000_000
    for gap in gaps:
        time_ms += gap
        now += history.delay(now, time_ms)
    assert now - 7.0 == pytest.approx(sum(gaps[1:]) / 1000 / speed)


@pytest.mark.parametrize("kind", [TokenBucket, ReplayClock])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_no_pace_at_all_is_an_error(kind: type[TokenBucket] | type[ReplayClock], value: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        kind(value)
