"""Tries of a contender: its scores of changed copies of cases, on a sample that its cost allows.

Knows cases and contenders; nothing of what the changes are. A contender that fails on a change is noted, not raised.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from evaluator.message import Text
from evaluator.offline.contenders.contender import Scores, ServiceError, checked
from evaluator.offline.data import Case, EvaluationData, blind
from evaluator.offline.dimensions.dimension import Bench
from evaluator.offline.perturbations.shift import NOTHING, Shift, same, shift
from evaluator.offline.resampling import Numbers
from evaluator.offline.safety.privacy import told_of

AT_ONCE = 256
"""Cases scored in one call, as where all cases are scored."""

FEWEST = 3
"""Candidates that a case needs to be perturbed."""

MOST, LEAST = 150, 12
"""Bounds of the size of a sample."""

PAIRS = 1_500_000
"""Pairs of a query or past and a candidate that may be scored for it."""

COSTLY_PAIRS = 10_000
"""The same for contenders with a true attribute ``costly``: each pair takes a pass through a model, or money."""

PROBED = 8
"""Cases by which a contender is found to score each candidate by itself."""


def sample(data: EvaluationData, seed: int) -> list[int]:
    """Places of the cases whose order can be good or bad and that have enough candidates, shuffled by the seed."""
    chosen = [i for i, case in enumerate(data.cases) if case.decided and len(case.items) >= FEWEST]
    return [chosen[place] for place in np.random.default_rng(seed).permutation(len(chosen))]


@dataclass
class Outcome:
    """What one perturbation did at one strength.

    Attributes
    ----------
    shifts
        By the place of the case.
    changed
        The changed query, by the place of the case; empty for other sides.
    after
        The scores after the change, by the place of the case.
    gained, above
        For listings: places gained, and places that were above.
    """

    name: str
    strength: int
    shifts: dict[int, Shift] = field(default_factory=dict)
    changed: dict[int, str] = field(default_factory=dict)
    after: dict[int, Scores] = field(default_factory=dict)
    gained: dict[int, float] = field(default_factory=dict)
    above: dict[int, float] = field(default_factory=dict)

    def column(self, figure: str, cases: int) -> Numbers:
        """A figure of every case, NaN for those left out: ``lost``, ``overlap``, ``flipped``, ``moved``."""
        found = [getattr(self.shifts.get(place, NOTHING), figure) for place in range(cases)]
        return np.array(found, np.float64)


@dataclass
class Trial:
    """One contender on trial.

    Attributes
    ----------
    crashes
        What it said where it failed, by what was changed.
    """

    bench: Bench
    crashes: dict[str, Text] = field(default_factory=dict)

    def size(self, copies: int) -> int:
        """How many cases are tried, each in so many copies. It does not depend on the machine."""
        data = self.bench.data
        pairs = COSTLY_PAIRS if getattr(self.bench.contender, "costly", False) else PAIRS
        each = copies * sum(len(case.items) for case in data.cases) / len(data.cases)
        return int(np.clip(pairs // each, LEAST, MOST))

    def score(self, what: str, cases: Sequence[Case]) -> list[Scores] | None:
        """Scores of changed copies; None where the contender fails on them.

        Raises
        ------
        ServiceError
            Where its service fails: that says nothing of the change.
        """
        found: list[Scores] = []
        try:
            for start in range(0, len(cases), AT_ONCE):
                some = cases[start : start + AT_ONCE]
                found += checked(self.bench.contender.score(some), some)
        except ServiceError:
            raise
        except Exception as error:
            self.crashes[what] = told_of(error)
            return None
        return found

    def outcomes(self, name: str, copies: Sequence[tuple[int, int, Case]]) -> list[Outcome]:
        """What a perturbation of queries or of the past did, by strength.

        Parameters
        ----------
        copies
            The place of a case, a strength, and the case as it was changed.
        """
        scores = self.score(name, [copy for _, _, copy in copies])
        found: dict[int, Outcome] = {}
        for (place, strength, copy), after in zip(copies, scores or (), strict=False):
            outcome = found.setdefault(strength, Outcome(name, strength))
            case, before = self.bench.data.cases[place], np.asarray(self.bench.scores[place])
            outcome.shifts[place] = shift(case, before, after, self.bench.data.span[0])
            outcome.changed[place], outcome.after[place] = copy.query, after
        return [found[strength] for strength in sorted(found)]

    def itemwise(self, places: Sequence[int]) -> bool:
        """Whether a candidate's score is the same in any company, so that a changed one can be scored alone."""
        some = places[:PROBED]
        halves = [blind(self.bench.data.cases[place], items=self.bench.data.cases[place].items[::2]) for place in some]
        scores = self.score("shorter lists", halves)
        pairs = zip(some, scores or (), strict=False)
        return scores is not None and all(same(np.asarray(self.bench.scores[i])[::2], half) for i, half in pairs)
