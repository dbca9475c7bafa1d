"""The watchdog: barks when work waits and nothing moves, and at nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.runtime.watchdog import Watchdog


def test_it_barks_only_after_the_whole_time() -> None:
    watchdog = Watchdog(stall_s=10)
    assert [watchdog.stalled(now, 1, False) for now in (100, 110, 110.1)] == [False, False, True]


@pytest.mark.parametrize("lag, excused", [(0, False), (9, True)])
def test_it_waits_without_lag_and_while_redis_is_away(lag: int, excused: bool) -> None:
    watchdog = Watchdog(stall_s=10)
    assert not any(watchdog.stalled(now, lag, excused) for now in range(0, 1_000, 5))
    assert not watchdog.stalled(1_004, 9, False), "the time begins when the excuse ends"


@given(st.lists(st.floats(0.1, 9.9), max_size=30))
def test_progress_in_time_keeps_it_quiet(waits: list[float]) -> None:
    watchdog, now = Watchdog(stall_s=10), 0.0
    for wait in waits:
        watchdog.progress()
        now += wait
        assert not watchdog.stalled(now, 5, False)
