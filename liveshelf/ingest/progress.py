"""How far a file is on its way, as a line in the terminal: by its bytes, or by the history's own time.

Knows the terminal; nothing of files, events or Kafka.
"""

import time
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from liveshelf.ingest.time_profile import TimeProfile

EVERY_S = 0.1


class Bar:
    """One file's line.

    Parameters
    ----------
    name, size
        The file's, in bytes as it is packed.
    limit
        How many are sent at most.
    """

    def __init__(self, console: Console, name: str, size: int, limit: int | None = None) -> None:
        self.size, self.limit = max(1, size), limit
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[told]}", markup=False),
            console=console,
        )
        self._task = self._progress.add_task(name, total=self.size, told="")
        self._survey: TimeProfile | None = None
        self._speed = 1.0
        self._began = self._at = time.monotonic()

    def look(self, position: int) -> None:
        """So far the file is read, before anything is sent."""
        if self._due():
            self._progress.update(self._task, completed=position, told="reading the times, before anything is sent")

    def begin(self, survey: TimeProfile | None = None, speed: float | None = None) -> None:
        """From now on something is sent; at a speed, the survey says when the last event is due."""
        self._survey, self._speed = survey if speed else None, speed or 1.0
        total = max(1, self._survey.span_ms) if self._survey else self.limit or self.size
        self._progress.reset(self._task, total=total, told="")
        self._began = time.monotonic()

    def update(self, position: int, sent: int, refused: int, time_ms: int, quiet_s: float) -> None:
        """So far the file is sent.

        Parameters
        ----------
        position
            Bytes of it.
        sent, refused
            How many were.
        time_ms, quiet_s
            When what is sent now or next happened, and in how many seconds it is due.
        """
        if not self._due():
            return
        counts = _counts(sent, refused)
        spent = max(1e-3, time.monotonic() - self._began)
        if self._survey is None:
            done, total = (sent, self.limit) if self.limit else (position, self.size)
            left = f", {_told(spent * (total / done - 1))} left" if done else ""
            self._progress.update(self._task, completed=done, told=f"{sent / spent:,.0f}/s, {counts}{left}")
            return
        done = time_ms - self._survey.first_ms
        left_s = (self._survey.span_ms - done) / 1_000 / self._speed + quiet_s
        quiet = f", quiet for {_told(quiet_s)}" if quiet_s >= 1 else ""
        told = f"{_moment(time_ms)}, {counts}, {_told(left_s)} left{quiet}"
        self._progress.update(self._task, completed=done, told=told)

    def end(self, sent: int, refused: int) -> None:
        """Nothing more will be sent."""
        total = self._progress.tasks[self._task].total
        self._progress.update(self._task, completed=total, told=_counts(sent, refused))

    def _due(self) -> bool:
        now = time.monotonic()
        if now - self._at < EVERY_S:
            return False
        self._at = now
        return True

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


def _counts(sent: int, refused: int) -> str:
    return f"{sent:,} sent, {refused:,} refused"


def _told(seconds: float) -> str:
    return str(timedelta(seconds=max(0, round(seconds))))


def _moment(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M")
