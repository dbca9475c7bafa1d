"""Bots: they come as regularly as a clock, and click whatever is on screen, wherever it stands. Pure."""

from collections.abc import Mapping
from random import Random

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
