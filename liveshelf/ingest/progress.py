"""The progress of sending a file, as a line in the terminal: by its bytes, or by the times in the history.

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
    """The progress line of one file.

    Parameters
    ----------
    name, size
        Of the file; the size in bytes, as compressed.
    limit
        The most records to send.
    """

    def __init__(self, console: Console, name: str, size: int, limit: int | None = None) -> None:
        self.size, self.limit = max(1, size), limit
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
            console=console,
        )
        self._task = self._progress.add_task(name, total=self.size, detail="")
        self._profile: TimeProfile | None = None
        self._speed = 1.0
        self._began = self._at = time.monotonic()

    def look(self, position: int) -> None:
        """Show how far the times are read, before anything is sent."""
        if self._due():
            self._progress.update(self._task, completed=position, detail="reading the times, before anything is sent")

    def begin(self, profile: TimeProfile | None = None, speed: float | None = None) -> None:
        """Sending begins; with a speed, the profile says when the last event is due."""
        self._profile, self._speed = profile if speed else None, speed or 1.0
        total = max(1, self._profile.span_ms) if self._profile else self.limit or self.size
        self._progress.reset(self._task, total=total, detail="")
        self._began = time.monotonic()

    def update(self, position: int, sent: int, refused: int, time_ms: int, quiet_s: float) -> None:
        """Show how far the file is sent.

        Parameters
        ----------
        position
            Bytes read.
        sent, refused
            Numbers of records.
        time_ms, quiet_s
            The time of the event sent now or next, and in how many seconds it is due.
        """
        if not self._due():
            return
        counts = _counts(sent, refused)
        spent = max(1e-3, time.monotonic() - self._began)
        if self._profile is None:
            done, total = (sent, self.limit) if self.limit else (position, self.size)
            left = f", {_duration(spent * (total / done - 1))} left" if done else ""
            self._progress.update(self._task, completed=done, detail=f"{sent / spent:,.0f}/s, {counts}{left}")
            return
        done = time_ms - self._profile.first_ms
        left_s = (self._profile.span_ms - done) / 1_000 / self._speed + quiet_s
        quiet = f", quiet for {_duration(quiet_s)}" if quiet_s >= 1 else ""
        detail = f"{_moment(time_ms)}, {counts}, {_duration(left_s)} left{quiet}"
        self._progress.update(self._task, completed=done, detail=detail)

    def end(self, sent: int, refused: int) -> None:
        """Sending has ended."""
        total = self._progress.tasks[self._task].total
        self._progress.update(self._task, completed=total, detail=_counts(sent, refused))

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


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=max(0, round(seconds))))


def _moment(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M")
