"""One shopper: their taste, current aim, recently opened items, and own random sources.

Pure. Knows neither shelves nor the world.
"""

import math
from dataclasses import dataclass, field
from random import Random

from liveshelf.simulation.taste import FEED, Aim, Taste
from liveshelf.simulation.visit import PAGE

WORN = 0.7
"""The share of its appeal that an item loses when it is opened."""

RECOVERS = 5.0
"""The number of visits after which the loss has fallen to 1/e."""

FORGOTTEN = 25
"""The number of visits after which an item has its full appeal again."""


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
        """Record that an item was opened, and forget items opened long ago."""
        self._opened.pop(item_id, None)
        self._opened[item_id] = visit
        while visit - self._opened[oldest := next(iter(self._opened))] >= FORGOTTEN:
            del self._opened[oldest]

    def get(self, item_id: str, visit: int) -> float:
        """The remaining appeal of an item, in [0, 1]."""
        opened = self._opened.get(item_id)
        if opened is None or visit - opened >= FORGOTTEN:
            return 1.0
        return 1.0 - WORN * math.exp((opened - visit) / RECOVERS)

    @property
    def worn(self) -> list[str]:
        """Items that may have lost some appeal."""
        return list(self._opened)


LEAVES = 0.25
"""The probability that a visit is the last of its session."""

THINKS = 0.25
"""The mean time between visits in a session, as a share of the mean time between all visits."""

READINESS = 4.0
"""Shape of the gamma distribution, with mean 1, of the readiness to click: coefficient of variation 0.5."""


@dataclass(frozen=True, slots=True)
class Chances:
    """All random numbers in [0, 1) that a visit may need. All are always drawn, so that no event shifts later draws."""

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
    """A shopper: their initial taste, the interest of the current session, and the number of the next visit.

    ``bought`` is the day of the last purchase of each item, ``due`` the day on which each is used up; ``needs`` is the
    random source of what they buy without a shelf.
    """

    id: str
    taste: Taste
    readiness: float
    random: Random
    clock: Random
    needs: Random
    focus: int
    aim: Aim = FEED
    visit: int = 1
    session: int = 1
    rests: bool = True
    novelty: Novelty = field(default_factory=Novelty)
    bought: dict[str, float] = field(default_factory=dict)
    due: dict[str, float] = field(default_factory=dict)

    @classmethod
    def named(cls, name: str, seed: int, taste: Taste, random: Random) -> "Shopper":
        """A shopper whose other attributes are drawn from their random source."""
        readiness = random.gammavariate(READINESS, 1 / READINESS)
        clock, needs = (Random(f"{seed}:{name}:{of}") for of in ("clock", "needs"))
        return cls(name, taste, readiness, random, clock, needs, taste.pick(random.random()))

    def chances(self) -> Chances:
        """The random numbers for the next visit."""
        one = self.random.random
        return Chances(
            [one() for _ in range(PAGE)],
            [(one(), one(), one()) for _ in range(PAGE)],
            *[one() for _ in range(9)],
        )

    def pause(self, mean_ms: float) -> float:
        """Milliseconds to the next visit: short in a session, long between two; the mean over all is given."""
        away = (1 - (1 - LEAVES) * THINKS) / LEAVES
        return self.clock.expovariate(1.0) * mean_ms * (away if self.rests else THINKS)
