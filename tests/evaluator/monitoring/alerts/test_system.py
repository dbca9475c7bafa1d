"""Alerts about the system itself, from snapshots and a clock."""

import msgspec
import pytest

from evaluator.dashboard.history import History
from evaluator.monitoring.alerts.alert import Alert
from evaluator.monitoring.alerts.restarts import Restarts
from evaluator.monitoring.alerts.system import MOST, SystemMonitor
from streams.reporting import STARTED
from streams.telemetry.meter import Series, Snapshot


def said(at: int, role: str = "worker", id: str = "h-1", series: tuple[Series, ...] = (), **gauges: float) -> Snapshot:
    return Snapshot(
        role=role, id=id, from_ms=at - 1_000, to_ms=at, counts={}, gauges=gauges, sketches={}, series=list(series)
    )


def begun(at: int, instance: str | None = "worker-1", reason: str = "OSError: full") -> Snapshot:
    labels = {"role": "worker", "host": "h", "last_words": reason} | ({"instance": instance} if instance else {})
    return msgspec.structs.replace(said(at, STARTED, f"h-{at}"), labels=labels)


def unreadable(offset: str = "812") -> Series:
    where = {"topic": "shop.events", "partition": "3", "offset": offset, "error": "unknown codec"}
    return Series("unreadable", where, 1.0)


def names(alerts: list[Alert]) -> list[tuple[str, str]]:
    return [(alert.name, alert.state) for alert in alerts]


def test_a_loop_fires_once_and_is_over_after_five_minutes_without_a_restart() -> None:
    watch = SystemMonitor()
    for at in range(0, 200_000, 40_000):
        watch.update(begun(at), at)
    [alert] = watch.alerts(200_000)
    assert alert.summary == "worker-1 restarted 4 times in 3 minutes: OSError: full"
    assert alert.evidence == {"restarts": 4, "seconds": 160, "reason": "OSError: full"}
    watch.update(said(459_000, id="h-160000-1a2b"), 459_000)
    assert watch.alerts(201_000) == [] == watch.alerts(459_000)
    assert names(watch.alerts(461_000)) == [("crash_loop", "resolved")]


def test_one_that_waits_for_long_to_be_started_again_is_still_in_its_loop() -> None:
    watch = SystemMonitor()
    for at in (0, 10_000, 30_000, 70_000):
        watch.update(begun(at), at)
    assert names(watch.alerts(71_000)) == [("crash_loop", "firing")]
    assert [names(watch.alerts(second * 1_000)) for second in range(72, 900)] == [[]] * 828
    watch.update(begun(900_000), 900_000)
    watch.update(said(1_000_000, id="h-900000-1a2b"), 1_000_000)
    assert watch.alerts(1_000_000) == []
    watch.update(said(1_201_000, id="h-900000-1a2b"), 1_201_000)
    assert names(watch.alerts(1_201_000)) == [("crash_loop", "resolved")]


def test_a_crash_every_two_minutes_does_not_come_and_go() -> None:
    watch, told = SystemMonitor(), list[Alert]()
    for second in range(0, 3_600, 10):
        if second % 130 == 0:
            watch.update(begun(second * 1_000), second * 1_000)
        watch.update(said(second * 1_000, id=f"h-{second // 130 * 130_000}-1a2b"), second * 1_000)
        told += watch.alerts(second * 1_000)
    assert names(told) in ([], [("crash_loop", "firing")])


@pytest.mark.parametrize(
    "starts",
    [
        [begun(at, f"worker-{at}") for at in range(20)],  # scale-out
        [begun(at, f"worker-{number}") for number in range(3) for at in (0, 100_000, 200_000)],  # two rolling deploys
        [begun(at, None) for at in range(0, 300_000, 10_000)],  # who has no name cannot be told from others
    ],
)
def test_what_is_no_loop(starts: list[Snapshot]) -> None:
    watch = SystemMonitor()
    for start in sorted(starts, key=lambda one: one.to_ms):
        watch.update(start, start.to_ms)
    assert watch.alerts(300_000) == []


def test_an_unreadable_partition_is_one_alert_for_all_who_cannot_read_it() -> None:
    watch = SystemMonitor()
    for number in range(3):
        watch.update(said(1_000, id=f"h-{number}", series=(unreadable(),)), 1_000)
    [alert] = watch.alerts(1_000)
    assert (alert.key, alert.evidence["offset"]) == ("unreadable_partition|partition=3|topic=shop.events", "812")
    assert "dead-letters skip shop.events 3 812" in alert.summary
    watch.update(said(2_000, id="h-0"), 2_000)
    assert watch.alerts(2_000) == [], "two still cannot"
    for number in range(3):
        watch.update(said(3_000, id=f"h-{number}"), 3_000)
    assert names(watch.alerts(3_000)) == [("unreadable_partition", "resolved")]


def test_a_failing_model_and_a_pause_that_lasts_fire_and_a_short_pause_does_not() -> None:
    watch = SystemMonitor()
    failing = msgspec.structs.replace(said(0, model_failing=1.0), labels={"model_failing": "m2"})
    watch.update(failing, 0)
    assert [alert.labels for alert in watch.alerts(0)] == [{"model": "m2"}]
    told = []
    for second in range(1, 80):
        paused = 1 < second < 10 or 20 < second < 60
        watch.update(said(second * 1_000, redis_paused=float(paused)), second * 1_000)
        told += [(second, alert.name, alert.state) for alert in watch.alerts(second * 1_000)]
    assert told == [(1, "model_failing", "resolved"), (51, "redis_paused", "firing"), (60, "redis_paused", "resolved")]


def test_a_role_that_is_gone_fires_only_while_others_report() -> None:
    watch, told = SystemMonitor(), []
    for second in range(200):
        now = second * 1_000
        if second < 10 or second > 150:
            watch.update(said(now), now)
        if not 20 < second < 60:  # Kafka is away
            watch.update(said(now, "evaluator", "h-2"), now)
        told += [(second, alert.name, alert.state, alert.labels["role"]) for alert in watch.alerts(now)]
    assert [(name, state, role) for _, name, state, role in told] == [
        ("role_silent", "firing", "worker"),
        ("role_silent", "resolved", "worker"),
    ]
    assert 60 + 59 <= told[0][0] <= 60 + 62 and told[1][0] == 151


def test_memory_is_bounded_and_a_clock_that_runs_ahead_does_not_keep_anything() -> None:
    watch = SystemMonitor()
    for number in range(2 * MOST):
        watch.update(begun(number, f"w{number}"), number)
        watch.update(said(10**15, id=f"h-{number}", model_failing=1.0), number)
    assert len(watch._last) == len(watch._restarts) == MOST
    assert names(watch.alerts(2 * MOST)) == [("model_failing", "firing")]
    assert names(watch.alerts(2 * MOST + 16_000)) == [("model_failing", "resolved")]


def test_what_fires_is_remembered_over_a_restart_of_the_evaluator() -> None:
    first, second = SystemMonitor(), SystemMonitor()
    for watch in (first, second):
        for at in (0, 1_000, 2_000, 3_000):
            watch.update(begun(at), at)
    assert names(first.alerts(4_000)) == [("crash_loop", "firing")]
    second.active.load(first.active.save())
    assert second.alerts(5_000) == []
    second.update(said(303_000, id="h-3000-1a2b"), 303_000)
    assert names(second.alerts(304_000)) == [("crash_loop", "resolved")]


def test_a_restart_counts_by_whatever_clock_it_is_given() -> None:
    restarts = Restarts("worker-1", window_s=10)
    for now in (5.0, 1.0, 6.0):
        restarts.update(now, "", 0)
    assert restarts.looping(6.0) and not restarts.looping(17.0)


def test_the_page_is_red_with_the_sentence() -> None:
    history = History()
    for at in (1_000, 2_000, 3_000, 4_000):
        history.update(begun(at), at)
    history.update(said(5_000, "evaluator", "h-9"), 5_000)
    history.update(said(5_000, series=(unreadable(),), model_failing=1.0), 5_000)
    page = history.state(5_000).page
    assert page.health.level == "bad" and page.health.workers == 1
    for words in ("Worker-1 restarted 3 times in 3 s: OSError: full", "Partition shop.events/3 cannot", "The champion"):
        assert words in page.health.sentence
    assert [row.id for row in page.processes] == ["h-9", "h-1"], "a beginning is no process"
    assert "shop.events/3 cannot be read" in page.processes[1].trouble


def test_the_page_is_red_for_what_only_a_supervisor_knows() -> None:
    history = History()
    loop = Alert(
        name="crash_loop",
        labels={"role": "dashboard", "instance": "dashboard"},
        state="firing",
        summary="dashboard restarted 9 times in 5 minutes",
        evidence={},
        since=1,
    )
    history.alert(loop, 2)
    assert history.state(3_000).page.health.sentence.startswith("Dashboard restarted 9 times in 5 minutes. Nothing has")
    history.alert(msgspec.structs.replace(loop, state="resolved", until=4), 4)
    assert history.state(5_000).page.health.level == "none"
