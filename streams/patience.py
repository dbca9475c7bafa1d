"""Waiting for Redis: what passes by itself is waited for, whatever else is raised.

All that Liveshelf writes may be repeated without harm, so a pause is the whole cost of a Redis that is away, loading,
full or was flushed. Knows Redis' errors; nothing of what is asked.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis import exceptions

from streams.redis_connection import ERRORS

log = logging.getLogger(__name__)
T = TypeVar("T")

PASSING = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.BusyLoadingError,
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
    exceptions.TryAgainError,
    exceptions.NoPermissionError,
    exceptions.ClusterError,
    exceptions.SlotNotCoveredError,
)
"""Errors that end by themselves or by an operator's hand; anything else is a defect and raised."""

PASSING_CODES = re.compile(r"\b(OOM|READONLY|MISCONF|BUSY|LOADING|MASTERDOWN|CLUSTERDOWN|NOREPLICAS|TRYAGAIN|NOPERM) ")
"""The same as Redis words them: inside a script, Redis before 7 gives its own errors as the script's."""

PASSING_WORDS = re.compile("cannot be connected|slots are not covered|could not agree on a valid slots cache")
"""What a cluster's client says while nodes are away or a replica takes over; it has no classes for that."""

FIRST_WAIT_S, LONGEST_WAIT_S = 0.05, 5.0


def passing(error: Exception) -> bool:
    """Whether waiting is the answer to an error.

    Examples
    --------
    >>> passing(exceptions.ResponseError("Error running script: @user_script: 6: -OOM command not allowed"))
    True
    >>> passing(exceptions.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"))
    False
    """
    if isinstance(error, exceptions.RedisClusterException) and PASSING_WORDS.search(str(error)):
        return True
    # redis-py quotes the failed command before the error; what a shopper typed must not look like a code.
    return isinstance(error, PASSING) or bool(PASSING_CODES.search(str(error).rpartition("caused error: ")[2]))


class Patience:
    """Repeats a call until Redis takes it, with backoff, and says so once.

    Attributes
    ----------
    paused
        Whether it is waiting now.
    """

    def __init__(self) -> None:
        self.paused = False

    async def until_done(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """What the call answers, once it does; an error that does not pass is raised."""
        wait = FIRST_WAIT_S
        while True:
            try:
                answer = await attempt()
            except ERRORS as error:
                if not passing(error):
                    raise
                if not self.paused:
                    log.warning("Redis does not take writes now (%s): pausing until it does", error)
                self.paused = True
                await asyncio.sleep(wait)
                wait = min(wait * 2, LONGEST_WAIT_S)
            else:
                if self.paused:
                    log.warning("Redis is back")
                self.paused = False
                return answer
