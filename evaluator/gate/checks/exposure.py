"""Shares of exposure by item and by brand: who gains and who loses when the challenger ranks.

Pure: takes lists of names by rank. A place's exposure is nDCG's discount, 1 / log2(1 + rank) (Singh and Joachims 2018).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from textwrap import shorten
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from evaluator.gate.config import GateConfig
from evaluator.gate.report import Check
from models.scorer import Floats

if TYPE_CHECKING:
    from evaluator.gate.dataset import GateRequest  # at run time it would load torch, for those who read shares only

DEPTH = 10

LONGEST = 60
"""Most letters of a name in a sentence."""


def top(requests: "Sequence[GateRequest]", scores: Sequence[Floats]) -> list[list[str]]:
    """Each context's ten best items; ties keep the order of the request."""
    return [
        [request.items[place] for place in np.argsort(-score, kind="stable")[:DEPTH]]
        for request, score in zip(requests, scores, strict=True)
    ]


def discounts(count: int) -> npt.NDArray[np.float64]:
    """The exposure of each of the first places.

    Examples
    --------
    >>> discounts(3).round(2).tolist()
    [1.0, 0.63, 0.5]
    """
    found: npt.NDArray[np.float64] = 1 / np.log2(1 + np.arange(1, count + 1))
    return found


def shares(shelves: Iterable[Sequence[str]]) -> dict[str, float]:
    """Each name's share of all exposure.

    Examples
    --------
    >>> {name: round(share, 2) for name, share in shares([["a", "b"], ["a", "c"]]).items()}
    {'a': 0.61, 'b': 0.19, 'c': 0.19}
    """
    found: defaultdict[str, float] = defaultdict(float)
    for names in shelves:
        for name, seen in zip(names, discounts(len(names)).tolist(), strict=True):
            found[name] += seen
    total = sum(found.values())
    return {name: seen / total for name, seen in found.items()}


def total_variation(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Half the sum of the differences of shares: the part of all exposure that goes to others.

    Examples
    --------
    >>> total_variation({"a": 0.75, "b": 0.25}, {"a": 0.5, "c": 0.5})
    0.5
    """
    return sum(abs(one.get(name, 0.0) - other.get(name, 0.0)) for name in one.keys() | other.keys()) / 2


def exposure_checks(
    champion: Sequence[Sequence[str]],
    challenger: Sequence[Sequence[str]],
    brands: Mapping[str, str],
    config: GateConfig,
) -> Iterator[Check]:
    """Checks by item and by brand. They compare the value itself: resampling makes a distance larger, so there is no
    interval.

    Parameters
    ----------
    champion, challenger
        Their shelves for the same contexts.
    brands
        An item's brand by its text; items without a brand count as one.
    """
    for name, limit, key in (("item", config.exposure_item, None), ("brand", config.exposure_brand, brands)):
        if key is not None and not key:
            said = "No brands are known."
            yield Check(name="exposure_brand", value=None, interval=None, limit=limit, passed=True, sentence=said)
            continue
        one, other = (
            shares(names if key is None else [key.get(item, "") for item in names] for names in shelves)
            for shelves in (champion, challenger)
        )
        value = total_variation(one, other)
        gains = sorted(one.keys() | other.keys(), key=lambda who: (other.get(who, 0.0) - one.get(who, 0.0), who))
        said = f"{value:.0%} of the exposure goes to other {name}s"
        most, least = (shorten(gains[place], LONGEST, placeholder=" …") for place in (-1, 0))
        said += f"; most to {most!r}, from {least!r}" if value else ""
        said += "." if value <= limit else f"; {limit:.0%} are allowed."
        yield Check(
            name=f"exposure_{name}", value=value, interval=None, limit=limit, passed=value <= limit, sentence=said
        )
