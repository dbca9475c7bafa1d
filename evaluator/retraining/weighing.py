"""What was ignored, weighed by how often its place is looked at. Pure."""

from collections.abc import Sequence

import msgspec

from evaluator.metrics.position_bias import Positions
from models.training.examples import Example


def weighed(examples: Sequence[Example], positions: Positions) -> list[Example]:
    """Examples whose ``ignore`` ones count as much as their position's propensity.

    Where only one in five looks, four of five have not ignored anything. By the position-based model an item that
    tempts with probability ``r`` is clicked at place ``k`` with probability ``theta(k) r``. So the log likelihood of a
    click is ``log r`` plus a constant, and that of none ``log(1 - theta(k) r)``, which for rare clicks is ``theta(k)
    log(1 - r)``: a cross-entropy in which clicks weigh one and the rest their propensity. Inverse weights on the clicks
    (Joachims et al. 2017) aim at the same and vary far more.

    Examples
    --------
    >>> positions = Positions()
    >>> for place, clicks in ((0, 40), (1, 10)):
    ...     positions.update("tv", "a", place, clicks, 100)
    >>> shown = [Example(query="tv", item="a", intent=intent, position=1) for intent in ("look", "ignore")]
    >>> [round(one.weight, 2) for one in weighed(shown, positions)]
    [1.0, 0.25]
    """
    return [
        msgspec.structs.replace(one, weight=one.weight / positions.weight(one.position))
        if one.intent == "ignore" and one.position is not None
        else one
        for one in examples
    ]
