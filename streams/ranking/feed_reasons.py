"""The reasons of a feed that is ranked by behaviour: what the order of each item owes most to, of what is true of it.

Of each item the kinds of reasons are found that hold for it, such as that the shopper had it before. Where several do,
the ranker says how far its score falls without the features of each. Knows features, their ranker and a shopper's past;
nothing of candidates' sources but their names, nor of the policy.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from models.late_interaction import ALIKE
from models.ranker import Ranker
from streams.features.behaviour import FEATURES, GROUPS, are_due
from streams.ranking import reasons
from streams.ranking.candidates import EXPLORED
from streams.ranking.feeds import Ranked, RankedFeeds

Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]

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
    rows, masks
        Of each item on the shelf its place among the candidates, int64 [k], and the mask of its sources, uint16 [k].
    """

    ranked: Ranked
    by_scorer: NDArray[np.float32]
    rows: NDArray[np.int64]
    masks: NDArray[np.uint16]


def of_feeds(feeds: Sequence[ShownFeed], ranker: Ranker) -> list[list[str]]:
    """The reasons of the items of each feed of one batch; ``ranker`` made their scores."""
    if not feeds:
        return []
    batch, sizes = feeds[0].ranked.batch, [len(one.rows) for one in feeds]
    rows = np.concatenate([one.ranked.rows[one.rows] for one in feeds])
    some = batch.features[rows]
    alike = batch.cosines[rows] >= ALIKE
    best = _best(feeds, rows, _holds(feeds, some, alike), ranker)
    number = np.repeat([one.ranked.number for one in feeds], sizes)
    found = iter(_told(batch, rows, number, best, _due(some), np.concatenate([one.masks for one in feeds])))
    return [list(islice(found, size)) for size in sizes]


def _told(
    batch: RankedFeeds, rows: Numbers, number: Numbers, best: Numbers, due: Flags, masks: NDArray[np.uint16]
) -> Iterator[str]:
    """The reasons of shown items as texts, given each one's row in the batch, the number of its feed, the kind, whether
    it is due, and its sources."""
    past, places = batch.past, batch.places[rows]
    nearest = np.where(best == KINDS.index("like"), batch.nearest[rows], -1)
    like = np.where(nearest >= 0, past.places[nearest] if len(past.places) else -1, -1)
    best = np.where((like >= 0) & (like == places), KINDS.index("again"), best)
    paired = np.flatnonzero(best == KINDS.index("together"))
    anchors = np.full(len(rows), -1)
    anchors[paired] = batch.behaviour.anchors(number[paired], places[paired])
    facts = (number, masks, best, due, nearest, like, anchors)
    for feed, mask, kind, is_due, near, of, anchor in zip(*(one.tolist() for one in facts), strict=True):
        named = KINDS[kind] if kind >= 0 else ""
        if mask & EXPLORED or not named:
            yield reasons.of_sources(mask)
        elif named == "again":
            yield "due" if is_due else named
        elif named == "like":
            searched = ("searched", past.queries[near])
            yield reasons.reason(*(searched if of < 0 else ("like", batch.named(feed, of))))
        elif named == "together":
            yield reasons.reason(named, batch.named(feed, anchor))
        else:
            yield named


def _holds(feeds: Sequence[ShownFeed], some: NDArray[np.float32], alike: Flags) -> Flags:
    """Which kinds of reasons are true of each shown item, bool [k, kinds], given features; ``alike`` says it of
    ``like``."""
    every, of = _candidates(feeds)
    ages = feeds[0].ranked.batch.features[every, _COLUMN["age"]]
    counted = np.isfinite(ages)
    known = np.bincount(of[counted], minlength=len(feeds))
    usual = np.bincount(of[counted], ages[counted], len(feeds)) / np.maximum(1, known)
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


def _due(some: NDArray[np.float32]) -> Flags:
    """Which shown items their shopper has bought and are due, bool [k], given features."""
    usual = np.expm1(some[:, _COLUMN["interval"]])
    since = some[:, _COLUMN["days_since"]]  # not known of what was not bought
    return are_due(some[:, _COLUMN["repeated"]], since, usual)


def _best(feeds: Sequence[ShownFeed], shown: Numbers, holds: Flags, ranker: Ranker) -> Numbers:
    """Of the kinds of reasons that hold for each shown item, bool [k, kinds], the one that its order owes most to; -1
    where none holds. The ranker is asked only where there is a choice."""
    batch, sizes = feeds[0].ranked.batch, [len(feed.rows) for feed in feeds]
    worth = np.where(holds, 0.0, -np.inf)
    every, of = _candidates(feeds)
    counts = np.maximum(1, np.bincount(of, minlength=len(feeds)))
    apart = batch.scores[every] - (np.bincount(of, batch.scores[every], len(feeds)) / counts)[of]
    spreads = np.repeat(np.sqrt(np.bincount(of, np.square(apart), len(feeds)) / counts), sizes)
    row, kind = np.nonzero(holds & ((holds.sum(1) > 1) & (spreads > 0))[:, None])
    if len(row):
        at = np.empty(len(batch.slots), np.int64)
        at[every] = np.arange(len(every))
        whole = [len(feed.ranked.rows) for feed in feeds]
        features = batch.features if len(every) == len(batch.slots) else batch.features[every]
        owed = ranker.owed(features, at[shown[row]], _PARTS[kind], whole)
        worth[row, kind] = owed / spreads[row]
    worth[:, KINDS.index("like")] += np.concatenate([feed.by_scorer[feed.rows] for feed in feeds])
    return np.where(holds.any(1), worth.argmax(1), -1)


def _candidates(feeds: Sequence[ShownFeed]) -> tuple[Numbers, Numbers]:
    """The rows of all candidates, int64 [n], and of each the number of its feed."""
    rows = [feed.ranked.rows for feed in feeds]
    return np.concatenate(rows), np.repeat(np.arange(len(feeds)), [len(some) for some in rows])
