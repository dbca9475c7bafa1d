"""A role's log: secrets masked, and what repeats itself told once, with how often.

Holds for all loggers, libraries' too: the handler does it. Repeated are records of one logger and level whose message,
before its arguments are filled in, is the same but for its numbers. Knows nothing of what is logged.
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
"""So many of one kind are written in so many seconds, then a count of the rest."""
KINDS = 500
"""Told apart at a time; what is more is one kind a logger and level."""
_NUMBERS = re.compile(r"\d+")
_IDLE = re.compile(r"^(Aiokafka has not (sent|received) fetch|Aiokafka stopped fetching)")


class Kind(NamedTuple):
    """What makes two records the same thing."""

    logger: str
    level: int
    message: str


class _Seen:
    """How often a kind came since a moment, and how often that was not written."""

    def __init__(self, now: float) -> None:
        self.since, self.count, self.left_out, self.last = now, 0, 0, ""


class Repeats:
    """Says which records to write.

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

    def update(self, kind: Kind, now: float, told: Callable[[], str]) -> bool:
        """Take a record; whether it is to be written, else ``told`` makes its text. Call :meth:`due` before."""
        if kind not in self._seen and len(self._seen) >= self.kinds:
            kind = kind._replace(message="…")
        seen = self._seen.setdefault(kind, _Seen(now))
        seen.count += 1
        if seen.count > self.first:
            seen.left_out += 1
            seen.last = told()
        return seen.count <= self.first

    def due(self, now: float) -> list[tuple[Kind, int, str]]:
        """The kinds whose time is over, with how many of each were left out, and the last; they begin anew."""
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
    """As usual, tracebacks included, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """One record's text."""
        return masked(super().format(record))


class Handler(logging.StreamHandler[TextIO]):
    """Writes a log in which nothing repeats itself."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream)
        self.setFormatter(Formatter(FORMAT))
        self._repeats, self._clock = Repeats(), clock

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, unless it is one of too many; first what was left out before."""
        now = self._clock()
        self._tell(now)
        kind = Kind(record.name, record.levelno, _NUMBERS.sub("0", str(record.msg)[:200]))
        if self._repeats.update(kind, now, lambda: _text(record)):
            super().emit(record)

    def close(self) -> None:
        """Tell what is left to tell."""
        self._tell(float("inf"))
        super().close()

    def _tell(self, now: float) -> None:
        for kind, count, last in self._repeats.due(now):
            template = "… %d more like this in the last %g s: %s"
            told = (count, self._repeats.every_s, last)
            super().emit(logging.LogRecord(kind.logger, kind.level, "", 0, template, told, None))


def _text(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # arguments that do not fit the message
        return str(record.msg)


def not_idle(record: logging.LogRecord) -> bool:
    """Whether a record of Faust's says more than that no event came: it takes a quiet topic for an error. A consumer
    that stands still although events wait is the watchdog's to find."""
    return not _IDLE.match(str(record.msg).strip())


def set_up() -> None:
    """Log this process's warnings and worse to standard error, and so tell of errors that nobody catches."""
    logging.basicConfig(level=logging.WARNING, handlers=[Handler(sys.stderr)], force=True)
    logging.getLogger("faust.transport.drivers.aiokafka").addFilter(not_idle)
    sys.excepthook = _told


def _told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(masked("".join(traceback.format_exception(kind, error, trace))))
