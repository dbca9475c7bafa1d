"""A benchmark as a process of its own, forked as ``tests.forked`` does.

What it starts by ``python -m MODULE`` is forked from the same process as it was itself, which has imported everything:
roles are up seconds of CPU sooner. All else that it starts are programs as ever.
"""

import gc
import importlib
import json
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing import connection, forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar, Self

import typer

from tests.forked import CONTEXT, Forked

HANG_S = 800.0
"""After so long something hangs; before the test ends for that."""

_Popen = subprocess.Popen


def smoke(name: str, folder: Path) -> Any:
    """Run a benchmark at its smallest, to its end; returns its figures."""
    log, file = folder / "log", folder / "figures.json"
    ran = Forked(name, "--smoke", "--json", str(file), log=log, env={}, program=__name__)
    if ran.wait(HANG_S) is None:
        ran.stop(1)
    assert ran.exit_code == 0, log.read_text()
    return json.loads(file.read_text())


def main() -> None:
    """Run the benchmark that the first argument names; the others are its options."""
    name, *options = sys.argv[1:]
    command = typer.Typer(add_completion=False)
    command.command()(importlib.import_module(f"benchmarks.{name}").main)
    share()
    try:
        command(options, prog_name=name)
    finally:
        for fork in Fork.started:
            fork.kill()


def share() -> None:
    """Have this process start modules by forks of the one that it was forked from."""
    forkserver._forkserver.ensure_running = lambda: None  # type: ignore[attr-defined]  # it runs, if not as a child
    subprocess.Popen = popen  # type: ignore[misc,assignment]


def popen(argv: Sequence[str], **options: Any) -> Any:
    """As ``subprocess.Popen``."""
    words = [str(word) for word in argv]
    while sys.executable in words[1:]:  # what ties a process to its parent comes first
        words = words[words.index(sys.executable, 1) :]
    if words[0] != sys.executable or "-m" not in words:
        return _Popen(argv, **options)
    return Fork(words[words.index("-m") + 1 :], **options)


class Fork:
    """A module that runs, as ``subprocess.Popen`` shows it, for those of its options and methods that are in use."""

    started: ClassVar[list["Fork"]] = []

    def __init__(
        self,
        argv: Sequence[str],
        stdout: Any = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] = ".",
        **_: Any,
    ) -> None:
        self.args, self.stdout = argv, None
        if stdout == subprocess.PIPE:
            reading, writing = os.pipe()
            self.stdout = os.fdopen(reading, "rb")
        else:
            writing = os.dup(1 if stdout is None else stdout.fileno())
        with Connection(writing, readable=False) as out:
            told = list(argv), dict(os.environ if env is None else env), os.fspath(cwd), out
            self._process = CONTEXT.Process(target=_run, args=told)
            self._process.start()
        self.pid = self._process.pid
        self._lock = threading.Lock()
        self.started.append(self)

    @property
    def returncode(self) -> int | None:
        """Negative for a signal, None while it runs."""
        with self._lock:
            return self._process.exitcode

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        if not connection.wait([self._process.sentinel], timeout) and self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        code = self.returncode
        assert code is not None
        return code

    def communicate(self, *_: Any, **__: Any) -> tuple[None, None]:
        """Wait for its end; nothing is read of it."""
        self.wait()
        return None, None

    def terminate(self) -> None:
        """Ask it to end."""
        self._process.terminate()

    def kill(self) -> None:
        """End it."""
        self._process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()


def _run(argv: Sequence[str], env: Mapping[str, str], cwd: str, out: Connection) -> None:
    os.setsid()
    gc.freeze()  # what was imported before the fork stays
    for number in (1, 2):
        os.dup2(out.fileno(), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    threading.Thread(target=_follow, daemon=True).start()
    sys.argv = list(argv)
    runpy.run_module(argv[0], run_name="__main__", alter_sys=True)


def _follow() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)
