"""Where to cut history in two: to train on, and, newer, to judge by. Pure.

A view has one time, so a cut in time never parts it.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from models.training.examples import ExamplesError


class Slices(NamedTuple):
    """Train on what was seen from ``since`` on and before ``cut``, judge by what was seen from there on and before
    ``until`` (epoch ms)."""

    since: int
    cut: int
    until: int


def cut(times: Callable[[], Iterable[int]], share: float) -> int:
    """The moment from which on about ``share`` of the views were.

    Parameters
    ----------
    times
        Gives the times of all views in order, each time it is asked, which is twice; nothing is held.

    Examples
    --------
    >>> cut(lambda: iter([1, 2, 3, 4, 5, 6, 6, 7]), 0.25)
    6

    Raises
    ------
    ExamplesError
        When there are not two moments to part.
    """
    if not 0 < share < 1:
        raise ValueError(f"the share to judge by is {share}; it must be above 0 and below 1")
    count, first = 0, None
    for time in times():
        first = time if first is None else first
        count += 1
    found = first
    for place, time in enumerate(times()):
        found = time
        if place >= int((1 - share) * count):
            break
    if found is None or found == first:
        raise ExamplesError(f"{count:,} views cannot be parted by time; wait for more examples, or take a longer range")
    return found
