"""The reasons of a feed that is ranked by behaviour: what the order of each item owes most to, of what is true of it.

Of each item the kinds of reasons are found that hold for it, such as that the shopper had it before. Where several do,
the ranker says how far its score falls without the features of each. Knows features, their ranker and a shopper's past;
nothing of candidates' sources but their names, nor of the policy.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from models.late_interaction import ALIKE
from models.ranker import Ranker
from streams.catalog.catalog import Catalog
from streams.features.behaviour import FEATURES, GROUPS, are_due
from streams.ranking import reasons
from streams.ranking.candidates import EXPLORED
from streams.ranking.feeds import Ranked

OWED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "again": (*GROUPS["own"], *GROUPS["due"]),
        "together": (*GROUPS["together"], *GROUPS["linear"]),
        "like": GROUPS["text"],
        "popular": GROUPS["popularity"],
        "new": ("age",),
    }
)
"""The features that each kind of reason stands for; where two kinds are worth the same the first one is told. ``like``
stands for the scorer's part of the order as well. Prices, and what is the same for all items, are no reason."""

KINDS = tuple(OWED)
NEW_DAYS = 30.0
"""For so long after its first touch an item is new, if the candidates are twice as old in the mean."""

DEMANDED = float(np.log1p(0.1))
"""The logarithm of a week's demand from which an item is popular: half of what one click counts for."""

_PARTS = np.array([[name in names for name in FEATURES] for names in OWED.values()])
_COLUMN = {name: number for number, name in enumerate(FEATURES)}


def of_feed(
    ranked: Ranked,
    by_scorer: NDArray[np.float32],
    rows: Sequence[int],
    masks: Sequence[int],
    ranker: Ranker,
    catalogue: Catalog,
) -> list[str]:
    """The reasons of a feed's items.

    Parameters
    ----------
    ranked, by_scorer
        How the candidates are ranked, and the scorer's part of their order, float32 [n].
    rows, masks
        Of each item on the shelf its place among the candidates, and the mask of its sources.
    ranker
        What made the scores.
    """
    if not rows:
        return []
    shown = np.asarray(rows, np.int64)
    near, alike = _nearest(ranked, shown)
    best = _best(ranked, by_scorer, shown, _holds(ranked, shown, alike), ranker)
    due = _due(ranked, shown).tolist()
    ids = catalogue.ids(ranked.candidates.slots[shown])
    paired = np.flatnonzero(best == KINDS.index("together"))
    anchors = dict(zip(paired.tolist(), ranked.anchors(shown[paired]), strict=True))
    found = []
    for row, (mask, kind) in enumerate(zip(masks, best.tolist(), strict=True)):
        named = KINDS[kind] if kind >= 0 else ""
        if named == "like" and ranked.past[near[row]] == ("like", ids[row]):
            named = "again"
        if mask & EXPLORED or not named:
            found.append(reasons.of_sources(mask))
        elif named == "again":
            found.append("due" if due[row] else "again")
        elif named == "like":
            found.append(reasons.reason(*ranked.past[near[row]]))
        elif named == "together":
            found.append(reasons.reason(named, anchors[row]))
        else:
            found.append(named)
    return found


def _holds(ranked: Ranked, shown: NDArray[np.int64], alike: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which kinds of reasons are true of each item, bool [k, kinds]; ``alike`` says it of ``like``."""
    some = ranked.features[shown]
    ages = ranked.features[:, _COLUMN["age"]]
    counted = np.isfinite(ages)
    usual = float(ages[counted].mean()) if counted.any() else 0.0
    return np.column_stack(
        [
            np.isfinite(some[:, _COLUMN["days_touched"]]),
            (some[:, _COLUMN["together"]] > 0) | (some[:, _COLUMN["linear"]] > 0),
            alike,
            some[:, _COLUMN["demand_week"]] >= DEMANDED,
            some[:, _COLUMN["age"]] <= min(NEW_DAYS, usual / 2),
        ]
    )


def _due(ranked: Ranked, shown: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which items the shopper has bought and are due, bool [k]."""
    some = ranked.features[shown]
    usual = np.expm1(some[:, _COLUMN["interval"]])
    since = some[:, _COLUMN["days_since"]]  # not known of what was not bought
    return are_due(some[:, _COLUMN["repeated"]], since, usual)


def _best(
    ranked: Ranked,
    by_scorer: NDArray[np.float32],
    shown: NDArray[np.int64],
    holds: NDArray[np.bool_],
    ranker: Ranker,
) -> NDArray[np.int64]:
    """Of the kinds of reasons that hold for each item, bool [k, kinds], the one that its order owes most to; -1 where
    none holds. The ranker is asked only where there is a choice."""
    worth = np.where(holds, 0.0, -np.inf)
    row, kind = np.nonzero(holds & (holds.sum(1) > 1)[:, None])
    spread = float(ranked.scores.std())
    if len(row) and spread > 0:
        worth[row, kind] = ranker.owed(ranked.features, shown[row], _PARTS[kind]) / spread
    worth[:, KINDS.index("like")] += by_scorer[shown]
    return np.where(holds.any(1), worth.argmax(1), -1)


def _nearest(ranked: Ranked, shown: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """What of the past each item has the highest cosine to, int64 [k], and whether the two are alike."""
    if not len(ranked.vectors):
        return np.zeros(len(shown), np.int64), np.zeros(len(shown), np.bool_)
    with np.errstate(invalid="ignore", over="ignore"):
        cosines = ranked.pooled[shown] @ ranked.vectors.T
    best = cosines.argmax(1)
    return best, cosines[np.arange(len(best)), best] >= ALIKE
