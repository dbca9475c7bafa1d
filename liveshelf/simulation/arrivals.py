"""Who comes when: sessions of shoppers, and bots, which come as regularly as a clock and click whatever is on screen.

Pure: times out, no clock, no waiting.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from random import Random

from liveshelf.simulation.drift import BotTraffic
from liveshelf.simulation.shopper import Shopper
from liveshelf.simulation.visit import Visit
from streams.events.schema import AnyEvent, Item
from streams.events.shelf import Shelf

BOTS = 3

CLICKS = 0.5
"""Probability that a bot clicks an item of a shelf."""


class Bot:
    """One bot, with a random source of its own.

    Examples
    --------
    >>> Bot("bot-1", seed=1).act(None, {}, now_ms=0)
    []
    """

    def __init__(self, name: str, seed: int) -> None:
        self.id = name
        self._random = Random(f"{seed}:{name}")
        self._visits = 0

    def act(self, shelf: Shelf | None, items: Mapping[str, Item], now_ms: int) -> list[AnyEvent]:
        """What it does on seeing a shelf; nothing without one."""
        self._visits += 1
        visit = Visit(self.id, 1, self._visits, now_ms)
        if shelf is not None and shelf.items:
            for place, item_id in enumerate(visit.see(shelf)):
                if self._random.random() < CLICKS and (item := items.get(item_id)) is not None:
                    visit.open(item, shelf, place, 0)
        return visit.events

    def pause(self, mean_ms: float) -> float:
        """Milliseconds to its next visit."""
        return mean_ms


Due = tuple[float, str, Shopper | Bot, float, float]
"""When one comes next, their id, who it is, their mean pause, and when they come no more."""


def of_shoppers(shoppers: Iterable[Shopper], per_s: float, now_ms: int) -> list[Due]:
    """First visits of shoppers who make so many visits a second together."""
    people = list(shoppers)
    mean_ms = len(people) * 1000 / per_s
    return [(now_ms + who.clock.random() * mean_ms, who.id, who, mean_ms, float("inf")) for who in people]


def of_bots(bots: Iterable[Bot], drift: BotTraffic, per_s: float, now_ms: int, start_ms: int) -> list[Due]:
    """First visits of bots who are to make the drift's share of all visits, of which shoppers make so many a second."""
    every_ms = BOTS * 1000 / per_s * (1 - drift.share) / drift.share
    begin, end = max(now_ms, start_ms + drift.at_s * 1000), start_ms + drift.until_s * 1000
    return [(begin + k * every_ms / BOTS, bot.id, bot, every_ms, end) for k, bot in enumerate(bots)]


def visits(due: list[Due]) -> Iterator[tuple[int, str]]:
    """Visits in order of time, each one's next after they have acted."""
    heapq.heapify(due)
    while due:
        at_ms, name, visitor, mean_ms, end = due[0]
        if at_ms < end:
            yield int(at_ms), name
            heapq.heapreplace(due, (at_ms + visitor.pause(mean_ms), name, visitor, mean_ms, end))
        else:
            heapq.heappop(due)
