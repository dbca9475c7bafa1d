"""One child process: with its own process group and log; it ends with its parent, and is signalled by its own pid.

Knows nothing of what the process does. A process is never looked up by name.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from logging import LogRecord
from logging.handlers import RotatingFileHandler
from pathlib import Path

LOG_BYTES = 5_000_000
LINE_BYTES = 65_536
"""Longer lines are split."""
STOP_TIMEOUT_S = 10.0

# Runs in the child before the program itself, which then takes its place under the same pid. PR_SET_PDEATHSIG is 1.
_TIE_TO_PARENT = """\
import ctypes, os, sys
parent, death, *argv = sys.argv[1:]
ctypes.CDLL(None).prctl(1, int(death))
if os.getppid() != int(parent):
    sys.exit("the parent died")
try:
    os.execvp(argv[0], argv)
except OSError as error:
    sys.exit(f"cannot run {argv[0]}: {error.strerror}")
"""


class Process:
    """A started child process.

    On Linux the kernel sends it ``on_orphaned`` when the thread that started it ends, also after ``kill -9``. So start
    processes from a thread that lives as long as they should. On other systems a killed parent leaves them running, and
    the next start in the same folder ends them.

    Parameters
    ----------
    argv : sequence of str
        Program and arguments.
    log : Path
        Output is appended to this file.
    env : mapping of str to str, optional
        Added to this process's own environment.
    echo : callable, optional
        Called with every line of output, from another thread, in addition to the log.
    on_orphaned : signal.Signals
        The signal that the child gets when its parent ends.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     process = Process(["sleep", "60"], log=Path(folder) / "log")
    ...     process.running, process.stop(), process.running
    (True, -15, False)
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        echo: Callable[[str], None] | None = None,
        on_orphaned: signal.Signals = signal.SIGKILL,
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        with log.open("ab") as file:
            self._popen = subprocess.Popen(
                [*_tied(on_orphaned), *argv],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if echo else file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        self._swept = False
        self._pump: threading.Thread | None = None
        if echo:
            self._pump = threading.Thread(target=self._copy, args=(echo,), name=f"log-{self.pid}", daemon=True)
            self._pump.start()

    @property
    def pid(self) -> int:
        """The process id, and the id of its process group."""
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.exit_code is None

    @property
    def exit_code(self) -> int | None:
        """The exit code as in subprocess: negative for a signal, None while running."""
        return self._sweep(self._popen.poll())

    def terminate(self) -> None:
        """Ask it to end, without waiting."""
        if self.running:
            self._popen.terminate()

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for its end; the exit code, or None if it still runs after ``timeout_s``."""
        try:
            return self._sweep(self._popen.wait(timeout_s))
        except subprocess.TimeoutExpired:
            return None

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Ask it to end, wait, then kill it and all that it started; returns the exit code."""
        self.terminate()
        code = self.wait(timeout_s)
        if code is None:
            self._popen.kill()
            code = self._popen.wait()
            self._sweep(code)
        if self._pump:
            self._pump.join(timeout=5)
        return code

    def drain(self, timeout_s: float = 1.0) -> None:
        """Wait until its output is completely in the log."""
        if self._pump:
            self._pump.join(timeout_s)

    def _sweep(self, code: int | None) -> int | None:
        # Kill what it started and left in its group. Only once and at once: later the group id may belong to others.
        if code is not None and not self._swept:
            self._swept = True
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        return code

    def _copy(self, echo: Callable[[str], None]) -> None:
        out = self._popen.stdout
        assert out is not None
        handler = RotatingFileHandler(self.log, maxBytes=LOG_BYTES, backupCount=1)
        with out:
            while raw := out.readline(LINE_BYTES):  # memory stays bounded, whatever a role prints
                line = raw.decode(errors="replace").rstrip()
                handler.emit(LogRecord(self.log.stem, 0, "", 0, line, None, None))
                with suppress(Exception):  # a closed terminal; the pipe needs a reader, or the process ends
                    echo(line)
        handler.close()


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, for an error message; empty if there is no log."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 20_000))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])


def _tied(on_orphaned: signal.Signals) -> list[str]:
    if sys.platform != "linux":
        return []
    return [sys.executable, "-I", "-S", "-c", _TIE_TO_PARENT, str(os.getpid()), str(int(on_orphaned))]
