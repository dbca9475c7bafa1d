"""A simulated shop on a stack of its own, for benchmarks: opened once the worker knows the catalogue, left to run."""

import time
from collections.abc import Iterator, Sequence

from liveshelf.demo.catalogs import made_up
from liveshelf.demo.environment import DemoEnvironment
from liveshelf.demo.shop import Shop
from liveshelf.demo.story import SEARCHES, SHOPPERS, VISITS_PER_S
from liveshelf.simulation.drift import Drift
from liveshelf.simulation.preferences import TEXT_ONLY, Preferences

READY_S = 300.0
ITEMS = 600
TICK_S = 0.2


def shop_of(
    there: DemoEnvironment,
    seed: int,
    drifts: Sequence[Drift] = (),
    per_s: float = VISITS_PER_S,
    searches: float = SEARCHES,
    preferences: Preferences = TEXT_ONLY,
    items: int = ITEMS,
    shoppers: int = SHOPPERS,
) -> Shop:
    """A shop of made-up items, its doors still closed; by default like the story's."""
    return Shop(
        there.settings,
        made_up(seed, items),
        seed,
        shoppers=shoppers,
        per_s=per_s,
        drifts=drifts,
        searches=searches,
        preferences=preferences,
    )


def shopping(there: DemoEnvironment, shop: Shop, until_s: float) -> Iterator[float]:
    """Open the shop when the worker is ready, and give the caller a turn a few times a second until its time is over.

    Yields
    ------
    float
        Seconds since the shop has opened.

    Raises
    ------
    RuntimeError
        When the worker does not know the catalogue in time.
    """
    ready_by = time.monotonic() + READY_S
    while shop.second < until_s:
        time.sleep(TICK_S)
        there.supervisor.tick()
        shop.check()
        if shop.is_open:
            yield shop.second
        elif any(one.gauges.get("items", 0) >= len(shop.world.items) for one in shop.listener.lately):
            shop.open()
        elif time.monotonic() > ready_by:
            raise RuntimeError("the worker was not ready in time")
