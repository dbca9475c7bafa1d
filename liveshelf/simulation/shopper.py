"""One shopper: who they are, what they are at, what they opened lately, and their own sources of chance.

Pure. Knows neither shelves nor the world.
"""

import math
from dataclasses import dataclass, field
from random import Random

from liveshelf.simulation.taste import FEED, Aim, Taste
from liveshelf.simulation.visit import PAGE

WORN = 0.7
"""What is gone of an item's appeal when it has just been opened."""

RECOVERS = 5.0
"""Visits in which what is gone falls to 1/e."""

FORGOTTEN = 25
"""Visits after which an item is as good as new."""


class Novelty:
    """The items that a shopper opened in their last visits.

    Examples
    --------
    >>> novelty = Novelty()
    >>> novelty.update("a", visit=3)
    >>> [round(novelty.get("a", visit), 2) for visit in (3, 8, 28)], novelty.get("b", 3)
    ([0.3, 0.74, 1.0], 1.0)
    """

    def __init__(self) -> None:
        self._opened: dict[str, int] = {}

    def update(self, item_id: str, visit: int) -> None:
        """Note that an item was opened, and forget what was opened long ago."""
        self._opened.pop(item_id, None)
        self._opened[item_id] = visit
        while visit - self._opened[oldest := next(iter(self._opened))] >= FORGOTTEN:
            del self._opened[oldest]

    def get(self, item_id: str, visit: int) -> float:
        """What is left of an item's appeal, in [0, 1]."""
        opened = self._opened.get(item_id)
        if opened is None or visit - opened >= FORGOTTEN:
            return 1.0
        return 1.0 - WORN * math.exp((opened - visit) / RECOVERS)

    @property
    def worn(self) -> list[str]:
        """Items that may have lost some appeal."""
        return list(self._opened)


LEAVES = 0.25
"""Probability that a visit is the last one of its session."""

THINKS = 0.25
"""Mean time between visits of a session, as a share of that between all visits."""

READINESS = 4.0
"""Shape of the gamma distribution, of mean 1, of how readily shoppers click: a coefficient of variation of a half."""


@dataclass(frozen=True, slots=True)
class Chances:
    """All numbers in [0, 1) that a visit may need, drawn whatever happens, so that no happening shifts later ones."""

    click: list[float]
    follow: list[tuple[float, float, float]]
    search: float
    season: float
    thing: float
    length: float
    brand: float
    browse: float
    leave: float
    focus: float
    dead: float


@dataclass(slots=True)
class Shopper:
    """A shopper: the taste they came with, the interest that the session is about, and the number of the next visit."""

    id: str
    taste: Taste
    readiness: float
    random: Random
    clock: Random
    focus: int
    aim: Aim = FEED
    visit: int = 1
    session: int = 1
    rests: bool = True
    novelty: Novelty = field(default_factory=Novelty)
    bought: set[str] = field(default_factory=set)

    @classmethod
    def named(cls, name: str, seed: int, taste: Taste, random: Random) -> "Shopper":
        """A shopper with what is not said drawn from their random source."""
        readiness = random.gammavariate(READINESS, 1 / READINESS)
        return cls(name, taste, readiness, random, Random(f"{seed}:{name}:clock"), taste.pick(random.random()))

    def chances(self) -> Chances:
        """For the next visit."""
        one = self.random.random
        return Chances(
            [one() for _ in range(PAGE)],
            [(one(), one(), one()) for _ in range(PAGE)],
            *[one() for _ in range(9)],
        )

    def pause(self, mean_ms: float) -> float:
        """Milliseconds to the next visit, of the given mean over all: short within a session, long between two."""
        away = (1 - (1 - LEAVES) * THINKS) / LEAVES
        return self.clock.expovariate(1.0) * mean_ms * (away if self.rests else THINKS)
