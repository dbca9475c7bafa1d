"""One thread for all model and index work, so that indexes need no locks and the event loop never waits on a model.

Two lanes: what a shopper waits for goes first, catalogue work fills the gaps. Knows nothing of what is run.
"""

import asyncio
import itertools
import queue
import threading
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

URGENT, LATER, STOP = 0, 1, 2


class _Job(Generic[T]):
    __slots__ = ("call", "done", "loop")

    def __init__(self, call: Callable[[], T], loop: asyncio.AbstractEventLoop) -> None:
        self.call, self.loop = call, loop
        self.done: asyncio.Future[T] = loop.create_future()

    def run(self) -> None:
        try:
            answer = self.call()
        except BaseException as error:  # delivered to whoever awaits, whatever it is
            self._tell(self.done.set_exception, error)
        else:
            self._tell(self.done.set_result, answer)

    def _tell(self, method: Callable[[Any], None], value: object) -> None:
        def deliver() -> None:
            if not self.done.done():
                method(value)

        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(deliver)


class Compute:
    """A single worker thread with two priorities.

    Examples
    --------
    >>> async def main():
    ...     compute = Compute()
    ...     try:
    ...         return await compute.run(max, 1, 2)
    ...     finally:
    ...         compute.close()
    >>> asyncio.run(main())
    2
    """

    def __init__(self) -> None:
        self._jobs: queue.PriorityQueue[tuple[int, int, _Job[Any] | None]] = queue.PriorityQueue()
        self._order = itertools.count()
        self._thread = threading.Thread(target=self._work, name="compute", daemon=True)
        self._thread.start()

    def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "asyncio.Future[T]":
        """Run a call before all catalogue work that has not begun."""
        return self._put(URGENT, lambda: call(*args, **kwargs))

    def later(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "asyncio.Future[T]":
        """Run a call when no shopper waits; keep it short, for it cannot be interrupted."""
        return self._put(LATER, lambda: call(*args, **kwargs))

    def close(self) -> None:
        """Finish what is queued and end the thread."""
        self._jobs.put((STOP, next(self._order), None))
        self._thread.join(timeout=30)

    def _put(self, lane: int, call: Callable[[], T]) -> "asyncio.Future[T]":
        job = _Job(call, asyncio.get_running_loop())
        self._jobs.put((lane, next(self._order), job))
        return job.done

    def _work(self) -> None:
        while (job := self._jobs.get()[2]) is not None:
            job.run()
