"""How a process ends, and how it says why.

The last words go to a small file that whoever started the process names in its environment: one line with the error,
its sentence and the place. Writing them is best effort and never ends a process by itself. Knows no Kafka; what is made
of the words is the supervisor's business.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from streams.runtime.tasks import run_forever
from streams.runtime.watchdog import STALLED_EXIT
from streams.telemetry.masking import masked

log = logging.getLogger(__name__)

VARIABLE = "LIVESHELF_LAST_WORDS"
"""Names the file in the environment; without it last words go nowhere."""

MOST = 400
"""Letters of last words."""


def sentence(error: BaseException, place: str = "") -> str:
    """An error as one line: its class, the place, what it says; bounded, and without passwords of URLs.

    Examples
    --------
    >>> sentence(ValueError("no codec\\nfor it"), "shop.events/3 offset 812")
    'ValueError at shop.events/3 offset 812: no codec for it'
    >>> sentence(ExceptionGroup("tasks", [OSError("redis://me:pw@cache/0?password=x is away")]))
    'OSError: redis://***@cache/0?password=*** is away'
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    said = " ".join(str(error).split())
    line = f"{type(error).__name__}{f' at {place}' if place else ''}{f': {said}' if said else ''}"
    return bounded(line)


def bounded(line: str) -> str:
    """A line fit for a screen and a topic: no secrets of URLs, at most :data:`MOST` letters."""
    printable = "".join(letter if letter.isprintable() else "�" for letter in masked(line))
    return printable if len(printable) <= MOST else f"{printable[: MOST - 1]}…"


def leave(words: str) -> None:
    """Write last words to the file that the environment names."""
    if path := os.environ.get(VARIABLE):
        with suppress(OSError):
            Path(path).write_text(f"process {os.getpid()}: {bounded(words)}\n", "utf-8")


@contextmanager
def last_words(*but: type[Exception]) -> Iterator[None]:
    """Leave an error's sentence on its way out; not that of ``but``, which are no errors."""
    try:
        yield
    except but:
        raise
    except Exception as error:
        leave(sentence(error))
        raise


@contextmanager
def or_leave(what: str = "a batch cannot be processed", *, where: str = "") -> Iterator[None]:
    """End the process when a batch fails, or what it needs: nothing that is under way is committed, and the supervisor
    starts another process.

    Parameters
    ----------
    what
        Fails, for the log.
    where
        The batch stands, for the last words.
    """
    try:
        yield
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        log.critical("%s; leaving for the supervisor to restart", what, exc_info=error)
        leave(sentence(error, where))
        os._exit(STALLED_EXIT)


async def vital(work: Awaitable[object], what: str) -> None:
    """Do what has no end and a role cannot be without: when it ends, the process does at once.

    To let the others come to their end first would be to trust that each of them can be cancelled.
    """
    with or_leave(f"{what} has ended"):
        await run_forever(work, what)


def left(path: Path, pid: int | None = None) -> str:
    """The last words in a file, of any process or of one alone; empty where there are none."""
    try:
        with path.open("rb") as file:
            said = file.read(8 * MOST).decode("utf-8", "replace").partition("\n")[0]
    except OSError:
        return ""
    who, _, words = said.partition(": ")
    return bounded(words) if pid is None or who == f"process {pid}" else ""
