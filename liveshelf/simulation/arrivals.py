"""Arrivals: visits of shoppers in sessions, and of bots, which come at regular intervals and click at random.

Pure: yields times; has no clock and does not wait.
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
    """One bot, with its own random source.

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
        """The events of a bot that sees a shelf; none without a shelf."""
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
"""The time of the next visit, the visitor's id, the visitor, their mean pause, and the time of the end."""


def of_shoppers(shoppers: Iterable[Shopper], per_s: float, now_ms: int) -> list[Due]:
    """The first visit of each shopper; together they make ``per_s`` visits a second."""
    people = list(shoppers)
    mean_ms = len(people) * 1000 / per_s
    return [(now_ms + who.clock.random() * mean_ms, who.id, who, mean_ms, float("inf")) for who in people]


def of_bots(bots: Iterable[Bot], drift: BotTraffic, per_s: float, now_ms: int, start_ms: int) -> list[Due]:
    """The first visit of each bot. Bots make the drift's share of all visits; shoppers make ``per_s`` a second."""
    every_ms = BOTS * 1000 / per_s * (1 - drift.share) / drift.share
    begin, end = max(now_ms, start_ms + drift.at_s * 1000), start_ms + drift.until_s * 1000
    return [(begin + k * every_ms / BOTS, bot.id, bot, every_ms, end) for k, bot in enumerate(bots)]


def visits(due: list[Due]) -> Iterator[tuple[int, str]]:
    """Visits in order of time; a visitor's next visit is drawn after the current one."""
    heapq.heapify(due)
    while due:
        at_ms, name, visitor, mean_ms, end = due[0]
        if at_ms < end:
            yield int(at_ms), name
            heapq.heapreplace(due, (at_ms + visitor.pause(mean_ms), name, visitor, mean_ms, end))
        else:
            heapq.heappop(due)
