"""How much of what is possible is reached: expected click rates beside the best there could be and those of chance."""

from dataclasses import dataclass
from typing import NamedTuple


class Rates(NamedTuple):
    """Expected clicks per impression: of what was shown, of the oracle, of a random shelf."""

    shown: float
    oracle: float
    random: float


@dataclass
class Reach:
    """Share of the way from chance to the oracle, over all visits so far.

    Examples
    --------
    >>> reach = Reach()
    >>> reach.update(Rates(shown=0.06, oracle=0.10, random=0.02))
    >>> round(reach.get(), 3)
    0.5
    """

    shown: float = 0.0
    oracle: float = 0.0
    random: float = 0.0

    def update(self, rates: Rates) -> None:
        """Count a visit, before it takes place."""
        self.shown += rates.shown
        self.oracle += rates.oracle
        self.random += rates.random

    def get(self) -> float:
        """The share; NaN while oracle and chance do not differ."""
        possible = self.oracle - self.random
        return (self.shown - self.random) / possible if possible > 0 else float("nan")
