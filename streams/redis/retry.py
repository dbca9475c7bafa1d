"""Waits for Redis: retries calls on errors that pass by themselves, raises all others.

All writes of Liveshelf may be repeated without harm, so a Redis that is away, loading, full or was flushed costs only a
pause. Knows Redis' errors; nothing of the commands.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis import exceptions

from streams.redis.connection import ERRORS
from streams.runtime.tasks import Backoff

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
"""Errors that end by themselves or that an operator ends; all others are defects and raised."""

PASSING_CODES = re.compile(r"\b(OOM|READONLY|MISCONF|BUSY|LOADING|MASTERDOWN|CLUSTERDOWN|NOREPLICAS|TRYAGAIN|NOPERM) ")
"""The codes of the same errors in messages: Redis before 7 reports its own errors inside a script as the script's."""

PASSING_WORDS = re.compile("cannot be connected|slots are not covered|could not agree on a valid slots cache")
"""Messages of the cluster client while nodes are away or a replica takes over; it has no error classes for them."""

FIRST_WAIT_S, LONGEST_WAIT_S = 0.05, 5.0


def passing(error: Exception) -> bool:
    """Whether an error passes by itself, so that the call should be retried.

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
    """A passing error in a few words, for a label: one of a small set.

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
    """Repeats calls until Redis accepts them, with backoff. Logs the pause once, however many calls wait.

    Attributes
    ----------
    reason
        The reason of the pause, in a few words; empty while no call waits.
    """

    def __init__(self) -> None:
        self.reason = ""
        self._waiting = 0

    @property
    def paused(self) -> bool:
        """Whether any call waits. Other calls may succeed meanwhile, as reads do while memory is full."""
        return self._waiting > 0

    async def until_done(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """The result of the call, once it succeeds; an error that does not pass is raised.

        A cancellation meanwhile takes effect, although Redis' client may lose it: before Python 3.12,
        ``asyncio.wait_for`` swallows a cancellation that arrives together with an answer.
        """
        task = asyncio.current_task()
        cancelled = 0 if task is None else task.cancelling()
        backoff = Backoff(LONGEST_WAIT_S, first_s=FIRST_WAIT_S)
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
                await asyncio.sleep(backoff.next())
        finally:
            if waiting:
                self._waiting -= 1
                if not self._waiting:
                    self.reason = ""
