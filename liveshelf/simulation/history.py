"""Orders before a shop opens, as events: what a shop with a past has, and what `train --from-history` reads.

Pure but for :func:`write`: a world in, events in order of time out. The world's shoppers remember what they bought, so
the shop goes on where its history ends. Knows nothing of shelves, Kafka or Redis.
"""

import heapq
from collections.abc import Iterable
from pathlib import Path
from random import Random

from liveshelf.simulation.world import World
from streams.events.schema import Purchase, encoder

EVERY_DAYS = 14.0
"""The mean number of days between two orders of a shopper, beside those for what is used up."""


def orders(world: World, days: float, every_days: float = EVERY_DAYS) -> list[Purchase]:
    """The purchases of so many days before the shop opens.

    A shopper orders at random, on average every ``every_days``, what they like, what completes it, and what is used up
    by then; and on the day when something is used up, that alone.

    Parameters
    ----------
    world
        A new one. Its drifts hold by their times, which may be negative: before the shop opens.

    Returns
    -------
    list of purchases
        In order of time. The items of an order have the same ``session_id``.

    Examples
    --------
    >>> from liveshelf.demo.catalogs import made_up
    >>> from liveshelf.simulation.preferences import BEHAVIOUR
    >>> world = World(made_up(1, 60), seed=1, n=3, preferences=BEHAVIOUR, start_ms=1_800_000_000_000)
    >>> bought = orders(world, days=60)
    >>> len({event.user_id for event in bought}), len(bought) > 10, bought[-1].time_ms < world.start_ms
    (3, True, True)
    """
    day_ms = world.preferences.day_ms
    begin_ms = world.start_ms - int(days * day_ms)
    clocks = {name: Random(f"{world.seed}:{name}:orders") for name in world.ids}
    due = [(begin_ms + clock.expovariate(1 / every_days) * day_ms, name, True) for name, clock in clocks.items()]
    heapq.heapify(due)
    found: list[Purchase] = []
    while due and due[0][0] < world.start_ms:
        at_ms, name, anything = heapq.heappop(due)
        bought = world.order(name, int(at_ms), anything=anything)
        found += bought
        if anything:
            heapq.heappush(due, (at_ms + clocks[name].expovariate(1 / every_days) * day_ms, name, True))
        if bought and (next_ms := world.next_due(name)) is not None:
            heapq.heappush(due, (max(next_ms, at_ms + 1), name, False))
    return sorted(found, key=lambda event: event.time_ms)


def write(events: Iterable[Purchase], path: Path) -> int:
    """Write events as JSON lines, as `liveshelf replay` and `train` read them; returns how many."""
    count = 0
    with path.open("wb") as file:
        for event in events:
            file.write(encoder.encode(event) + b"\n")
            count += 1
    return count
