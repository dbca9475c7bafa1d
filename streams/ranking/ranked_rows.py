"""What a feed was ranked by, as its record keeps it: features of what is shown and of some candidates that are not.

Knows a ranked feed and the record's bytes; nothing of the policy, nor of what is learned from them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random

import numpy as np
from numpy.typing import NDArray

from streams.catalog.catalog import Catalog
from streams.events.shelf import OTHERS, RankedRows
from streams.features.behaviour import COLUMNS, FEATURES
from streams.features.own import NOTHING, keys_of
from streams.ranking.feeds import Ranked, RankedFeeds

LARGEST = 65_504.0
"""Of float16."""

Floats = NDArray[np.float32]
Slots = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A feed that was made.

    Attributes
    ----------
    ranked
        Its candidates.
    rows
        Places of the shown items among the candidates.
    withheld
        Slots, int64 [w], that are not shown whatever their score, such as what is not to be offered again. They are no
        example of what the ranker put behind.
    bought
        How many items the shopper has bought.
    seed
        Of the draw: a feed that is made again has the same others.
    """

    ranked: Ranked
    rows: Sequence[int]
    withheld: Slots
    bought: int
    seed: int


def ranked_rows(feeds: Sequence[Shown], catalogue: Catalog, popularity: Floats) -> list[RankedRows]:
    """What each of some feeds of one batch shows and some of what it does not show, with features.

    Parameters
    ----------
    popularity
        Demand by slot, 0 to 1.
    """
    if not feeds:
        return []
    batch = feeds[0].ranked.batch
    free = _free(feeds, batch)
    unshown = [some[free[some]].tolist() for some in (one.ranked.rows for one in feeds)]
    others = [Random(one.seed).sample(some, min(OTHERS, len(some))) for one, some in zip(feeds, unshown, strict=True)]
    rows = [[*one.ranked.rows[one.rows].tolist(), *some] for one, some in zip(feeds, others, strict=True)]
    every = np.array([row for some in rows for row in some], np.int64)
    values = np.clip(batch.features[every], -LARGEST, LARGEST).astype("<f2")
    slots = batch.slots[np.array([row for some in others for row in some], np.int64)]
    ids = iter(catalogue.ids(slots))
    demand = iter(popularity[slots].astype(np.float64).round(3).tolist())
    found, end = [], 0
    for one, mine, free_rows, drawn in zip(feeds, rows, unshown, others, strict=True):
        begin, end = end, end + len(mine)
        found.append(
            RankedRows(
                columns=COLUMNS,
                values=values[begin:end].tobytes(),
                others=list(islice(ids, len(drawn))),
                popularity=list(islice(demand, len(drawn))),
                unshown=len(free_rows),
                bought=one.bought,
            )
        )
    return found


def _free(feeds: Sequence[Shown], batch: RankedFeeds) -> NDArray[np.bool_]:
    """Which candidates of a batch are neither shown nor withheld, bool [n]."""
    withheld = {one.ranked.number: one.withheld for one in feeds}
    slots = [withheld.get(number, NOTHING) for number in range(len(batch))]
    numbers = np.repeat(np.arange(len(batch)), np.diff(batch.starts))
    of_withheld = np.repeat(np.arange(len(batch)), [len(some) for some in slots])
    free = ~np.isin(keys_of(numbers, batch.slots), keys_of(of_withheld, np.concatenate(slots)))
    for one in feeds:
        free[one.ranked.rows[one.rows]] = False
    return free


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
