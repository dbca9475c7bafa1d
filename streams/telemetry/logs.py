"""A role's log: masks secrets, and limits repeated messages, with a count of those left out.

The handler does this, so it applies to all loggers, also those of libraries. Records repeat if they have the same
logger, level and message, before arguments are filled in and apart from numbers. Knows nothing of what is logged.
"""

import logging
import re
import sys
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, TextIO

from streams.telemetry.masking import masked

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
FIRST, EVERY_S = 5, 30.0
"""FIRST records of a kind are written in EVERY_S seconds, then a count of the rest."""
KINDS = 500
"""How many kinds are kept at a time; all further ones of a logger and level are one kind."""
_NUMBERS = re.compile(r"\d+")
_IDLE = re.compile(r"^(Aiokafka has not (sent|received) fetch|Aiokafka stopped fetching)")


class Kind(NamedTuple):
    """What two records of the same kind have in common."""

    logger: str
    level: int
    message: str


class _Seen:
    """How many records of a kind came since a time, and how many of them were not written."""

    def __init__(self, now: float) -> None:
        self.since, self.count, self.left_out, self.last = now, 0, 0, ""


class Repeats:
    """Decides which records to write.

    Examples
    --------
    >>> repeats, kind = Repeats(first=2, every_s=30), Kind("kafka", 40, "no answer")
    >>> [repeats.update(kind, now, lambda: f"no answer at {now}") for now in (0, 1, 2, 3)]
    [True, True, False, False]
    >>> repeats.due(29), repeats.due(31)
    ([], [(Kind(logger='kafka', level=40, message='no answer'), 2, 'no answer at 3')])
    >>> repeats.update(kind, 32, lambda: "no answer")
    True
    """

    def __init__(self, first: int = FIRST, every_s: float = EVERY_S, kinds: int = KINDS) -> None:
        self.first, self.every_s, self.kinds = first, every_s, kinds
        self._seen: OrderedDict[Kind, _Seen] = OrderedDict()

    def update(self, kind: Kind, now: float, text: Callable[[], str]) -> bool:
        """Count a record; returns whether to write it. If not, ``text`` gives its text. Call :meth:`due` before."""
        if kind not in self._seen and len(self._seen) >= self.kinds:
            kind = kind._replace(message="…")
        seen = self._seen.setdefault(kind, _Seen(now))
        seen.count += 1
        if seen.count > self.first:
            seen.left_out += 1
            seen.last = text()
        return seen.count <= self.first

    def due(self, now: float) -> list[tuple[Kind, int, str]]:
        """The kinds whose time is over, each with how many records were left out and the last one's text. Their counts
        start again."""
        found = []
        while self._seen:
            kind, seen = next(iter(self._seen.items()))  # the oldest is the first
            if now - seen.since < self.every_s:
                break
            del self._seen[kind]
            if seen.left_out:
                found.append((kind, seen.left_out, seen.last))
        return found


class Formatter(logging.Formatter):
    """Formats records, including tracebacks, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """One record's text."""
        return masked(super().format(record))


class Handler(logging.StreamHandler[TextIO]):
    """Writes a log with limited repetition."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream)
        self.setFormatter(Formatter(FORMAT))
        self._repeats, self._clock = Repeats(), clock

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, unless it is one of too many; before it, counts of those left out."""
        now = self._clock()
        self._write_left_out(now)
        kind = Kind(record.name, record.levelno, _NUMBERS.sub("0", str(record.msg)[:200]))
        if self._repeats.update(kind, now, lambda: _text(record)):
            super().emit(record)

    def close(self) -> None:
        """Write the remaining counts."""
        self._write_left_out(float("inf"))
        super().close()

    def _write_left_out(self, now: float) -> None:
        for kind, count, last in self._repeats.due(now):
            template = "… %d more like this in the last %g s: %s"
            args = (count, self._repeats.every_s, last)
            super().emit(logging.LogRecord(kind.logger, kind.level, "", 0, template, args, None))


def _text(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # arguments that do not fit the message
        return str(record.msg)


def not_idle(record: logging.LogRecord) -> bool:
    """Whether a record of Faust says more than that no event came: Faust logs a quiet topic as an error. The watchdog
    detects a consumer that stalls although events wait."""
    return not _IDLE.match(str(record.msg).strip())


def set_up() -> None:
    """Log this process's warnings and errors to standard error, and uncaught errors with masked secrets."""
    logging.basicConfig(level=logging.WARNING, handlers=[Handler(sys.stderr)], force=True)
    logging.getLogger("faust.transport.drivers.aiokafka").addFilter(not_idle)
    sys.excepthook = _write_uncaught


def _write_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(masked("".join(traceback.format_exception(kind, error, trace))))
