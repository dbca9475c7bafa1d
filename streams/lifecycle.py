"""How a process tells its beginning and its end to those who watch over it.

The end goes to a small file that whoever started the process names in its environment: one line with the error, its
sentence and the place. The beginning goes to ``liveshelf.metrics`` before anything can go wrong, with the last words of
the run before; so who reads the topic can count how often a named instance is started. Both are best effort and never
end a process themselves. What is made of it is the supervisor's and the evaluator's business.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from aiokafka.errors import KafkaError

from streams.again import lasting
from streams.clock import wall_ms
from streams.config import StreamsConfig
from streams.masking import masked
from streams.meter import Snapshot, encoder
from streams.producer import Producer
from streams.record import Record, Send
from streams.topics import Topics
from streams.watchdog import STALLED_EXIT

log = logging.getLogger(__name__)

VARIABLE = "LIVESHELF_LAST_WORDS"
"""Names the file in the environment; without it last words go nowhere."""

STARTED = "started"
"""The role of a snapshot that says that a process begins: labels are role, instance, host and last_words."""

MOST = 400
"""Letters of last words."""

TELL_S = 5.0


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


def place(records: Sequence[Record]) -> str:
    """Where a batch stands, by its first record.

    Examples
    --------
    >>> records = [Record("shop.events", 3, offset, 0, None, None, ()) for offset in (812, 813)]
    >>> place(records), place(records[:1]), place([])
    ('shop.events/3 offset 812 and 1 more', 'shop.events/3 offset 812', '')
    """
    if not records:
        return ""
    first, more = records[0], len(records) - 1
    return f"{first.topic}/{first.partition} offset {first.offset}" + (f" and {more} more" if more else "")


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
        await lasting(work, what)


def left(path: Path, pid: int | None = None) -> str:
    """The last words in a file, of any process or of one alone; empty where there are none."""
    try:
        with path.open("rb") as file:
            said = file.read(8 * MOST).decode("utf-8", "replace").partition("\n")[0]
    except OSError:
        return ""
    who, _, words = said.partition(": ")
    return bounded(words) if pid is None or who == f"process {pid}" else ""


def announce(config: StreamsConfig, role: str, instance: str | None) -> None:
    """Tell ``liveshelf.metrics`` that a process of a role begins; takes :data:`TELL_S` seconds at most."""
    now, host = wall_ms(), os.uname().nodename
    before = os.environ.get(VARIABLE)
    labels = {"role": role, "host": host, "last_words": left(Path(before)) if before else ""}
    if instance:
        labels["instance"] = instance
    begun = Snapshot(
        role=STARTED,
        id=f"{host}-{os.getpid()}",
        from_ms=now,
        to_ms=now,
        counts={},
        gauges={},
        sketches={},
        labels=labels,
    )
    topic = Topics(config.topics.prefix).metrics
    try:
        at_once(config, lambda send: send(topic, STARTED.encode(), encoder.encode(begun)))
    except (KafkaError, OSError) as error:
        log.warning("the beginning could not be told: %s", error)


def at_once(config: StreamsConfig, act: Callable[[Send], Awaitable[object]], limit_s: float = TELL_S) -> None:
    """Send something from where no event loop runs, with a connection of its own.

    Raises
    ------
    aiokafka.errors.KafkaError, OSError
        When the broker is out of reach, refuses, or takes longer than ``limit_s``.
    """

    async def run() -> None:
        async with asyncio.timeout(limit_s), Producer(config) as send:
            await act(send)

    # On a thread: the main one's event loop is Faust's.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, run()).result()
