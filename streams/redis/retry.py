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

from streams.redis.connection import ERRORS

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


def why(error: Exception) -> str:
    """A passing error in a few words, for a label: of a small set, whatever Redis says.

    Examples
    --------
    >>> why(exceptions.ResponseError("Error running script: @user_script: 6: -OOM command not allowed"))
    'its memory is full'
    >>> why(exceptions.ConnectionError("Error 111 connecting to cache:6379"))
    'it cannot be reached'
    """
    for kinds, words in _WORDS:
        if isinstance(error, kinds):
            return words
    code = PASSING_CODES.search(str(error).rpartition("caused error: ")[2])
    return _CODES.get(code[1], code[1]) if code else "part of the cluster is down"


_CODES = {
    "OOM": "its memory is full",
    "READONLY": "it is a replica",
    "MISCONF": "it cannot write to its disc",
    "BUSY": "a script runs too long",
    "LOADING": "it loads its data",
    "MASTERDOWN": "its master is down",
    "CLUSTERDOWN": "part of the cluster is down",
    "NOREPLICAS": "it has too few replicas",
    "TRYAGAIN": "slots are on the move",
    "NOPERM": "the user may not do this",
}
_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (exceptions.OutOfMemoryError, _CODES["OOM"]),
    (exceptions.ReadOnlyError, _CODES["READONLY"]),
    (exceptions.BusyLoadingError, _CODES["LOADING"]),
    (exceptions.MasterDownError, _CODES["MASTERDOWN"]),
    (exceptions.TryAgainError, _CODES["TRYAGAIN"]),
    (exceptions.NoPermissionError, _CODES["NOPERM"]),
    (exceptions.AuthenticationError, "it refuses user or password"),
    (exceptions.TimeoutError, "it does not answer in time"),
    (exceptions.ConnectionError, "it cannot be reached"),
)


class RedisRetry:
    """Repeats calls until Redis takes them, with backoff, and says so once, however many wait.

    Attributes
    ----------
    reason
        What it waits for, in a few words; empty while nothing waits.
    """

    def __init__(self) -> None:
        self.reason = ""
        self._waiting = 0

    @property
    def paused(self) -> bool:
        """Whether any call waits: that another was answered, as reads are while memory is full, does not end it."""
        return self._waiting > 0

    async def until_done(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """What the call answers, once it does; an error that does not pass is raised.

        Who is cancelled meanwhile is, though Redis' client lets that be forgotten: before Python 3.12
        ``asyncio.wait_for`` keeps a cancellation that comes with an answer to itself.
        """
        task = asyncio.current_task()
        cancelled = 0 if task is None else task.cancelling()
        wait = FIRST_WAIT_S
        waiting = False
        try:
            while True:
                try:
                    answer = await attempt()
                except ERRORS as error:
                    if not passing(error):
                        raise
                    self.reason = why(error)
                    if not waiting:
                        waiting = True
                        self._waiting += 1
                        if self._waiting == 1:
                            log.warning("Redis does not take this now (%s): pausing until it does", error)
                else:
                    if task is not None and task.cancelling() > cancelled:
                        raise asyncio.CancelledError
                    if waiting and self._waiting == 1:
                        log.warning("Redis is back")
                    return answer
                await asyncio.sleep(wait)
                wait = min(wait * 2, LONGEST_WAIT_S)
        finally:
            if waiting:
                self._waiting -= 1
                if not self._waiting:
                    self.reason = ""
