"""The reasons of a feed that is ranked by behaviour: what the order of each item owes most to, of what is true of it.

Of each item the kinds of reasons are found that hold for it, such as that the shopper had it before. Where several do,
the ranker says how far its score falls without the features of each. Knows features, their ranker and a shopper's past;
nothing of candidates' sources but their names, nor of the policy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from models.late_interaction import ALIKE
from models.ranker import Ranker
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


@dataclass(frozen=True, slots=True, eq=False)
class ShownFeed:
    """A feed that was made.

    Attributes
    ----------
    ranked, by_scorer
        How the candidates are ranked, and the scorer's part of their order, float32 [n].
    rows, items, masks
        Of each item on the shelf its place among the candidates, int64 [k], its id, and the mask of its sources,
        uint16 [k].
    """

    ranked: Ranked
    by_scorer: NDArray[np.float32]
    rows: NDArray[np.int64]
    items: Sequence[str]
    masks: NDArray[np.uint16]


def of_feeds(feeds: Sequence[ShownFeed], ranker: Ranker) -> list[list[str]]:
    """The reasons of the items of each feed; ``ranker`` made their scores."""
    if not feeds:
        return []
    near, alike = zip(*map(_nearest, feeds), strict=True)
    some = np.concatenate([one.ranked.features[one.rows] for one in feeds])
    sizes = [len(one.rows) for one in feeds]
    best = _best(feeds, _holds(feeds, some, np.concatenate(alike)), ranker)
    due = _due(some)
    ends = np.cumsum(sizes).tolist()
    return [
        _told(one, near[number], best[end - size : end], due[end - size : end])
        for number, (one, size, end) in enumerate(zip(feeds, sizes, ends, strict=True))
    ]


def _told(feed: ShownFeed, near: NDArray[np.int64], best: NDArray[np.int64], due: NDArray[np.bool_]) -> list[str]:
    """A feed's reasons as texts, given what is most like each item, the kinds, and what is due."""
    past, ranked = feed.ranked.past, feed.ranked
    paired = np.flatnonzero(best == KINDS.index("together"))
    anchors = dict(zip(paired.tolist(), feed.ranked.anchors(feed.rows[paired]), strict=True))
    found = []
    for row, (mask, kind) in enumerate(zip(feed.masks.tolist(), best.tolist(), strict=True)):
        named = KINDS[kind] if kind >= 0 else ""
        like = past.place(int(near[row])) if named == "like" else -1
        if like >= 0 and like == ranked.places[feed.rows[row]]:
            named = "again"
        if mask & EXPLORED or not named:
            found.append(reasons.of_sources(mask))
        elif named == "again":
            found.append("due" if due[row] else "again")
        elif named == "like":
            told = ("searched", past.query(int(near[row]))) if like < 0 else ("like", ranked.named(like))
            found.append(reasons.reason(*told))
        elif named == "together":
            found.append(reasons.reason(named, anchors[row]))
        else:
            found.append(named)
    return found


def _holds(feeds: Sequence[ShownFeed], some: NDArray[np.float32], alike: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which kinds of reasons are true of each shown item, bool [k, kinds], given features; ``alike`` says it of
    ``like``."""
    usual = []
    for feed in feeds:
        ages = feed.ranked.features[:, _COLUMN["age"]]
        counted = np.isfinite(ages)
        usual.append(float(ages[counted].mean()) if counted.any() else 0.0)
    new = np.minimum(NEW_DAYS, np.repeat(usual, [len(feed.rows) for feed in feeds]) / 2)
    return np.column_stack(
        [
            np.isfinite(some[:, _COLUMN["days_touched"]]),
            (some[:, _COLUMN["together"]] > 0) | (some[:, _COLUMN["linear"]] > 0),
            alike,
            some[:, _COLUMN["demand_week"]] >= DEMANDED,
            some[:, _COLUMN["age"]] <= new,
        ]
    )


def _due(some: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which shown items their shopper has bought and are due, bool [k], given features."""
    usual = np.expm1(some[:, _COLUMN["interval"]])
    since = some[:, _COLUMN["days_since"]]  # not known of what was not bought
    return are_due(some[:, _COLUMN["repeated"]], since, usual)


def _best(feeds: Sequence[ShownFeed], holds: NDArray[np.bool_], ranker: Ranker) -> NDArray[np.int64]:
    """Of the kinds of reasons that hold for each shown item, bool [k, kinds], the one that its order owes most to; -1
    where none holds. The ranker is asked only where there is a choice."""
    worth = np.where(holds, 0.0, -np.inf)
    shown = [len(feed.rows) for feed in feeds]
    spreads = np.repeat([float(feed.ranked.scores.std()) if len(feed.rows) else 0.0 for feed in feeds], shown)
    row, kind = np.nonzero(holds & ((holds.sum(1) > 1) & (spreads > 0))[:, None])
    if len(row):
        sizes = [len(feed.ranked.scores) for feed in feeds]
        starts = np.cumsum([0, *sizes[:-1]])
        rows = np.concatenate([feed.rows + start for feed, start in zip(feeds, starts.tolist(), strict=True)])
        features = np.concatenate([feed.ranked.features for feed in feeds])
        worth[row, kind] = ranker.owed(features, rows[row], _PARTS[kind], sizes) / spreads[row]
    worth[:, KINDS.index("like")] += np.concatenate([feed.by_scorer[feed.rows] for feed in feeds])
    return np.where(holds.any(1), worth.argmax(1), -1)


def _nearest(feed: ShownFeed) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """What of the past each shown item has the highest cosine to, int64 [k], and whether the two are alike."""
    vectors = feed.ranked.past.vectors
    if not len(vectors) or not len(feed.rows):
        return np.zeros(len(feed.rows), np.int64), np.zeros(len(feed.rows), np.bool_)
    with np.errstate(invalid="ignore", over="ignore"):
        cosines = feed.ranked.pooled[feed.rows] @ vectors.T
    best = cosines.argmax(1)
    return best, cosines[np.arange(len(best)), best] >= ALIKE
