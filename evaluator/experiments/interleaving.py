"""Team-draft interleaving of two models on one shelf, and which of the two shoppers prefer.

Pure: takes rankings, a seed and clicks. Radlinski, Kurup and Joachims 2008, "How Does Clickthrough Data Reflect
Retrieval Quality?": needs about a tenth of the traffic that two arms need for the same answer.

No worker makes such shelves yet. The place for it is ``streams/ranking/arms.py``, which asks one recommender for each
arm: it would ask two for one shelf, put their rankings together by `interleave`, and keep the teams with the shelf.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from evaluator.experiments.evalue import EValue

Team = Literal["a", "b"]


@dataclass(frozen=True, slots=True)
class Interleaved:
    """A shelf of two models: items in their order, and which team brought each."""

    items: tuple[str, ...]
    teams: tuple[Team, ...]

    def credit(self, clicked: Collection[str]) -> int:
        """The score: above zero where more clicked items are ``a``'s, below zero where more are ``b``'s."""
        return sum(
            1 if team == "a" else -1 for item, team in zip(self.items, self.teams, strict=True) if item in clicked
        )


def interleave(a: Sequence[str], b: Sequence[str], length: int, seed: str) -> Interleaved:
    """Fill a shelf by turns. The team with fewer items picks its best one left; ties are drawn by the seed.

    Parameters
    ----------
    seed
        Seed of the draws, such as the shelf's id: the same seed gives the same shelf.

    Examples
    --------
    >>> found = interleave(["x", "y", "z"], ["y", "w", "x"], 4, "shelf")
    >>> sorted(found.items), found.teams.count("a"), found.teams.count("b")
    (['w', 'x', 'y', 'z'], 2, 2)
    """
    coin = Random(seed)
    items: list[str] = []
    teams: list[Team] = []
    left: dict[Team, list[str]] = {"a": list(dict.fromkeys(a))[::-1], "b": list(dict.fromkeys(b))[::-1]}
    while len(items) < length:
        for ranking in left.values():
            while ranking and ranking[-1] in items:
                ranking.pop()
        able: list[Team] = [team for team, ranking in left.items() if ranking]
        if not able:
            break
        fewest = min(teams.count(team) for team in able)
        team = coin.choice([team for team in able if teams.count(team) == fewest])
        items.append(left[team].pop())
        teams.append(team)
    return Interleaved(tuple(items), tuple(teams))


@dataclass(slots=True)
class Preference:
    """Shelves won by each team; ties are counted apart.

    Examples
    --------
    >>> preference = Preference()
    >>> for _ in range(60): preference.update(1)
    >>> for _ in range(20): preference.update(-2)
    >>> round(preference.share, 2), preference.evidence.get() > 100
    (0.75, True)
    """

    wins: int = 0
    losses: int = 0
    ties: int = 0
    evidence: EValue = field(default_factory=lambda: EValue(0.5, prior=20.0))

    def update(self, credit: int) -> None:
        """Count one shelf by its :meth:`Interleaved.credit`."""
        won, lost = int(credit > 0), int(credit < 0)
        self.wins, self.losses, self.ties = self.wins + won, self.losses + lost, self.ties + (not credit)
        self.evidence.update(won, lost)

    @property
    def share(self) -> float:
        """The share of decided shelves that ``a`` won; a half where there is none."""
        decided = self.wins + self.losses
        return self.wins / decided if decided else 0.5
