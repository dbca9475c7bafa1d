"""How a process ends and reports why.

The last words go to a small file that the parent process names in the environment: one line with the error's class, its
place and its message. Writing them is best effort and never ends a process. Knows nothing of Kafka, nor of what the
supervisor does with the last words.
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
"""The environment variable that names the file; without it last words are not written."""

MOST = 400
"""The most characters of last words."""


def sentence(error: BaseException, place: str = "") -> str:
    """An error as one line: its class, the place, its message; bounded, and without passwords of URLs.

    Examples
    --------
    >>> sentence(ValueError("no codec\\nfor it"), "shop.events/3 offset 812")
    'ValueError at shop.events/3 offset 812: no codec for it'
    >>> sentence(ExceptionGroup("tasks", [OSError("redis://me:pw@cache/0?password=x is away")]))
    'OSError: redis://***@cache/0?password=*** is away'
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    message = " ".join(str(error).split())
    line = f"{type(error).__name__}{f' at {place}' if place else ''}{f': {message}' if message else ''}"
    return bounded(line)


def bounded(line: str) -> str:
    """A line fit for a screen and a topic: no secrets of URLs, at most :data:`MOST` printable characters."""
    printable = "".join(char if char.isprintable() else "�" for char in masked(line))
    return printable if len(printable) <= MOST else f"{printable[: MOST - 1]}…"


def write_last_words(words: str) -> None:
    """Write last words to the file that the environment variable names."""
    if path := os.environ.get(VARIABLE):
        with suppress(OSError):
            Path(path).write_text(f"process {os.getpid()}: {bounded(words)}\n", "utf-8")


@contextmanager
def last_words(*but: type[Exception]) -> Iterator[None]:
    """Write last words for an error that leaves this context, except for errors of the classes ``but``."""
    try:
        yield
    except but:
        raise
    except Exception as error:
        write_last_words(sentence(error))
        raise


@contextmanager
def or_leave(what: str = "a batch cannot be processed", *, where: str = "") -> Iterator[None]:
    """End the process if a batch, or a task that batches need, fails. Nothing under way is committed, and the
    supervisor starts another process.

    Parameters
    ----------
    what
        What failed, for the log.
    where
        The batch's place, for the last words.
    """
    try:
        yield
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        log.critical("%s; leaving for the supervisor to restart", what, exc_info=error)
        write_last_words(sentence(error, where))
        os._exit(STALLED_EXIT)


async def vital(work: Awaitable[object], what: str) -> None:
    """Run an endless task that a role needs: when it ends, the process ends at once.

    The other tasks are not cancelled first: that would only work if each of them can be cancelled.
    """
    with or_leave(f"{what} has ended"):
        await run_forever(work, what)


def read_last_words(path: Path, pid: int | None = None) -> str:
    """The last words in a file, of any process or only of ``pid``; empty if there are none."""
    try:
        with path.open("rb") as file:
            line = file.read(8 * MOST).decode("utf-8", "replace").partition("\n")[0]
    except OSError:
        return ""
    who, _, words = line.partition(": ")
    return bounded(words) if pid is None or who == f"process {pid}" else ""
