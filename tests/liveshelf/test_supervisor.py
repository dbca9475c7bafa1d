"""The supervisor's decisions and the folder's lock, with tiny programs as roles and no servers of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from evaluator.monitoring.alerts.alert import Alert
from liveshelf.settings import StackConfig
from liveshelf.stack.process import Process, tail
from liveshelf.stack.roles import Role
from liveshelf.stack.servers import Servers, stack
from liveshelf.stack.supervisor import HEALTHY_S, Signals, Supervisor, restart_backoff
from liveshelf.stack_record import AlreadyRunningError, RunningProcess, StackRecord, clear_leftovers, locked
from tests.shop import HANG_S, until

SLEEP = "import time; time.sleep(60)"


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    with stack(
        StackConfig(folder=tmp_path / "stack"), bootstrap_servers="broker:9092", redis_url="redis://me:secret@cache:1/0"
    ) as servers:
        yield servers


@pytest.mark.parametrize("number", Signals.HANDLED)
def test_what_a_signal_broke_off_has_the_exit_code_that_shells_give(number: signal.Signals) -> None:
    with Signals() as signals:
        assert signals.exit_code == 0
        signals.calm = True
        for one in (number, signal.SIGINT):  # the first counts
            os.kill(os.getpid(), one)
        assert signals.stopped and signals.exit_code == 128 + number
        assert signals.wait(HANG_S), "what waits ends at once"


def test_backoff_grows_to_its_bound_and_resets_after_a_healthy_run(servers: Servers) -> None:
    now, waits = 0.0, list[str]()
    with Supervisor(
        servers,
        [Role("worker-1", python("raise SystemExit(3)"))],
        say=waits.append,
        backoff=lambda: restart_backoff(1.0, 5.0),
        clock=lambda: now,
    ) as supervisor:
        (role,) = supervisor.roles
        for ran_s in (0.0, HEALTHY_S - 0.1, 0.0, 0.0, HEALTHY_S, 0.0):
            until(lambda: not role.running)
            now += ran_s
            supervisor.tick()
            now += 10.0  # longer than every wait
            supervisor.tick()
    found = [float(line.rpartition("starting it again in ")[2].split()[0]) for line in waits if "again in" in line]
    assert found == [1.0, 2.0, 4.0, 5.0, 1.0, 2.0]


def test_killed_role_is_started_again_after_the_backoff(servers: Servers) -> None:
    now = 0.0
    said: list[str] = []
    with Supervisor(servers, [Role("worker-1", python(SLEEP))], say=said.append, clock=lambda: now) as supervisor:
        (role,) = supervisor.roles
        for wait in (0.5, 1.0, 2.0):
            assert role.pid
            before = role.pid
            os.kill(before, 9)
            until(lambda: not role.running)
            supervisor.tick()
            assert "signal SIGKILL" in said[-1] and f"; starting it again in {wait:g} s" in said[-1]
            now += wait - 0.01
            supervisor.tick()
            assert not role.running
            now += 0.02
            supervisor.tick()
            assert role.pid not in (None, before)
    assert not role.running


def test_finished_role_stays_ended_and_a_failing_one_does_not(servers: Servers) -> None:
    said: list[str] = []
    roles = [Role("import", python("")), Role("broken", python("raise SystemExit(3)"))]
    with Supervisor(servers, roles, say=said.append) as supervisor:
        until(lambda: not any(role.running for role in supervisor.roles))
        supervisor.tick()
        supervisor.tick()
    assert said == ["import has finished", "broken ended (exit code 3); starting it again in 0.5 s"]


def test_roles_learn_where_the_servers_are_and_their_output_is_named(servers: Servers) -> None:
    lines: list[tuple[str, str]] = []
    code = (
        "import os; print(os.environ['LIVESHELF_KAFKA__BOOTSTRAP_SERVERS'], os.environ['LIVESHELF_REDIS__URL'],"
        " os.environ['MINE'])"
    )
    role = Role("worker-1", python(code), {"MINE": "too"})
    with Supervisor(servers, [role], echo=lambda name, line: lines.append((name, line))) as supervisor:
        until(lambda: not supervisor.roles[0].running)
    assert lines == [("worker-1", "broker:9092 redis://me:secret@cache:1/0 too")]
    assert tail(servers.folder / "logs" / "worker-1.log") == lines[0][1]


def test_missing_program_is_told_in_the_log_and_tried_again(servers: Servers) -> None:
    said: list[str] = []
    with Supervisor(servers, [Role("odd", ("no-such-program",))], say=said.append) as supervisor:
        until(lambda: not supervisor.roles[0].running)
        supervisor.tick()
        assert "cannot run no-such-program" in tail(supervisor.roles[0].log)
    reason = "cannot run no-such-program: No such file or directory"
    assert said == [f"odd ended (exit code 1): {reason}; starting it again in 0.5 s"]


def test_stop_leaves_neither_a_deaf_role_nor_what_it_started(servers: Servers) -> None:
    code = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"print(subprocess.Popen([sys.executable, '-c', {SLEEP!r}]).pid, flush=True); time.sleep(60)"
    )
    lines: list[str] = []
    supervisor = Supervisor(
        servers, [Role("deaf", python(code))], echo=lambda _, line: lines.append(line), stop_timeout_s=0.3
    )
    with supervisor:
        until(lambda: lines)
        assert psutil.pid_exists(int(lines[0]))
    assert supervisor.roles[0].exit_code == -9
    until(lambda: not _lives(int(lines[0])))


def test_record_names_the_processes_and_is_for_its_owner_only(servers: Servers) -> None:
    with Supervisor(servers, [Role("worker-1", python(SLEEP))]) as supervisor:
        path = servers.folder / "stack.json"
        told = json.loads(path.read_text())
        assert told["bootstrap_servers"] == "broker:9092"
        assert told["processes"]["worker-1"]["pid"] == supervisor.roles[0].pid
        assert told["supervisor"]["pid"] == os.getpid()
        assert path.stat().st_mode & 0o077 == 0


def test_second_stack_in_a_folder_is_told_who_holds_it(servers: Servers) -> None:
    with pytest.raises(AlreadyRunningError) as told, locked(servers.folder):
        pass
    message = str(told.value)
    assert f"process {os.getpid()}, since 20" in message
    assert "Kafka is at broker:9092, Redis at redis://***@cache:1/0" in message


def test_folder_is_free_again_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with stack(StackConfig(folder=tmp_path), bootstrap_servers="b:1", redis_url="redis://r:1"):
            assert StackRecord.read_live(tmp_path)
        assert StackRecord.read(tmp_path) is None


def test_leftovers_are_ended_by_pid_but_a_recycled_pid_is_spared(tmp_path: Path) -> None:
    left, other = Process(python(SLEEP), log=tmp_path / "log"), Process(python(SLEEP), log=tmp_path / "log")
    try:
        known = RunningProcess.of(left.pid)
        recycled = RunningProcess(other.pid, known.started - 100)
        StackRecord(
            bootstrap_servers="b:1",
            redis_url="redis://r:1",
            since="",
            supervisor=recycled,
            processes={"kafka": known, "redis": recycled},
        ).write(tmp_path)
        assert StackRecord.read_live(tmp_path) is None
        assert clear_leftovers(tmp_path) == ["kafka"]
        assert not left.running and other.running
    finally:
        left.stop()
        other.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_children_die_with_a_killed_parent(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from liveshelf.stack.process import Process;"
        f"print(Process([sys.executable, '-c', {SLEEP!r}], log=Path(sys.argv[1])).pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [*python(code), str(tmp_path / "log")], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        assert psutil.pid_exists(child)
        parent.kill()
    until(lambda: not _lives(child))


def _lives(pid: int) -> bool:
    """Whether it runs; one that ended and waits for its new parent to notice does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


WORDS = (
    "import os; from pathlib import Path; "
    "Path(os.environ['LIVESHELF_LAST_WORDS']).write_text("
    "f'process {os.getpid()}: UnsupportedCodecError at shop.events/3 offset 812: redis://me:pw@h\\n');"
    "raise SystemExit(70)"
)


def test_a_loop_is_told_with_the_last_words_kept_in_the_record_and_over_after_the_window(servers: Servers) -> None:
    now = 0.0
    said: list[str] = []
    alerts: list[Alert] = []
    supervisor = Supervisor(
        servers,
        [Role("worker-1", python(WORDS))],
        say=said.append,
        clock=lambda: now,
        alarm=alerts.append,
        window_s=100.0,
    )
    with supervisor:
        (role,) = supervisor.roles
        for wait in (0.5, 1.0, 2.0):
            until(lambda: not role.running)
            assert not alerts
            supervisor.tick()
            now += wait
            if wait < 2:
                supervisor.tick()
        reason = "UnsupportedCodecError at shop.events/3 offset 812: redis://***@h"
        assert f"worker-1 restarted 3 times in 2 s: {reason}" in said
        assert said[-1] == f"worker-1 ended (exit code 70): {reason}; starting it again in 2 s"
        record = StackRecord.read_live(servers.folder)
        assert record
        known = record.restarts["worker-1"]
        assert (known.total, known.looping, known.reason) == (3, True, reason)
        assert [(one.key, one.state, one.evidence["restarts"]) for one in alerts] == [
            ("crash_loop|instance=worker-1|role=worker", "firing", 3)
        ]
        role._role = Role("worker-1", python(SLEEP))
        supervisor.tick()
        assert role.running
        now += 100.5
        supervisor.tick()
        assert [one.state for one in alerts] == ["firing", "resolved"]
        assert said[-1] == "worker-1 runs again: not restarted for 100 s"
        record = StackRecord.read_live(servers.folder)
        assert record and not record.restarts["worker-1"].looping and record.restarts["worker-1"].total == 3


def test_words_of_another_process_are_not_taken_for_those_of_one_that_was_killed(servers: Servers) -> None:
    said: list[str] = []
    with Supervisor(servers, [Role("worker-1", python(SLEEP))], say=said.append) as supervisor:
        (role,) = supervisor.roles
        (servers.folder / "logs" / "worker-1.last").write_text("process 1: of another\n")
        assert role.pid
        os.kill(role.pid, 9)
        until(lambda: not role.running)
        supervisor.tick()
    assert said == ["worker-1 ended (signal SIGKILL, from outside or for want of memory); starting it again in 0.5 s"]


def test_a_role_that_lasts_is_started_again_whatever_its_exit_code(servers: Servers) -> None:
    said: list[str] = []
    with Supervisor(servers, [Role("worker-1", python(""), lasts=True)], say=said.append) as supervisor:
        until(lambda: not supervisor.roles[0].running)
        supervisor.tick()
    assert said == ["worker-1 ended (exit code 0); starting it again in 0.5 s"]


def test_a_machine_that_can_start_nothing_does_not_end_the_supervisor(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    said: list[str] = []
    with Supervisor(servers, [Role("worker-1", python(SLEEP))], say=said.append, clock=lambda: now) as supervisor:
        (role,) = supervisor.roles
        assert role.pid
        os.kill(role.pid, 9)
        until(lambda: not role.running)
        supervisor.tick()
        with monkeypatch.context() as full:

            def refuse() -> None:
                raise BlockingIOError(11, "Resource temporarily unavailable")

            full.setattr(role, "start", refuse)
            full.setattr(StackRecord, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
            for _ in range(8):
                now += 31
                supervisor.tick()
            assert "cannot be started, next attempt in 30 s: [Errno 11]" in said[-1]
            assert any("worker-1 restarted" in line and "cannot be started" in line for line in said)
        now += 31
        supervisor.tick()
        assert role.running
    assert said[-1].startswith("worker-1 started again")


def test_an_end_of_the_stack_ends_its_alerts(servers: Servers) -> None:
    now = 0.0
    alerts: list[Alert] = []
    role = Role("trainer-1", python("raise SystemExit(1)"))
    with Supervisor(servers, [role], clock=lambda: now, alarm=alerts.append) as supervisor:
        for _ in range(3):
            until(lambda: not supervisor.roles[0].running)
            supervisor.tick()
            now += 30
            supervisor.tick()
    assert [(one.labels["role"], one.state) for one in alerts] == [("trainer", "firing"), ("trainer", "resolved")]


def test_a_loop_that_a_killed_supervisor_left_is_ended(servers: Servers) -> None:
    alerts: list[Alert] = []
    role = Role("worker-1", python(SLEEP))
    with Supervisor(servers, [role], alarm=alerts.append, looping=["worker-1", "gone"]):
        pass
    assert [(one.key, one.state) for one in alerts] == [("crash_loop|instance=worker-1|role=worker", "resolved")]


def test_what_a_role_prints_is_bounded_on_disk_and_in_memory(servers: Servers) -> None:
    code = "import sys; [sys.stdout.write('x' * 1_000_000) for _ in range(40)]; print(); print('the end')"
    with Supervisor(servers, [Role("loud", python(code))]) as supervisor:
        (role,) = supervisor.roles
        until(lambda: not role.running)
        supervisor.tick()
    written = sum(file.stat().st_size for file in (servers.folder / "logs").glob("loud.log*"))
    assert written <= 11_000_000
    assert tail(role.log, 1) == "the end"
