"""One shopper: who they are, what they are at, and their own sources of chance. Knows neither shelves nor the world."""

from dataclasses import dataclass, field
from random import Random

from liveshelf.simulation.aim import FEED, Aim
from liveshelf.simulation.examination import PAGE
from liveshelf.simulation.novelty import Novelty
from liveshelf.simulation.taste import Taste

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
