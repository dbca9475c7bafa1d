"""History cut in three by time: to train on, newer, to calibrate by, and the newest, to be judged by. Pure.

A view has one time, so no cut parts one.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from evaluator.attribution.example import Labelled
from evaluator.retraining.config import LearningConfig
from models.training.examples import ExamplesError


class Slices(NamedTuple):
    """Examples in the order of time."""

    train: Sequence[Labelled]
    calibrate: Sequence[Labelled]
    gate: Sequence[Labelled]


def slices(examples: Sequence[Labelled], config: LearningConfig) -> Slices:
    """Cut examples that are in the order of time.

    Examples
    --------
    >>> made = [Labelled(id=f"{ts}{item}", ts=ts, shopper="u", item_id=item, shelf_id="s", surface="", position=0,
    ...     intent="look") for ts in range(10) for item in "ab"]
    >>> [len(some) for some in slices(made, LearningConfig())]
    [14, 2, 4]

    Raises
    ------
    ExamplesError
        When there are too few moments to make three slices.
    """
    views = [view[0] for view, _ in groupby(examples, lambda one: (one.ts, one.shopper, one.shelf_id))]
    judged = max(1, min(int(config.gate_share * len(views)), config.gate_views))
    aside = judged + max(1, int(config.calibration_share * len(views)))
    if aside >= len(views):
        raise ExamplesError(f"{len(views):,} views are too few to train on, to calibrate and to judge by")
    first, second = (next(place for place, one in enumerate(examples) if one.ts >= views[-n]) for n in (aside, judged))
    if not 0 < first < second:
        raise ExamplesError(f"{len(views):,} views of so few moments cannot be parted by time")
    return Slices(examples[:first], examples[first:second], examples[second:])
