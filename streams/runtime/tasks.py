"""Endless tasks of a process: restarts a task that fails, raises if an endless task ends. Also backoff and retry."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiokafka.errors import KafkaError

FIRST_WAIT_S = 1.0


class Backoff:
    """Waits between attempts: exponential with full jitter, so that many senders do not return at the same time.

    Parameters
    ----------
    longest_s
        The longest wait; only one that the receiver requests may be longer.
    chance
        Gives random numbers from 0 to 1.
    first_s
        The longest first wait; :data:`FIRST_WAIT_S` if None.

    Examples
    --------
    >>> backoff = Backoff(10.0, chance=lambda: 1.0)
    >>> [backoff.next() for _ in range(5)], backoff.next(requested_s=120.0)
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

    def next(self, requested_s: float = 0.0) -> float:
        """Seconds to wait before the next attempt, at least as long as the receiver requested."""
        bound = min(self._bound, self.longest_s)
        self._bound = min(2 * self._bound, self.longest_s)
        return max(requested_s, bound * self._chance())

    def reset(self) -> None:
        """Start again from the first wait, after an attempt that succeeded."""
        self._bound = self._first_s


log = logging.getLogger(__name__)
AGAIN_S = 1.0

LONGEST_WAIT_S = 30.0
"""The longest wait between two attempts."""

T = TypeVar("T")


class EndedError(RuntimeError):
    """An endless task has ended; the message names it."""


async def run_forever(work: Awaitable[object], what: str) -> None:
    """Run an endless task until it is cancelled.

    This is needed since a task group ignores the end of a task that returns, or that a library cancels from within.

    Parameters
    ----------
    what
        Names the task, for people.

    Raises
    ------
    EndedError
        When it ends without being cancelled.

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
    """Whether this task was cancelled. A function of its own: a caller's reference to the task would keep its frame."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def restart_on_error(read: Callable[[], Awaitable[None]], what: str) -> None:
    """Run a reader, and restart it after an error of Kafka, until cancelled.

    Parameters
    ----------
    read
        Reads until an error of Kafka. After a restart it may read the same again.
    what
        Names what is read, for the log.
    """
    while True:
        try:
            await read()
        except KafkaError as error:
            log.warning("%s cannot be read: %s; beginning again", what, error)
        await asyncio.sleep(AGAIN_S)


async def retry(work: Callable[[], Awaitable[T]], worth: Callable[[Exception], bool]) -> T | None:
    """Run a function; after an error, run it again with backoff as long as ``worth`` allows.

    Parameters
    ----------
    worth
        Called with each error; returns whether to try again.

    Returns
    -------
    The function's result; None if ``worth`` refuses another attempt.
    """
    backoff = Backoff(LONGEST_WAIT_S)
    while True:
        try:
            return await work()
        except Exception as error:
            if not worth(error):
                return None
        await asyncio.sleep(backoff.next())
