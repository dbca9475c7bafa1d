"""The history: what the page shows is what the processes said, added up, however it arrives."""

import math
import time
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator.dashboard.history import History, State, Tick
from evaluator.metrics.intervals import wilson
from evaluator.monitoring.alerts.alert import Alert
from evaluator.rollout.evidence import EvidenceReader
from liveshelf.cli.status import evaluator_tables
from models.store.slots import Promotion
from streams.telemetry.meter import Series
from tests.evaluator.dashboard.said import drift, evaluator, rate, worker

T0 = 1_790_000_000_000


def line(state: State, *key: str) -> list[float]:
    return next(line.values for line in state.lines if line.key == key)


def test_an_empty_history_is_a_page_that_says_so() -> None:
    state = History(closes_after_s=2_400).state(T0)
    assert state.page.health.level == "none" and "Nothing has reported" in state.page.health.sentence
    assert not state.lines and len(state.times) == 360 and state.closes_after_s == 2_400
    assert state.times[-1] <= T0 < state.times[-1] + state.step_ms
    assert msgspec.json.decode(msgspec.json.encode(state))["page"]["rates"] == []


def test_processes_are_added_up() -> None:
    history = History()
    for second in range(1, 61):
        at = T0 + 1_000 * second
        for name in ("w1", "w2"):
            history.update(worker(at, name, events=5), at)
        for name in ("e1", "e2"):
            history.update(evaluator(at, rate("1h", "feed", "champion", "m1", 500, 20), name), at)
    state = history.state(T0 + 60_500)
    page = state.page
    assert page.events_per_s == pytest.approx(10) and page.shelves_per_s == pytest.approx(20)
    assert (page.health.level, page.health.workers, page.health.evaluators, page.health.lag) == ("ok", 2, 2, 6)
    [row] = page.rates
    assert (row.surface, row.arm, row.model, row.impressions, row.clicks) == ("feed", "champion", "m1", 1_000, 40)
    assert row.ctr == wilson(40, 1_000)
    assert line(state, "ctr", "1h", "feed", "champion", "low")[-1] == pytest.approx(row.ctr.low, rel=1e-5)
    assert line(state, "ctr", "1h", "*", "champion", "rate")[-1] == pytest.approx(0.04)
    assert line(state, "model", "20261124-153000-head-1a2b3c4d")[-1] == 2
    [stage] = page.stages
    assert (stage.role, stage.stage) == ("worker", "end_to_end") and 90 <= stage.count <= 120
    assert stage.p50 == pytest.approx(5, rel=0.01)


def test_ticks_after_a_state_give_the_same_as_a_new_state() -> None:
    history = History()
    history.update(worker(T0 + 500), T0 + 600)
    held = {one.id: one for one in history.state(T0 + 600).lines}
    times = history.state(T0 + 600).times
    revision = history.state(T0 + 600).revision
    for second in range(1, 35):
        now = T0 + 1_000 * second
        history.update(worker(now - 100, events=second), now)
        tick = history.tick(now)
        assert isinstance(tick, Tick) and tick.revision == revision
        if tick.time != times[-1]:
            times = [*times[1:], tick.time]
            held = {id: msgspec.structs.replace(one, values=[*one.values[1:], math.nan]) for id, one in held.items()}
        for point in tick.points:
            held[point.id].values[-2:] = [point.before, point.now]
    again = history.state(T0 + 34_000)
    assert again.times == times
    for one in again.lines:
        assert held[one.id].values == pytest.approx(one.values, nan_ok=True)


def test_what_is_read_late_lands_at_its_time_and_is_told() -> None:
    history = History()
    history.tick(T0 + 600_000)
    before = history.tick(T0 + 600_000).revision
    for second in range(1, 31):
        history.update(worker(T0 + 1_000 * second), T0 + 600_000)
    state = history.state(T0 + 600_000)
    assert state.revision != before
    found = [time for time, value in zip(state.times, line(state, "flow", "events"), strict=True) if value == 10.0]
    assert found and found[0] <= T0 + 1_000 and found[-1] <= T0 + 30_000
    assert state.page.health.level == "bad" and "silent" in state.page.health.sentence


def test_a_clock_ahead_does_not_empty_the_hour() -> None:
    history = History()
    for second in range(1, 31):
        history.update(worker(T0 + 1_000 * second), T0 + 1_000 * second)
    history.update(worker(T0 + 10**9, "w2"), T0 + 31_000)
    state = history.state(T0 + 31_000)
    assert len([value for value in line(state, "flow", "events") if not math.isnan(value)]) >= 3
    assert state.times[-1] <= T0 + 31_000


def test_a_process_that_falls_silent_no_longer_counts() -> None:
    history = History(quiet_ms=15_000)
    series = rate("1h", "feed", "champion", "m1", 500, 20)
    for second in range(1, 61):
        at = T0 + 1_000 * second
        history.update(worker(at), at)
        if second <= 20:
            history.update(evaluator(at, series, "e1"), at)
        history.update(evaluator(at, series, "e2"), at)
    page = history.state(T0 + 60_000).page
    assert page.rates[0].impressions == 500
    assert page.health.level == "warn" and "1 evaluator silent for 40 s" in page.health.sentence
    assert [(row.id, row.alive) for row in page.processes] == [("e1", False), ("e2", True), ("w1", True)]


def test_alerts_and_watches_are_told() -> None:
    history = History()
    history.update(evaluator(T0, [*drift("click_rate", 2e5, 1e5, True), *drift("queries", 0.5, 0.001)]), T0)
    fired = Alert(
        name="click_rate_drop",
        labels={"surface": "feed", "arm": "champion"},
        state="firing",
        summary="Fewer clicks",
        evidence={"rate": 0.01},
        since=T0,
    )
    history.alert(fired, T0)
    state = history.state(T0)
    assert [(row.watch, row.alarm) for row in state.page.watches] == [("click_rate", True), ("queries", False)]
    assert line(state, "drift", "click_rate", "feed", "champion", "statistic")[-1] == 2e5
    assert [row.alert for row in state.page.alerts] == [fired]
    assert "1 alert firing" in state.page.health.sentence and "No worker reports" in state.page.health.sentence


def test_memory_is_fixed_whatever_is_said() -> None:
    history = History()
    for second in range(1, 200):
        at = T0 + 10_000 * second
        series = [
            one
            for number in range(30)
            for one in rate("1h", f"surface-{second}-{number}", "champion", f"m{number}", 10, 1)
        ]
        history.update(evaluator(at, [*series, *drift("click_rate", 1.0, 2.0, surface=f"s{second}")]), at)
        history.update(worker(at, f"w{second}", model=f"m{second}"), at)
    page = history.state(T0 + 2_000_000).page
    assert len(history.ring) <= history.ring.most and len(page.rates) <= 40 * 4
    assert len(msgspec.json.encode(history.tick(T0 + 2_000_000))) < 500_000


def test_an_hour_of_a_busy_shop_is_read_in_seconds() -> None:
    cuts = [
        rate(window, surface, arm, "m", 1_000, 50)
        for window in ("1m", "15m", "1h", "24h")
        for surface in ("feed", "search", "similar", "popular")
        for arm in ("champion", "challenger")
    ]
    series: list[Series] = [one for cut in cuts for one in cut]
    history, began = History(), time.perf_counter()
    for second in range(600):
        at = T0 + 1_000 * second
        history.update(worker(at, ms=[float(value) for value in range(1, 50)]), at)
        history.update(evaluator(at, series), at)
    assert time.perf_counter() - began < 10
    state = history.state(T0 + 600_000)
    assert sum(not math.isnan(value) for value in line(state, "ctr", "1h", "*", "challenger", "rate")) >= 60


NAMES = sorted(
    {
        *(f"rate_{name}" for name in ("impressions", "clicks", "purchases", "revenue", "revenue_squared", "debiased")),
        *(f"position_{name}" for name in ("impressions", "clicks")),
        *(f"measure_{name}" for name in ("sum", "count")),
        *(f"calibration_{name}" for name in ("count", "predicted", "observed")),
        *(f"experiment_{name}" for name in ("impressions", "clicks", "shoppers", "ratio", "ratio_low", "log10_evalue")),
        *(f"drift_{name}" for name in ("statistic", "limit", "alarm")),
        *(
            "coverage",
            "exposure_sum",
            "exposure_squared",
            "propensity",
            "bots",
            "bot_clicks",
            "unreadable",
            "rate_other",
            "other",
        ),
    }
)
LABELS = {
    "window": ("1h", "24h", "x"),
    "surface": ("feed", "", "*"),
    "position": ("1", "13+", "x"),
    "measure": ("ndcg@10", "novelty@10", "x"),
    "intent": ("look", "x"),
    "bin": ("0", "99", "x"),
    "arm": ("canary", "champion", ""),
    "challenger": ("c", ""),
    "test": ("clicks", "traffic", ""),
    "watch": ("click_rate", "x"),
    "brand": ("", "b"),
    "reason": ("burst", "x"),
    "model": ("m", ""),
}
ANY_VALUE = st.sampled_from([-1e60, -5.0, -0.5, 0.0, 0.3, 1.0, 3.0, 1e17, 1e60]) | st.floats(-1e3, 1e3)
ANY_LABELS = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in LABELS.items()})
ANY_SERIES = st.builds(Series, st.sampled_from(NAMES), ANY_LABELS, ANY_VALUE)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(("e1", "e2")), st.lists(ANY_SERIES, max_size=30)), max_size=4))
def test_no_series_that_others_tell_breaks_the_page_or_the_status(taken: list[tuple[str, list[Series]]]) -> None:
    """The topic of snapshots is open: any series with any labels and any value may stand in one."""
    history, snapshots = History(), []
    for number, (name, series) in enumerate(taken):
        snapshots.append(evaluator(T0 + 500 * number, series, name))
        history.update(snapshots[-1], T0 + 500 * number)
    assert msgspec.json.decode(msgspec.json.encode(history.state(T0 + 3_000)))
    evaluator_tables(snapshots)
    reading = EvidenceReader(Promotion("c", datetime.fromtimestamp(0, UTC), "passed the gate", 0.1))
    reading.update(snapshots)
    reading.get(T0 + 3_000)
