"""What a feed was ranked by, as its record keeps it: features of what is shown and of some candidates that are not.

Knows a ranked feed and the record's bytes; nothing of the policy, nor of what is learned from them.
"""

from collections.abc import Sequence
from random import Random

import numpy as np
import numpy.typing as npt

from streams.catalog.catalog import Catalog
from streams.events.shelf import OTHERS, RankedRows
from streams.features.behaviour import COLUMNS, FEATURES
from streams.ranking.feeds import Ranked

LARGEST = 65_504.0
"""Of float16."""

Floats = npt.NDArray[np.float32]
Slots = npt.NDArray[np.int64]


def ranked_rows(
    ranked: Ranked,
    shown: Sequence[int],
    withheld: Slots,
    *,
    catalogue: Catalog,
    popularity: Floats,
    bought: int,
    seed: int,
) -> RankedRows:
    """What a feed shows and some of what it does not show, with features.

    Parameters
    ----------
    shown
        Places of the shown items among the candidates.
    withheld
        Slots, int64 [w], that are not shown whatever their score, such as what is not to be offered again. They are no
        example of what the ranker put behind.
    popularity
        Demand by slot, 0 to 1.
    bought
        How many items the shopper has bought.
    seed
        Of the draw: a feed that is made again has the same others.
    """
    slots = ranked.candidates.slots
    free = np.ones(len(slots), np.bool_)
    free[list(shown)] = False
    if len(withheld):
        free &= ~np.isin(slots, withheld)
    unshown = np.flatnonzero(free).tolist()
    others = Random(seed).sample(unshown, min(OTHERS, len(unshown)))
    values = np.clip(ranked.features[[*shown, *others]], -LARGEST, LARGEST).astype("<f2")
    return RankedRows(
        columns=COLUMNS,
        values=values.tobytes(),
        others=catalogue.ids(slots[others]),
        popularity=popularity[slots[others]].astype(np.float64).round(3).tolist(),
        unshown=len(unshown),
        bought=bought,
    )


def features(rows: RankedRows) -> Floats | None:
    """Its values as float32 [items + others, F], columns as :data:`streams.features.behaviour.FEATURES`; None where
    they are those of another release, whose features mean something else.

    Examples
    --------
    >>> features(RankedRows("of another release", bytes(2))) is None
    True
    >>> features(RankedRows(COLUMNS, np.ones(2 * len(FEATURES), "<f2").tobytes())).shape == (2, len(FEATURES))
    True
    """
    if rows.columns != COLUMNS or len(rows.values) % (2 * len(FEATURES)):
        return None
    return np.frombuffer(rows.values, "<f2").reshape(-1, len(FEATURES)).astype(np.float32)
