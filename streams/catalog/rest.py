"""How work in the background leaves shoppers the event loop: after it kept the loop busy, it rests for as long as that,
counting only time in which nobody else did. So it takes half of what is left over, however much that is.

Knows clocks and the event loop; nothing of the work.
"""

import asyncio
import time

SLICE_S = 0.005
MOST = 20
"""A rest is over after so many times the work, so that work goes on under the fullest load, too."""


async def rest(spent: float) -> None:
    """Sleep until the event loop was idle for ``spent`` seconds.

    Examples
    --------
    >>> began = time.perf_counter()
    >>> asyncio.run(rest(0.02))
    >>> time.perf_counter() - began >= 0.02
    True
    """
    idle, began = 0.0, time.perf_counter()
    while idle < spent and time.perf_counter() - began < MOST * spent:
        at, worked = time.perf_counter(), time.thread_time()
        await asyncio.sleep(SLICE_S)
        # A slice that ends late was somebody's batch, or another process had the core.
        if time.perf_counter() - at < 2 * SLICE_S:
            idle += max(0.0, SLICE_S - (time.thread_time() - worked))
