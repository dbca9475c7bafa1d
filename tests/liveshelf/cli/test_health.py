"""What `liveshelf health` and `liveshelf status` say is wrong, from snapshots and a stack's record."""

import time

import msgspec

from evaluator.monitoring.alerts.restarts import Restarts
from liveshelf.cli.health import unwell, wrong
from liveshelf.stack_record import RunningProcess, StackRecord
from streams.reporting import STARTED
from streams.telemetry.meter import Series, Snapshot

NOW = 1_000_000


def said(at: int = NOW, *, id: str = "h-1", role: str = "worker", events: int = 5, **gauges: float) -> Snapshot:
    counts = {"events": events} if events else {}
    return Snapshot(role=role, id=id, from_ms=at - 1_000, to_ms=at, counts=counts, gauges=gauges, sketches={})


def begun(at: int, host: str = "h") -> Snapshot:
    labels = {"role": "worker", "instance": "worker-1", "host": host, "last_words": "OSError: full"}
    return Snapshot(
        role=STARTED, id=f"{host}-{at}", from_ms=at, to_ms=at, counts={}, gauges={}, sketches={}, labels=labels
    )


def why(*taken: Snapshot, record: StackRecord | None = None) -> list[str]:
    return unwell(sorted(taken, key=lambda one: one.to_ms), "h", "worker", NOW, 15.0, record)


def test_well_is_nothing_to_say_of_and_other_hosts_and_roles_do_not_count() -> None:
    assert why(said(lag=3.0)) == []
    assert why(said(id="other-1"), said(role="evaluator"), said(id="h2-1"))[0].startswith("No worker of this host")


def test_a_loop_is_told_with_its_last_words() -> None:
    starts = [begun(NOW - ago) for ago in (90_000, 60_000, 30_000, 10_000)]
    assert why(*starts) == [
        "No worker of this host has reported within the last 2 minutes.",
        "worker-1 restarted 3 times in 60 s: OSError: full.",
    ]
    assert len(why(*starts[1:])) == 1, "two restarts are no loop"
    assert len(why(*(begun(one.to_ms, "other") for one in starts))) == 1, "another host's loop is not ours"


def test_the_supervisor_of_this_machine_knows_it_too() -> None:
    restarts = Restarts("worker-1")
    for at in range(6):
        restarts.update(at * 20.0, "exit code 70", time.time())
    record = StackRecord(
        bootstrap_servers="b:1",
        redis_url="redis://r:1",
        since="",
        supervisor=RunningProcess(1, 0.0),
        processes={},
        restarts={"worker-1": restarts.get(115.0)},
    )
    assert "worker-1 restarted 6 times in 2 minutes: exit code 70." in why(said(), record=record)
    assert "worker-1 restarted 6 times in 2 minutes: exit code 70" in wrong([said()], NOW, record)


def test_what_a_process_says_of_itself_is_told() -> None:
    stopped = Series(
        "unreadable", {"topic": "shop.events", "partition": "3", "offset": "812", "error": "its checksum is wrong"}, 1.0
    )
    unread = msgspec.structs.replace(said(), series=[stopped])
    assert why(unread)[0].startswith("shop.events/3 cannot be read at offset 812: its checksum is wrong.")
    failing = msgspec.structs.replace(said(model_failing=1.0), labels={"model_failing": "m2"})
    assert why(failing) == ["Model m2 yields nothing that can be ranked; the version before serves."]
    paused = msgspec.structs.replace(said(redis_paused=1.0), labels={"redis_pause": "it is full"})
    assert why(paused) == ["The worker waits for Redis: it is full."] == wrong([paused], NOW)
    assert wrong([unread], NOW)[0].startswith("Partition shop.events/3 cannot be read at offset 812")


def test_lag_that_does_not_move_is_told_and_lag_that_does_is_not() -> None:
    still = [said(NOW - 1_000 * ago, events=0, lag=12.0) for ago in range(40)]
    assert why(*still) == ["12 events wait and none was answered for 40 s."]
    assert why(*still[:20]) == []
    assert why(*still, said(NOW - 5_000, lag=12.0)) == []


def test_a_role_that_fell_silent_is_told() -> None:
    assert why(said(NOW - 40_000))[0].startswith("No worker of this host has reported for 40 s, since 00:16:00 UTC")
    assert wrong([said(NOW - 40_000), said(role="evaluator")], NOW) == ["No worker has reported for 40 s"]
