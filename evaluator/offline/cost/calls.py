"""Times calls of a contender: kinds of calls in turn, so that a busy moment of the machine meets all of them alike.

Knows a contender and clocks; nothing of what figures are made of the times.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from evaluator.message import Text, said
from evaluator.offline.contenders.contender import Contender
from evaluator.offline.cost.energy import Joules
from evaluator.offline.data import Case

LONGEST = 2.0
"""Seconds of one call above which its kind is not measured; the smallest kind always is."""

LEAST_CALLS = 3
"""Calls of a kind at least, unless they are longer than that; an interval needs as many."""

LEAST_P99 = 100
"""Calls that a 99th percentile needs."""


@dataclass(slots=True)
class Kind:
    """One kind of call, and what its calls took.

    Attributes
    ----------
    cases
        Draws the cases of the next call.
    seconds, most
        Calls end after so many seconds together, or so many calls.
    times, cpu, joules, pairs, shelves
        Of each call: wall seconds, processor seconds, joules (none where they cannot be read), candidates, and cases.
    skipped
        Why it was not measured; empty where it was.
    """

    name: str
    cases: Callable[[], list[Case]]
    seconds: float
    most: int
    times: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    joules: list[float] = field(default_factory=list)
    pairs: list[int] = field(default_factory=list)
    shelves: list[int] = field(default_factory=list)
    skipped: Text = ""

    @property
    def open(self) -> bool:
        """Whether it needs more calls."""
        if self.skipped or len(self.times) >= self.most:
            return False
        spent = sum(self.times)
        return spent < self.seconds or (len(self.times) < LEAST_CALLS and spent < LONGEST * LEAST_CALLS)


def measure(
    contender: Contender,
    kinds: Sequence[Kind],
    joules: Joules | None,
    between: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> None:
    """Call a contender, which has scored cases before, until no kind needs more calls.

    A kind whose calls would take longer than :data:`LONGEST`, as those of the kinds before it let expect, is skipped.

    Parameters
    ----------
    kinds
        Smallest calls first.
    between
        Called after each round of calls, outside of the times.
    """
    for kind in kinds:
        first = kind.cases()
        expected = _expected(kinds, sum(len(case.items) for case in first))
        if expected > LONGEST:
            kind.skipped = said("one call takes about {seconds:.1f} s: not measured", seconds=expected)
            continue
        _call(contender, kind, first, joules, clock)
        while kind.open and len(kind.times) < LEAST_CALLS:
            _call(contender, kind, kind.cases(), joules, clock)
    while any(kind.open for kind in kinds):
        for kind in kinds:
            if kind.open:
                _call(contender, kind, kind.cases(), joules, clock)
        between()


def _expected(kinds: Sequence[Kind], pairs: int) -> float:
    """Seconds for so many candidates at the best pace of the largest calls so far."""
    done = [kind for kind in kinds if kind.times]
    if not done:
        return 0.0
    paces = (seconds / max(1, count) for seconds, count in zip(done[-1].times, done[-1].pairs, strict=True))
    return min(paces) * pairs


def _call(
    contender: Contender, kind: Kind, cases: Sequence[Case], joules: Joules | None, clock: Callable[[], float]
) -> None:
    energy = joules() if joules else 0.0
    cpu, started = time.process_time(), clock()
    contender.score(cases)
    kind.times.append(clock() - started)
    kind.cpu.append(time.process_time() - cpu)
    if joules:
        kind.joules.append(joules() - energy)
    kind.pairs.append(sum(len(case.items) for case in cases))
    kind.shelves.append(len(cases))


def resampled(count: int, draws: int, seed: int) -> npt.NDArray[np.intp]:
    """Places of calls: the calls themselves, then each draw with replacement; int64 [draws + 1, count].

    Contenders with as many calls have the same draws: their calls are of the same cases, so differences are paired.

    Examples
    --------
    >>> resampled(2, 2, 0).tolist()
    [[0, 1], [1, 0], [0, 0]]
    """
    drawn = (np.random.default_rng(seed).random((draws, count)) * count).astype(np.intp)
    return np.vstack([np.arange(count), drawn])
