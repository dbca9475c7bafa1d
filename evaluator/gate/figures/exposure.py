"""Who gains and who loses exposure when the challenger ranks: shares by item and by brand beside the champion's.

Pure: takes lists of names by rank.
"""

from collections.abc import Iterator, Mapping, Sequence
from textwrap import shorten

import numpy as np

from evaluator.gate.dataset import GateRequest
from evaluator.gate.thresholds import Figure
from models.measures.names import EXPOSURE_BY_BRAND, EXPOSURE_BY_ITEM
from models.measures.ranking import DEPTH
from models.measures.shelves import shares, total_variation
from models.scorer import Floats

LONGEST = 60
"""Most letters of a name in a sentence."""


def top(requests: Sequence[GateRequest], scores: Sequence[Floats]) -> list[list[str]]:
    """Each context's ten best items; ties keep the order of the request."""
    return [
        [request.items[place] for place in np.argsort(-score, kind="stable")[:DEPTH]]
        for request, score in zip(requests, scores, strict=True)
    ]


def exposure_figures(
    champion: Sequence[Sequence[str]], challenger: Sequence[Sequence[str]], brands: Mapping[str, str]
) -> Iterator[Figure]:
    """By item and by brand: the difference is the total variation between the shares. Resampling makes a distance
    larger, so it has no interval.

    Parameters
    ----------
    champion, challenger
        Their shelves for the same contexts.
    brands
        An item's brand by its text; items without a brand count as one.
    """
    yield _figure(EXPOSURE_BY_ITEM, shares(champion), shares(challenger), len(champion))
    if not brands:
        yield Figure(measure=EXPOSURE_BY_BRAND, note="no brands are known")
        return
    one, other = (shares([brands.get(item, "") for item in names] for names in some) for some in (champion, challenger))
    yield _figure(EXPOSURE_BY_BRAND, one, other, len(champion))


def _figure(measure: str, one: Mapping[str, float], other: Mapping[str, float], count: int) -> Figure:
    moved = total_variation(one, other)
    gains = sorted(one.keys() | other.keys(), key=lambda who: (other.get(who, 0.0) - one.get(who, 0.0), who))
    most, least = (shorten(gains[place], LONGEST, placeholder=" …") for place in (-1, 0))
    note = f"most to {most!r}, from {least!r}" if moved else ""
    return Figure(measure=measure, difference=moved, count=count, counted="lists", note=note)
