"""Off-policy value: the clicks that a contender would have got in the log's places, where propensities are logged.

Knows cases, scores and the estimators of ``evaluator.experiments.off_policy``. The contender is a policy that shows its
ranking; equal scores are shown in every order alike.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from evaluator.experiments.off_policy import Logs, effective_size
from evaluator.message import said
from evaluator.offline.contenders.contender import Scores
from evaluator.offline.data import Case
from evaluator.offline.dimensions.dimension import Bench, Reading, optional

CLIP = 100.0
"""Importance weights at most."""

FEW = 30
"""Effective decisions below which the reading is marked."""


def readings(bench: Bench) -> Iterator[Reading]:
    """The self-normalised estimate (Swaminathan and Joachims 2015), and the mean reward of the log itself."""
    found = decisions(bench.data.cases, bench.scores, bench.data.span[0])
    if found is None:
        return
    logs, rows = found
    weights = logs.weights(CLIP)
    count = len(bench.data.cases)
    masses, gained = (np.bincount(rows, some, count) for some in (weights, weights * logs.reward))
    with np.errstate(invalid="ignore"):
        replicates = (bench.resampling.weights @ gained) / (bench.resampling.weights @ masses)
    size = effective_size(logs, CLIP)
    text = "{size:,.0f} effective of {rows:,} decisions; the log itself {reward:.4f}"
    note = said(text, size=size, rows=len(rows), reward=logs.reward.mean())
    yield Reading(
        measure="off_policy_value",
        dimension="effect",
        value=optional(replicates[0]),
        replicates=replicates.tolist(),
        count=int((masses > 0).sum()),
        says="Mean reward of a shown item if this model had ranked: self-normalised inverse propensity.",
        note=said("too few to trust: {note}", note=note) if size < FEW else note,
    )


def decisions(
    cases: Sequence[Case], scores: Sequence[Scores], least: float
) -> tuple[Logs, npt.NDArray[np.intp]] | None:
    """The shown items with a propensity, and each one's case; None without any."""
    rewards, propensities, targets, rows = [], [], [], []
    for row, (case, found) in enumerate(zip(cases, scores, strict=True)):
        if case.propensities is None:
            continue
        for place in np.flatnonzero(~np.isnan(case.propensities) & ~np.isnan(case.gains)):
            rewards.append(case.gains[place] - least)
            propensities.append(case.propensities[place])
            targets.append(chance_of(found, int(place)))
            rows.append(row)
    if not rows:
        return None
    return Logs(*(np.array(some, np.float64) for some in (rewards, propensities, targets))), np.array(rows, np.intp)


def chance_of(scores: Scores, place: int) -> float:
    """The probability that the item which was shown at a place is ranked at that place, with ties in random order.

    Examples
    --------
    >>> [chance_of(np.array(scores), 1) for scores in ([2.0, 1.0, 0.0], [1.0, 2.0, 0.0], [1.0, 1.0, 1.0])]
    [1.0, 0.0, 0.3333333333333333]
    """
    above, equal = int((scores > scores[place]).sum()), int((scores == scores[place]).sum())
    return 1 / equal if above <= place < above + equal else 0.0
