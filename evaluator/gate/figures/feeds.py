"""Are feeds ordered better? nDCG@10 of feeds as workers order them: by the ranker and the scorer's part together.

A touch counts by the inverse of how often its place is looked at, since the champion chose the places. What was not
shown only says how far the candidates' scores are apart. Pure but for the scorers, which it calls.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluator.gate.bootstrap import Bootstrap
from evaluator.gate.dataset import GateRequest, Groups, Score, answers
from evaluator.gate.figures.quality import NO_CHOICE, Numbers, Worth, figure
from evaluator.gate.thresholds import Figure
from models.measures.names import FEEDS, NDCG
from models.measures.ranking import dcg, decided, ideal_dcg, ranked
from models.training.served_feeds import ServedFeed, stacked
from streams.ranking.feeds import FeedRanker


@dataclass(frozen=True, slots=True, eq=False)
class Feeds:
    """Feeds that neither version has learned from, and what ranks them in each."""

    served: Sequence[ServedFeed]
    champion: FeedRanker
    challenger: FeedRanker


def feed_figure(feeds: Feeds, champion: Score, challenger: Score, worth: Worth, bootstrap: Bootstrap) -> Figure:
    """nDCG@10 of feeds in the order of champion and challenger: all feeds' gains over all feeds' best ones, so that a
    feed whose touches were seldom seen stands for those that were not."""
    served = [one for one in feeds.served if decided(gains(one))]
    shoppers = tuple(one.shopper for one in served)
    groups = Groups(shoppers, shoppers, "shoppers")
    best = np.array([ideal_dcg(gains(one)) for one in served])
    before = _reached(served, feeds.champion, champion, worth)
    after = _reached(served, feeds.challenger, challenger, worth)
    found = bootstrap.ratio(after - before, best, *groups.groupings)
    if found is None:
        return Figure(measure=NDCG, segment=FEEDS, counted=groups.unit, note=NO_CHOICE)
    return figure(NDCG, float(before.sum() / best.sum()), found, groups, FEEDS)


def gains(feed: ServedFeed) -> Numbers:
    """The outcome of each item that was seen, by the inverse of how often its place is looked at."""
    found: Numbers = np.array(feed.levels) / np.array(feed.looked)
    return found


def _reached(feeds: Sequence[ServedFeed], ranker: FeedRanker, score: Score, worth: Worth) -> Numbers:
    """Each feed's discounted gain in the order of a version."""
    if not feeds:
        return np.zeros(0)
    rows, sizes, counts = stacked(feeds)
    utilities = np.concatenate([worth(found) for found in answers(score, [_request(one) for one in feeds])])
    by_behaviour = ranker.ranker.scores(rows, sizes, counts)
    order, _ = ranker.order(by_behaviour, utilities, [one.bought for one in feeds], sizes, counts)
    reached = []
    for one, mine in zip(feeds, np.split(order, np.cumsum(sizes)[:-1]), strict=True):
        of = gains(one)
        reached.append(dcg(of[ranked(of, mine[: len(of)])]))
    return np.array(reached)


def _request(feed: ServedFeed) -> GateRequest:
    return GateRequest("", feed.history, feed.items, feed.asked, feed.weights, feed.popularity)
