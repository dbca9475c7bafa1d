"""The supervisor: keeps servers and roles running, and ends them all.

`Supervisor` works one `tick` at a time, so the demo can drive it from its own loop. `run_stack` is all of
``liveshelf up``: servers, topics and roles, until Ctrl-C or SIGTERM.
"""

import os
import signal
import time
from collections.abc import Callable, Collection, Sequence
from types import FrameType, TracebackType
from typing import Self

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evaluator.monitoring.alerts.alert import ActiveAlerts, Alert
from evaluator.monitoring.alerts.restarts import WINDOW_S, Restarts
from evaluator.monitoring.alerts.system import crash_loop
from liveshelf.settings import Settings
from liveshelf.stack.alerts import AlertSender
from liveshelf.stack.roles import Role, RoleProcess
from liveshelf.stack.servers import Servers, stack
from liveshelf.stack.service import Service
from liveshelf.stack_record import StackError, StackRecord
from streams.clock import wall_ms
from streams.connectivity import UnreachableError
from streams.kafka import kafka_connectivity, topics
from streams.kafka.errors import KAFKA_ERRORS
from streams.redis import redis_connectivity
from streams.runtime.lifecycle import bounded
from streams.runtime.tasks import Backoff
from streams.telemetry.masking import masked, masked_servers

TICK_S = 0.1

HEALTHY_S = 60.0
"""After a run of this many seconds, the backoff starts anew."""


def restart_backoff(first_s: float = 0.5, longest_s: float = 30.0) -> Backoff:
    """The waits before a crashed process is restarted; without jitter, since a supervisor restarts few processes."""
    return Backoff(longest_s, lambda: 1.0, first_s)


class _Kept:
    """One server or role, when it was started, and when it may be restarted."""

    def __init__(self, member: Service, backoff: Backoff, restarts: Restarts, clock: Callable[[], float]) -> None:
        self.member = member
        self.restarts = restarts
        self.looping = False
        self.backoff = backoff
        self.clock = clock
        self.started_at = clock()
        self.start_at: float | None = None
        self.done = False

    def start(self) -> None:
        self.started_at = self.clock()
        self.start_at = None
        self.member.start()

    def ended(self, reason: str) -> float:
        """Record a crash or a failed start; returns the wait in seconds."""
        now = self.clock()
        if now - self.started_at >= HEALTHY_S:
            self.backoff.reset()
        self.restarts.update(now, reason, time.time())
        wait_s = self.backoff.next()
        self.start_at = self.clock() + wait_s
        return wait_s


class Supervisor:
    """Starts roles beside running servers, and restarts roles and servers that crash.

    A role that ends with exit code 0 has done its work and stays ended, unless it ``lasts``. The supervisor never gives
    up: what keeps ending is restarted again and again, with waits up to the backoff's limit, and reported as a loop.

    Parameters
    ----------
    servers : Servers
        From `liveshelf.stack.servers.stack`; a crashed one is restarted on its port, with its data.
    roles : sequence of Role
        Started in this order, stopped in reverse. Each gets the addresses of Kafka and Redis in its environment.
    say : callable
        Called with a message for every restart and every end.
    echo : callable, optional
        Called with a role's name and a line of its output, from other threads; without it output goes only to logs.
    stop_timeout_s : float
        How long a role may take to end before it is killed.
    backoff : callable
        Makes the backoff of one server or role.
    alarm : callable, optional
        Called with an alert at the start and the end of a crash loop; must return at once.
    window_s : float
        How long a restart counts.
    looping : collection of str
        Names that an earlier supervisor, which was killed, left in a loop: its alerts are ended.

    Examples
    --------
    ``with stack(config) as servers, Supervisor(servers, roles) as supervisor: supervisor.tick()  # every 0.1 s or so``
    """

    def __init__(
        self,
        servers: Servers,
        roles: Sequence[Role],
        *,
        say: Callable[[str], None] = lambda _: None,
        echo: Callable[[str, str], None] | None = None,
        stop_timeout_s: float = 10.0,
        backoff: Callable[[], Backoff] = restart_backoff,
        clock: Callable[[], float] = time.monotonic,
        alarm: Callable[[Alert], None] = lambda _: None,
        window_s: float = WINDOW_S,
        looping: Collection[str] = (),
    ) -> None:
        self._servers = servers
        self._alarm, self._active = alarm, ActiveAlerts()
        self._say = say
        env = {
            "LIVESHELF_KAFKA__BOOTSTRAP_SERVERS": servers.bootstrap_servers,
            "LIVESHELF_REDIS__URL": servers.redis_url,
        }
        self.roles = tuple(
            RoleProcess(
                role,
                servers.folder / "logs" / f"{role.name}.log",
                env,
                echo and _named(echo, role.name),
                stop_timeout_s,
            )
            for role in roles
        )
        self._clock = clock
        self._left = frozenset(looping)
        self._kept = [
            _Kept(member, backoff(), Restarts(member.name, window_s), clock)
            for member in (*servers.started, *self.roles)
        ]

    def start(self) -> None:
        """Start all roles."""
        for role in self.roles:
            role.start()
        self._write_record()
        for kept in self._kept:
            if kept.member.name in self._left:
                self._active.fire(self._alert(kept), wall_ms())
                self._send(self._active.resolve(self._alert(kept).key, wall_ms()))

    def tick(self) -> None:
        """Check everything once and restart what is due; returns soon unless a server has to be started."""
        for kept in self._kept:
            if kept.done:
                continue
            if not kept.member.running:
                if kept.start_at is None:
                    self._ended(kept)
                elif kept.clock() >= kept.start_at:
                    self._restart(kept)
            self._check_loop(kept)

    def end(self, name: str) -> None:
        """End one role and do not restart it."""
        for kept in self._kept:
            if kept.member.name == name:
                kept.done = True
                kept.member.stop()

    def stop(self) -> None:
        """End all roles and their crash loops: ask all of them, the last started first, then wait for each."""
        for alert in self._active.get():
            self._send(self._active.resolve(alert.key, wall_ms()))
        for role in reversed(self.roles):
            role.terminate()
        for role in reversed(self.roles):
            role.stop()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _ended(self, kept: _Kept) -> None:
        member, code = kept.member, kept.member.exit_code
        if code == 0 and isinstance(member, RoleProcess) and not member.lasts:
            kept.done = True
            self._say(f"{member.name} has finished")
        else:
            words = member.last_words
            wait_s = kept.ended(words or _how(code))
            self._loop(kept)
            reason = f": {words}" if words else ""
            self._say(f"{member.name} ended ({_how(code)}){reason}; starting it again in {wait_s:g} s")
        self._write_record()

    def _restart(self, kept: _Kept) -> None:
        try:
            kept.start()
        except (StackError, OSError) as error:
            # OSError: no memory or no process left, or a folder that cannot be written.
            wait_s = kept.ended(bounded(f"cannot be started: {error}"))
            self._loop(kept)
            self._say(f"{kept.member.name} cannot be started, next attempt in {wait_s:g} s: {error}")
            return
        self._say(f"{kept.member.name} started again, process {kept.member.pid}")
        self._write_record()

    def _loop(self, kept: _Kept) -> None:
        """Report a crash loop, at each end of its process."""
        if kept.restarts.looping(now := self._clock()):
            kept.looping = True
            self._say(kept.restarts.get(now).sentence)
            self._send(self._active.fire(self._alert(kept), wall_ms()))

    def _check_loop(self, kept: _Kept) -> None:
        """Report the end of a crash loop."""
        if kept.looping and not kept.restarts.looping(self._clock()):
            kept.looping = False
            self._say(f"{kept.member.name} runs again: not restarted for {kept.restarts.window_s:g} s")
            self._send(self._active.resolve(self._alert(kept).key, wall_ms()))
            self._write_record()

    def _alert(self, kept: _Kept) -> Alert:
        name = kept.member.name
        return crash_loop(name.rpartition("-")[0] or name, name, kept.restarts, self._clock(), wall_ms())

    def _send(self, alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            self._alarm(alert)

    def _write_record(self) -> None:
        now = self._clock()
        known = {kept.member.name: kept.restarts.get(now) for kept in self._kept}
        restarts = {name: one for name, one in known.items() if one.total}
        try:
            self._servers.write_record(self.roles, restarts)
        except OSError as error:  # a full disk must not end the processes
            self._say(f"stack.json cannot be written: {error}")


def run_stack(settings: Settings, roles: Sequence[Role], *, console: Console) -> int:
    """Run servers and roles until Ctrl-C or SIGTERM, for ``liveshelf up``. Call it from the main thread.

    Returns
    -------
    int
        Exit code: 0 when it was stopped, 1 when it could not start; the reason is on the console.
    """

    def say(message: str) -> None:
        console.print(Text.assemble(("stack ", "bold cyan"), masked(message)), soft_wrap=True)

    def echo(name: str, line: str) -> None:
        console.print(Text.assemble((f"{name} ", "cyan"), Text.from_ansi(masked(line))), soft_wrap=True)

    config = settings.stack
    before = StackRecord.read(config.folder)
    looping = [name for name, one in before.restarts.items() if one.looping] if before else []
    with Signals() as signals:
        try:
            with stack(
                config, bootstrap_servers=settings.own_kafka(), redis_url=settings.own_redis(), say=say
            ) as servers:
                here = settings.at(servers.bootstrap_servers, servers.redis_url)
                _reach(here)
                with (
                    AlertSender(here.streams(), f"supervisor-{os.uname().nodename}") as sender,
                    Supervisor(
                        servers,
                        roles,
                        say=say,
                        echo=echo,
                        stop_timeout_s=config.stop_timeout_s,
                        alarm=sender.send,
                        looping=looping,
                    ) as supervisor,
                ):
                    signals.calm = True
                    console.print(_table(servers, supervisor))
                    say(f"running; data is in {config.folder}; Ctrl-C stops everything")
                    while not signals.wait(TICK_S):
                        supervisor.tick()
                    say("stopping")
        except KeyboardInterrupt:
            say("stopped before everything was up")
            return signals.exit_code
        except StackError as error:
            console.print(Text(masked(str(error)), style="red"), soft_wrap=True)
            return 1
    return 0


class Signals:
    """Ctrl-C, SIGTERM and a closed terminal: the first ends the stack, later ones do not disturb the cleanup.

    During the start, which may take long, the first one raises KeyboardInterrupt; once ``calm``, `wait` ends.
    """

    HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.stopped = False
        self.calm = False
        self._first: int | None = None

    def __enter__(self) -> Self:
        self._before = [(number, signal.signal(number, self._handle)) for number in self.HANDLED]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before:
            signal.signal(number, handler)

    def wait(self, timeout_s: float) -> bool:
        """Wait so long, or until a signal comes; whether one has come.

        There is no lock in it, as an event has: a handler runs within what it interrupts, and would wait for a lock
        that this thread holds.
        """
        deadline = time.monotonic() + timeout_s
        while not self.stopped and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, TICK_S))
        return self.stopped

    @property
    def exit_code(self) -> int:
        """The exit code after a signal, as in shells: 130 after Ctrl-C; 0 without one."""
        return 0 if self._first is None else 128 + self._first

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        first = self._first is None
        if first:
            self._first = number
        self.stopped = True
        if first and not self.calm:
            raise KeyboardInterrupt


def _reach(settings: Settings) -> None:
    """Check that Kafka and Redis answer, and create the topics; servers of the settings may be away."""
    try:
        kafka_connectivity.reach(settings.kafka)
        redis_connectivity.reach(settings.redis)
        topics.create(settings.kafka, settings.topics)
    except UnreachableError as error:
        raise StackError(str(error)) from error
    except (*KAFKA_ERRORS, OSError) as error:
        raise StackError(
            f"Kafka at {settings.kafka.bootstrap_servers} cannot be used: {type(error).__name__}: {error}. "
            "Check that this user may create topics there."
        ) from error


def _table(servers: Servers, supervisor: Supervisor) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("what", "where", "process", "log"):
        table.add_column(column, overflow="fold", no_wrap=column == "where")  # so that it can be copied
    ours = {member.name: member for member in servers.started}
    for name, where in (("kafka", masked_servers(servers.bootstrap_servers)), ("redis", masked(servers.redis_url))):
        if name in ours:
            table.add_row(name, where, str(ours[name].pid), str(servers.folder / name / f"{name}.log"))
        else:
            table.add_row(name, where, "yours", "")
    for role in supervisor.roles:
        table.add_row(role.name, role.where, str(role.pid), str(role.log))
    return table


def _named(echo: Callable[[str, str], None], name: str) -> Callable[[str], None]:
    return lambda line: echo(name, line)


def _how(code: int | None) -> str:
    if code == -signal.SIGKILL:
        return "signal SIGKILL, from outside or for want of memory"
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"
