"""Work that goes on for as long as a process does: what breaks off is begun again, and what ends is noticed."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiokafka.errors import KafkaError

FIRST_WAIT_S = 1.0


class Backoff:
    """Waits between tries: exponential with full jitter, so that many senders do not come back as one.

    Parameters
    ----------
    longest_s
        No wait of its own is longer; one that the receiver asked for may be.
    chance
        Gives numbers from 0 to 1.
    first_s
        The longest first wait, :data:`FIRST_WAIT_S` where None.

    Examples
    --------
    >>> backoff = Backoff(10.0, chance=lambda: 1.0)
    >>> [backoff.next() for _ in range(5)], backoff.next(asked_s=120.0)
    ([1.0, 2.0, 4.0, 8.0, 10.0], 120.0)
    >>> backoff.reset()
    >>> backoff.next()
    1.0
    """

    def __init__(
        self, longest_s: float, chance: Callable[[], float] = random.random, first_s: float | None = None
    ) -> None:
        self.longest_s, self._chance = longest_s, chance
        self._first_s = FIRST_WAIT_S if first_s is None else first_s
        self._bound = self._first_s

    def next(self, asked_s: float = 0.0) -> float:
        """Seconds to wait before the next try, at least as long as the receiver asked for."""
        bound = min(self._bound, self.longest_s)
        self._bound = min(2 * self._bound, self.longest_s)
        return max(asked_s, bound * self._chance())

    def reset(self) -> None:
        """A try went well."""
        self._bound = self._first_s


log = logging.getLogger(__name__)
AGAIN_S = 1.0

LONGEST_WAIT_S = 30.0
"""Between two tries of what fails again and again."""

T = TypeVar("T")


class EndedError(RuntimeError):
    """What has no end has ended; its words say what."""


async def run_forever(work: Awaitable[object], what: str) -> None:
    """Do what has no end, until cancelled.

    A task group takes a task that returns, or that a library cancels from within, for one that is done, and goes on
    without it.

    Parameters
    ----------
    what
        Is done, for people.

    Raises
    ------
    EndedError
        When it ends and nobody has cancelled it.

    Examples
    --------
    >>> asyncio.run(run_forever(asyncio.sleep(0), "sleeping"))
    Traceback (most recent call last):
    streams.runtime.tasks.EndedError: sleeping has ended
    """
    try:
        await work
    except asyncio.CancelledError as error:
        if _cancelled():
            raise
        raise EndedError(f"{what} was cancelled by nobody") from error
    raise EndedError(f"{what} has ended")


def _cancelled() -> bool:
    """Whether somebody has cancelled this task; its caller must not hold the task, whose error would hold its frame."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def restart_on_error(read: Callable[[], Awaitable[None]], what: str) -> None:
    """Read until cancelled.

    Parameters
    ----------
    read
        Reads until Kafka breaks it off, and may read again what it has read before.
    what
        Is read, for the log.
    """
    while True:
        try:
            await read()
        except KafkaError as error:
            log.warning("%s cannot be read: %s; beginning again", what, error)
        await asyncio.sleep(AGAIN_S)


async def retry(work: Callable[[], Awaitable[T]], worth: Callable[[Exception], bool]) -> T | None:
    """Do it, again and again with backoff for as long as what it raises says that another try is worth it.

    Parameters
    ----------
    worth
        Told of each failure; returns whether to try again.

    Returns
    -------
    What the work returns; None once it is not worth another try.
    """
    backoff = Backoff(LONGEST_WAIT_S)
    while True:
        try:
            return await work()
        except Exception as error:
            if not worth(error):
                return None
        await asyncio.sleep(backoff.next())
