"""What all processes of the stack share: start, state and stop; a server also waits until it is ready.

Knows processes; nothing of Kafka, Redis or roles.
"""

import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from liveshelf.stack import ports
from liveshelf.stack.process import STOP_TIMEOUT_S, Process
from liveshelf.stack_record import StackError

READY_TIMEOUT_S = 60.0
STARTS = 3
SERVER_STOP_TIMEOUT_S = 20.0


class Service(ABC):
    """Something that runs as one process at a time and may be started again."""

    name: str

    def __init__(self, stop_timeout_s: float = STOP_TIMEOUT_S) -> None:
        self._stop_timeout_s = stop_timeout_s
        self._process: Process | None = None

    @abstractmethod
    def start(self) -> None:
        """Start or restart it; StackError if that fails."""

    @property
    def pid(self) -> int | None:
        """The process id of the latest run."""
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.running

    @property
    def exit_code(self) -> int | None:
        """The exit code of the latest run; None while it runs."""
        return self._process.exit_code if self._process else None

    @property
    def last_words(self) -> str:
        """Why the latest run ended, if it reported a reason."""
        return ""

    def stop(self) -> None:
        """End it and all that it started; data stays."""
        if self._process:
            self._process.stop(self._stop_timeout_s)


class Server(Service):
    """A service with a loopback port and a folder for its data; as a context manager it runs in the block.

    Parameters
    ----------
    folder
        For data, logs and the previous port; created if missing.
    port
        0 takes a free port and stores it in the folder for the next start.
    """

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(SERVER_STOP_TIMEOUT_S)
        self.folder = folder.resolve()
        self.port = 0
        self._wanted_port = port

    @property
    @abstractmethod
    def address(self) -> str:
        """Where clients connect."""

    def start(self) -> None:
        """Start it and wait until it answers. If its port was taken meanwhile, try another one.

        Raises
        ------
        StackError
            When it does not come up; the message has the end of its log.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, STARTS + 1):
            try:
                self._process = self._launch()
                ready = self._wait_ready()
            except BaseException:
                self.stop()
                raise
            if ready:
                return
            self.stop()
            if attempt == STARTS or ports.is_free(self.port):
                raise StackError(
                    f"{self.name.capitalize()} did not come up (exit code {self.exit_code}). {self._why()}"
                )

    def _wait_ready(self) -> bool:
        """Wait until it answers; False if it ended or took too long."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while self.running and time.monotonic() < deadline:
            if self._answers():
                return True
            time.sleep(0.02)
        return False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @abstractmethod
    def _launch(self) -> Process:
        """Choose the port and start the process."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it serves clients now; polled until it does."""

    @abstractmethod
    def _why(self) -> str:
        """For a failed start: what to do, and the end of its log."""
